"""Parts of the face in UV space, each looked at in the same size."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import AfterValidator, Field
from torch import Tensor

from emoca_core.images.resize import resized
from emoca_core.interfaces import DetailMaps

Patch = Literal["map", "face", "forehead", "eyes_and_nose", "mouth"]

FULL = 2048
BOXES: Mapping[Patch, tuple[int, int, int, int]] = MappingProxyType(
    {
        "map": (0, FULL, 0, FULL),
        "face": (400, 1648, 400, 1648),
        "forehead": (550, 1498, 430, 750),
        "eyes_and_nose": (490, 1558, 700, 1100),
        "mouth": (574, 1474, 1050, 1550),
    }
)
"""Left, right, top and bottom on a map of 2048 pixels, in FLAME's UV layout; ``map`` is all of it. Source: EMOCA's
public code."""


def _some(weights: dict[Patch, float]) -> dict[Patch, float]:
    if not any(weights.values()):
        raise ValueError("one of the patches must have a weight above 0")
    return weights


PatchWeights = Annotated[dict[Patch, Annotated[float, Field(ge=0)]], AfterValidator(_some)]
"""Weight of each patch; those not named do not count."""


def masked_patch(
    maps: DetailMaps, patch: Patch, size: int
) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 3 S S"]]:
    """Texture and observed texture of a patch, bilinearly resized to a square, zero where a texel is not seen."""
    left, right, top, bottom = (edge * maps.texture.shape[-1] // FULL for edge in BOXES[patch])

    def cut(image: Tensor) -> Tensor:
        return resized(image[..., top:bottom, left:right], size)

    visibility = cut(maps.visibility).detach()
    return cut(maps.texture) * visibility, cut(maps.observed_texture).detach() * visibility
