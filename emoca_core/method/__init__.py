"""A recipe, assembled: its parts behind one object."""

from emoca_core.method.assembly import build_parts, pick_device
from emoca_core.method.method import Method

__all__ = ["Method", "build_parts", "pick_device"]
