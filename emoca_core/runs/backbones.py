"""Emotion backbones by name, ready to judge: from the catalogue, or from a run of ``emoca train emotion``."""

import torch

from emoca_core.errors import ComponentImportError, MissingAssetError, RecipeError, unknown_name
from emoca_core.interfaces import EmotionBackbone
from emoca_core.registry import get_registry
from emoca_core.registry.catalogue import Use, backbones_by_name, get_catalogue
from emoca_core.runs.cards import EmotionCard
from emoca_core.runs.loading import trained_backbone
from emoca_core.runs.trained_folder import find_trained


def load_emotion_backbone(name: str, device: torch.device | None = None, *, untrained: bool = False) -> EmotionBackbone:
    """An emotion backbone that judges: evaluation mode, its weights take no gradient.

    Args:
        name: A backbone (``face_api_expression``), a preset of one (``open_emotion``), or the folder of a run of
            ``emoca train emotion``.
        device: Where it runs; the CPU by default.
        untrained: Take one with random weights as well; the floor that every trained one must beat.

    Raises:
        UnknownNameError: The name means nothing; the message lists what exists.
        MissingAssetError: Its weights are not here; the message says where to get them.
        RecipeError: Its weights are random.

    Example:
        >>> seen = load_emotion_backbone("open_emotion")(torch.rand(2, 3, 112, 112))
        >>> seen.features["pooled"].shape[0], seen.logits.shape[0]
        (2, 2)
    """
    registry, catalogue = get_registry(), get_catalogue()
    named = backbones_by_name(catalogue, registry)
    if name in named:
        backbone = _built(named[name])
        if not untrained and _is_random(backbone, named[name]):
            raise RecipeError(
                f"the emotion backbone '{name}' has random weights, which nobody has trained: name a trained one, or "
                "the folder of a run of `emoca train emotion`"
            )
    else:
        trained = find_trained(name)
        if trained is None or not isinstance(trained.card, EmotionCard):
            raise unknown_name("emotion backbone, preset of one, or run of `emoca train emotion`", name, named)
        backbone = trained_backbone(trained, registry)
    return backbone.eval().requires_grad_(False).to(device or torch.device("cpu"))


def find_witness(*judges: str, device: torch.device | None = None) -> tuple[str, EmotionBackbone] | None:
    """A trained backbone that took no part: the first that cards list under ``witnesses`` and whose files are here.

    Kin of the judges, which cards name as well, took part too.

    Args:
        judges: Names of the backbones that took part, as ``load_emotion_backbone`` takes them.
        device: Where it runs; the CPU by default.

    Returns:
        Its name and itself; ``None`` where no other one is at hand.
    """
    catalogue, registry = get_catalogue(), get_registry()
    named = backbones_by_name(catalogue, registry)
    cards = catalogue.components.get("emotion_backbone", {})
    families = [{name, *card.kin} for name, card in cards.items()]
    involved = {*judges}.union(*(family for family in families if family & {*judges}))
    for card in cards.values():
        for name in card.witnesses:
            if name in named and name not in involved:
                try:
                    return name, load_emotion_backbone(name, device)
                except (MissingAssetError, ComponentImportError):
                    continue
    return None


def _built(use: Use) -> EmotionBackbone:
    return get_registry().build("emotion_backbone", use.uses, get_catalogue().params("emotion_backbone", use))


def _is_random(backbone: EmotionBackbone, use: Use) -> bool:
    """Whether building it again, with another seed, gives other weights."""
    with torch.random.fork_rng():
        torch.manual_seed((torch.initial_seed() + 1) % 2**63)
        again = _built(use).state_dict()
    return any(not torch.equal(tensor, again[name]) for name, tensor in backbone.state_dict().items())
