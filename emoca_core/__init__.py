"""Emotion-driven 3D face capture from interchangeable parts. Importing this module does not import torch."""

from typing import TYPE_CHECKING

from emoca_core.registry import Registry, get_registry
from emoca_core.registry.hookspecs import hookimpl
from emoca_core.registry.spec import ComponentParams, ComponentSpec
from emoca_core.version import VERSION

if TYPE_CHECKING:
    from emoca_core.api import (
        CapturedFace,
        CapturedSequence,
        Method,
        Objective,
        Optimisation,
        RetargetSettings,
        load_method,
        open_clip,
        optimise,
        reconstruct,
        reconstruct_sequence,
        retarget,
    )

__version__ = VERSION
__all__ = [
    "CapturedFace",
    "CapturedSequence",
    "ComponentParams",
    "ComponentSpec",
    "Method",
    "Objective",
    "Optimisation",
    "Registry",
    "RetargetSettings",
    "get_registry",
    "hookimpl",
    "load_method",
    "open_clip",
    "optimise",
    "reconstruct",
    "reconstruct_sequence",
    "retarget",
]
_HEAVY = frozenset(__all__) - frozenset(globals())


def __getattr__(name: str) -> object:
    """Import what needs torch only when it is asked for."""
    if name in _HEAVY:
        from emoca_core import api

        return getattr(api, name)
    raise AttributeError(f"module 'emoca_core' has no attribute '{name}'")
