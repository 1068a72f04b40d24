"""A recipe, assembled: its parts behind one object."""

from emoca_core.method.assembly import build_parts, pick_device
from emoca_core.method.method import Method
from emoca_core.method.objective import Objective

__all__ = ["Method", "Objective", "build_parts", "pick_device"]
