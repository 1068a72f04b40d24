"""Where a training starts from, and what it looks through: what earlier trainings change in its recipe."""

from emoca_core.files import sha256_of
from emoca_core.registry import Registry
from emoca_core.runs.trained_folder import TrainedFolder, without_weights


def start_of(trained: TrainedFolder) -> dict[str, str]:
    """What a card records of a folder whose weights a training starts from or looks through."""
    return {"file": str(trained.weights.resolve()), "sha256": sha256_of(trained.weights)}


def start_changes(stage: str, uses: str, trained: TrainedFolder) -> dict[str, object]:
    """What a recipe has to change to start from a training: where the weights of the encoder come from before its own.

    The detail stage takes over the whole encoder; the coarse one may add a second network to it.

    Args:
        stage: ``coarse`` or ``detail``.
        uses: Encoder of the recipe.
        trained: What to start from.

    Raises:
        AssetFormatError: Not a training of a recipe.
    """
    encoder = trained.method_card.recipe.parts()["encoder"].model_dump(mode="json")
    if stage == "detail":
        return {"encoder": encoder}
    weights = encoder["params"].get("weights")
    return {"encoder": {"params": {"weights": weights}}} if encoder["uses"] == uses and weights is not None else {}


def emotion_changes(trained: TrainedFolder, registry: Registry) -> dict[str, object]:
    """What a recipe has to change to look through a backbone that ``emoca train emotion`` has trained.

    Its weights are not part of the recipe: ``load_trained`` brings them.

    Raises:
        AssetFormatError: Not such a run.
    """
    use = trained.emotion_card.emotion_backbone
    params = {**use.params, **without_weights("emotion_backbone", use.uses, registry)}
    return {"emotion_backbone": {"uses": use.uses, "preset": None, "params": params}}
