"""What several encoders do to the output of their network."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Block

K = TypeVar("K", bound=str)
BFM_BLOCKS: Mapping[Block, int] = {
    **{"shape": 80, "expression": 64, "albedo": 80},
    **{"global_pose": 3, "lighting": 27, "camera": 7},
}
"""What the networks for Deep3DFace's Basel Face Model predict, once pose, light and camera are in our conventions."""


def split_code(code: Float[Tensor, "B D"], layout: Mapping[K, int]) -> dict[K, Tensor]:
    """A network's output as named slices."""
    return dict(zip(layout, torch.split(code, list(layout.values()), dim=1), strict=True))


def axis_rotations(angles: Float[Tensor, "B 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation matrices [B, 3, 3] about x, y and z, counter-clockwise when looking against the axis."""
    x, y, z = rotation_vector_to_matrix(torch.diag_embed(angles)).unbind(1)
    return x, y, z
