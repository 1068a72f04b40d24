"""Light: second-order spherical harmonics (order and constants: docs/conventions.md) and directional lamps."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SH_CONSTANTS: tuple[float, ...] = (
    1 / math.sqrt(4 * math.pi),
    *3 * ((2 * math.pi / 3) * math.sqrt(3 / (4 * math.pi)),),
    *3 * ((math.pi / 4) * 3 * math.sqrt(5 / (12 * math.pi)),),
    (math.pi / 4) * (3 / 2) * math.sqrt(5 / (12 * math.pi)),
    (math.pi / 4) * (1 / 2) * math.sqrt(5 / (4 * math.pi)),
)
"""Normalisation of each band times the Lambertian kernel of its order (pi, 2 pi / 3, pi / 4), but for the first band,
whose pi DECA leaves out. Source: DECA, public code; Ramamoorthi and Hanrahan 2001."""


def spherical_harmonics(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """Evaluate the nine bands, constants included, at (unit) normals.

    Order: 1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1.

    Example:
        >>> spherical_harmonics(torch.tensor([0.0, 0.0, 1.0])).shape
        torch.Size([9])
    """
    return torch.stack(_monomials(*normals.unbind(-1)), dim=-1) * normals.new_tensor(SH_CONSTANTS)


def _monomials(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    return [torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]


def irradiance(normals: Float[Tensor, "B N 3"], lighting: Float[Tensor, "B 9 3"]) -> Float[Tensor, "B N 3"]:
    """Light that reaches surface points, per channel. Not clamped: strong bands may give negative light."""
    return spherical_harmonics(normals) @ lighting


def irradiance_image(normals: Float[Tensor, "B 3 H W"], lighting: Float[Tensor, "B 9 3"]) -> Float[Tensor, "B 3 H W"]:
    """``irradiance`` for a picture of normals."""
    # whole planes, and the constants on the light's side: a picture has far more normals than light has numbers
    bands = torch.stack(_monomials(*normals.flatten(2).contiguous().unbind(1)), dim=1)
    light = lighting * lighting.new_tensor(SH_CONSTANTS).unsqueeze(-1)
    return torch.bmm(light.mT, bands).reshape(normals.shape)


LAMPS = ((-1, 1, 1), (1, 1, 1), (-1, -1, 1), (1, -1, 1), (0, 0, 1))
"""DECA's five lamps: directions from the face to each, in model space. Source: DECA, public code."""

LAMP_INTENSITY = 1.7
"""Of each lamp. Source: DECA, public code."""


def directional_irradiance(
    normals: Float[Tensor, "B 3 H W"],
    directions: Float[Tensor, "K 3"],
    intensity: float = LAMP_INTENSITY,
) -> Float[Tensor, "B 1 H W"]:
    """Mean light of several lamps at infinity: intensity * mean over lamps of clamp(n . direction, 0, 1).

    ``directions`` are from the surface to each lamp, of any length.

    Source: DECA, public code (grey renderings of the shape).
    """
    towards = torch.nn.functional.normalize(directions, dim=-1)
    cosine = torch.einsum("kc,bchw->bkhw", towards, normals)
    return intensity * cosine.clamp(0, 1).mean(1, keepdim=True)
