"""Cutting faces out of photos: one rule shared by all methods, the rules of plugins by name, and what is under them.

Every rule is a frozen dataclass that turns a photo and a detection into a ``CroppedFace`` with its exact
``crop_to_image``.
"""

from typing import Literal, get_args

from emoca_core.errors import ComponentImportError, PluginError, unknown_name
from emoca_core.images.batch import black_crop, crops_to_batch
from emoca_core.images.box_crop import BoxCrop
from emoca_core.images.warp import transform_points, warp
from emoca_core.interfaces import CropRule
from emoca_core.registry import Registry
from emoca_core.registry.containment import contained
from emoca_core.registry.spec import load_target

__all__ = [
    "SHARED_CROP",
    "BoxCrop",
    "CropPolicy",
    "black_crop",
    "choose_crop",
    "crop_names",
    "crops_to_batch",
    "find_crop",
    "transform_points",
    "warp",
]

CropPolicy = Literal["native", "shared"]
"""``native``: every method cuts as it was published; ``shared``: one rule for all, so that methods can be compared."""

SHARED_CROP = BoxCrop(name="shared")
"""The rule of the ``shared`` policy."""


def choose_crop(policy: str, native: CropRule) -> CropRule:
    """The rule to cut with under a policy.

    Raises:
        UnknownNameError: No such policy.
    """
    if policy not in get_args(CropPolicy):
        raise unknown_name("crop policy", policy, get_args(CropPolicy))
    return native if policy == "native" else SHARED_CROP


def crop_names(registry: Registry) -> list[str]:
    """Names that ``find_crop`` knows."""
    return [SHARED_CROP.name, *sorted(registry.crops)]


def find_crop(name: str, registry: Registry) -> CropRule:
    """A rule by its name: the shared one, or that of a plugin.

    Raises:
        UnknownNameError: No such rule.
        ComponentImportError: The plugin's rule cannot be imported, or is no rule of this name.
    """
    if name == SHARED_CROP.name:
        return SHARED_CROP
    if name not in registry.crops:
        raise unknown_name("crop rule", name, crop_names(registry))
    origin, target = registry.crops[name]
    plugin = origin.plugin
    try:
        with contained():
            rule = load_target(target)()
    except PluginError as error:
        raise ComponentImportError(f"crop rule '{name}' (plugin '{plugin}') cannot be imported: {error}") from error
    if not isinstance(rule, CropRule) or rule.name != name:
        raise ComponentImportError(f"crop rule '{name}' (plugin '{plugin}'): {target} makes no CropRule of this name")
    return rule
