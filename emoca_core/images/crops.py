"""Cutting faces out of photos: the published rules, one shared rule, and the resampling under them.

Every rule is a frozen dataclass that turns a photo and a detection into a ``CroppedFace`` with its exact
``crop_to_image``.
"""

from typing import Literal, get_args

from emoca_core.errors import unknown_name
from emoca_core.images.batch import crops_to_batch
from emoca_core.images.box_rules import EmocaCrop, EmonetCrop, ExpnetCrop, SmirkCrop, TddfaCrop
from emoca_core.images.point_rules import Deep3DFaceCrop, MgcnetCrop, UprightCrop
from emoca_core.images.warp import transform_points, warp
from emoca_core.interfaces import CropRule

__all__ = [
    "SHARED_CROP",
    "CropPolicy",
    "Deep3DFaceCrop",
    "EmocaCrop",
    "EmonetCrop",
    "ExpnetCrop",
    "MgcnetCrop",
    "SmirkCrop",
    "TddfaCrop",
    "UprightCrop",
    "choose_crop",
    "crops_to_batch",
    "transform_points",
    "warp",
]

CropPolicy = Literal["native", "shared"]
"""``native``: every method cuts as it was published; ``shared``: one rule for all, so that methods can be compared."""

SHARED_CROP = EmocaCrop()
"""The rule of the ``shared`` policy."""


def choose_crop(policy: str, native: CropRule) -> CropRule:
    """The rule to cut with under a policy.

    Raises:
        UnknownNameError: No such policy.
    """
    if policy not in get_args(CropPolicy):
        raise unknown_name("crop policy", policy, get_args(CropPolicy))
    return native if policy == "native" else SHARED_CROP
