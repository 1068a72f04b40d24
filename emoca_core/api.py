"""What people call first: a method by its name, the faces of some photos, the people of a clip."""

from collections.abc import Mapping
from pathlib import Path

from emoca_core.method import Method, Objective, build_parts, pick_device
from emoca_core.optimisation import Optimisation, optimise
from emoca_core.reconstruction import CapturedFace, CapturedSequence, reconstruct, reconstruct_sequence
from emoca_core.registry import catalogue as catalogues
from emoca_core.registry import get_registry
from emoca_core.retargeting import RetargetSettings, retarget
from emoca_core.runs.loading import load_trained
from emoca_core.runs.start import emotion_changes
from emoca_core.runs.trained_folder import find_method, open_folder
from emoca_core.video import open_clip

__all__ = [
    "CapturedFace",
    "CapturedSequence",
    "Method",
    "Objective",
    "Optimisation",
    "RetargetSettings",
    "load_method",
    "open_clip",
    "optimise",
    "reconstruct",
    "reconstruct_sequence",
    "retarget",
]


def load_method(
    name: str,
    *,
    registry_file: str | Path | None = None,
    change: Mapping[str, object] | None = None,
    emotion: str | Path | None = None,
    device: str = "auto",
) -> Method:
    """Assemble a recipe by name, ready for inference.

    Args:
        name: A recipe of the catalogue (``emoca list`` prints them); or a trained method: a run folder of
            ``emoca train``, a folder of ``emoca package``, or its repository on the Hugging Face hub.
        registry_file: Your own registry.yaml, merged on top of the catalogue.
        change: Merged into the recipe, e.g. ``{"renderer": {"uses": "pytorch3d"}}``.
        emotion: Run folder of ``emoca train emotion`` whose backbone takes the place of the recipe's.
        device: ``"auto"`` takes CUDA where there is one, else the CPU; or a torch device name.

    Raises:
        UnknownNameError: No such recipe, component or preset.
        MissingAssetError: Files that you have to provide; the message lists all of them.
        AssetFormatError: A folder whose weights do not fit, or were trained on top of others than are here.
        RecipeError: Parts that cannot be built or do not fit together; the message lists all reasons.

    Example:
        >>> method = load_method("open_fit", change={"face_model": {"params": {"texture_size": 64}}}, device="cpu")
        >>> method.face_model.expression_names[:2]
        ('browDownLeft', 'browDownRight')
    """
    registry = get_registry()
    catalogue = catalogues.get_catalogue(registry_file, registry)
    recipe, trained = find_method(name, catalogue, registry)
    judge = open_folder(Path(emotion)) if emotion else None
    recipe = catalogues.changed(recipe, emotion_changes(judge, registry) if judge else {}, change or {})
    parts = build_parts(recipe, catalogue, registry)
    method = Method(trained.name if trained else name, recipe, parts)
    if trained:
        load_trained(parts, trained)
    if judge:
        load_trained(parts, judge)
    return method.eval().to(pick_device(device))
