"""Losses that compare people as a recognition network sees them, by name, ready to judge."""

import torch

from emoca_core.errors import ComponentImportError, MissingAssetError, unknown_name
from emoca_core.interfaces import Loss
from emoca_core.registry import get_registry
from emoca_core.registry.catalogue import Use, get_catalogue


def recognitions() -> dict[str, Use]:
    """Losses, and presets of them, that cards of losses list under ``witnesses``."""
    cards = get_catalogue().components.get("loss", {})
    return {
        name: Use(uses=owner, preset=None if name == owner else name)
        for owner, card in cards.items()
        for name in card.witnesses
    }


def load_recognition(name: str, device: torch.device | None = None) -> Loss:
    """A loss whose recognition network compares the rendering of a capture with its photo.

    Args:
        name: One of ``recognitions``: ``identity`` (ResNet-50 of VGGFace2), ``faceres`` (MobileNetV1).
        device: Where it runs; the CPU by default.

    Raises:
        UnknownNameError: The name means nothing; the message lists what exists.
        MissingAssetError: Its weights are not here; the message says where to get them.
    """
    known = recognitions()
    if name not in known:
        raise unknown_name("recognition network", name, known)
    use = known[name]
    loss = get_registry().build("loss", use.uses, get_catalogue().params("loss", use))
    return loss.eval().requires_grad_(False).to(device or torch.device("cpu"))


def find_recognition(device: torch.device | None = None) -> tuple[str, Loss] | None:
    """The first recognition network whose weights are here.

    Args:
        device: Where it runs; the CPU by default.

    Returns:
        Its name and itself; ``None`` where none is at hand.
    """
    for name in recognitions():
        try:
            return name, load_recognition(name, device)
        except (MissingAssetError, ComponentImportError):
            continue
    return None
