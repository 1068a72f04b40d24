"""Emotion-driven 3D face capture from interchangeable parts. Importing this module does not import torch."""

from typing import TYPE_CHECKING, Any

from emoca_core.hookspecs import hookimpl
from emoca_core.registry import Registry, get_registry
from emoca_core.spec import ComponentParams, ComponentSpec

if TYPE_CHECKING:
    from emoca_core.method import Method, load_method

__version__ = "0.1.0"
__all__ = ["ComponentParams", "ComponentSpec", "Method", "Registry", "get_registry", "hookimpl", "load_method"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in ("Method", "load_method"):
        from emoca_core import method

        return getattr(method, name)
    raise AttributeError(f"module 'emoca_core' has no attribute '{name}'")
