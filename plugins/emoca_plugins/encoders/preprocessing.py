"""What several encoders do to a crop before their network sees it, and to Euler angles after it."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from emoca_core.geometry.rotations import rotation_vector_to_matrix

K = TypeVar("K", bound=str)


def resized(image: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 h w"]:
    """Bilinear, without antialiasing, as EMOCA feeds the methods whose input is not its own 224 px."""
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)


def split_code(code: Float[Tensor, "B D"], layout: Mapping[K, int]) -> dict[K, Tensor]:
    """A network's output as named slices."""
    return dict(zip(layout, torch.split(code, list(layout.values()), dim=1), strict=True))


def axis_rotations(angles: Float[Tensor, "B 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation matrices [B, 3, 3] about x, y and z, counter-clockwise when looking against the axis."""
    x, y, z = rotation_vector_to_matrix(torch.diag_embed(angles)).unbind(1)
    return x, y, z
