"""Light of the BFM methods in the project's convention: exact, because both span the same nine functions."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.lighting import SH_CONSTANTS

_A = (math.pi, 2 * math.pi / math.sqrt(3), 2 * math.pi / math.sqrt(8))
_C = (1 / math.sqrt(4 * math.pi), math.sqrt(3) / math.sqrt(4 * math.pi), 3 * math.sqrt(5) / math.sqrt(12 * math.pi))

_FIRST, _SECOND = _A[1] * _C[1], _A[2] * _C[2]
_BANDS = (
    (0, _A[0] * _C[0]),  # 1
    (3, -_FIRST),  # x
    (1, -_FIRST),  # y
    (2, _FIRST),  # z
    (4, _SECOND),  # x y
    (7, -_SECOND),  # x z
    (5, -_SECOND),  # y z
    (8, _SECOND / 2),  # x^2 - y^2
    (6, _SECOND / 2 / math.sqrt(3)),  # 3 z^2 - 1
)
"""For each of our bands: where it is in the published code, and the published constant with its sign."""
AMBIENT = 0.8
"""Added to the first band of each channel."""


def lighting_from_bfm(gamma: Float[Tensor, "B 27"]) -> Float[Tensor, "B 9 3"]:
    """Deep3DFace's and MGCNet's channel-major light code, in our bands and constants.

    Source: Deep3DFaceRecon, ``gamma`` of ``ParametricFaceModel``; after Ramamoorthi and Hanrahan 2001.
    """
    published = gamma.reshape(-1, 3, 9).transpose(1, 2)
    order = [index for index, _ in _BANDS]
    ambient = torch.zeros_like(published)
    ambient[:, 0] = AMBIENT
    factors: Tensor = gamma.new_tensor([constant for _, constant in _BANDS]) / gamma.new_tensor(SH_CONSTANTS)
    return (published + ambient)[:, order] * factors[:, None]


def rotate_lighting(lighting: Float[Tensor, "B 9 3"], rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 9 3"]:
    """The light that falls on rotated normals as ``lighting`` falls on the unrotated ones: new(R n) = old(n).

    Constant, linear and quadratic bands turn separately: l -> R l, Q -> R Q R^T. Exact for unit normals.
    """
    constants = lighting.new_tensor(SH_CONSTANTS)[:, None]
    constant, x, y, z, xy, xz, yz, squares, axial = (lighting * constants).unbind(1)
    linear = rotation @ torch.stack([x, y, z], dim=1)
    rows = [
        torch.stack([squares - axial, xy / 2, xz / 2], dim=1),
        torch.stack([xy / 2, -squares - axial, yz / 2], dim=1),
        torch.stack([xz / 2, yz / 2, 2 * axial], dim=1),
    ]
    quadratic = torch.einsum("bik,bklc,bjl->bijc", rotation, torch.stack(rows, dim=1), rotation)
    bands = [
        constant,
        *linear.unbind(1),
        2 * quadratic[:, 0, 1],
        2 * quadratic[:, 0, 2],
        2 * quadratic[:, 1, 2],
        (quadratic[:, 0, 0] - quadratic[:, 1, 1]) / 2,
        quadratic[:, 2, 2] / 2,
    ]
    return torch.stack(bands, dim=1) / constants
