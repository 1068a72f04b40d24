"""Flat shapes as signed distances: what hands, things and backgrounds are drawn with."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor


@cache
def pixel_places(size: int) -> Float[Tensor, "2 S S"]:
    """NDC x and y of every pixel's centre."""
    line = (2 * torch.arange(size) + 1) / size - 1
    return torch.stack([line.expand(size, size), line[:, None].expand(size, size)])


def capsules(ends: Float[Tensor, "B K 2 2"], radius: Float[Tensor, "B K"], size: int) -> Float[Tensor, "B K S S"]:
    """Signed distance to rounded bars, NDC, negative inside.

    Args:
        ends: x and y of both ends, NDC.
        radius: Half the thickness, NDC.
        size: Side of the picture, pixels.
    """
    x, y = pixel_places(size)
    (ax, ay), (bx, by) = ends[:, :, 0].unbind(-1), ends[:, :, 1].unbind(-1)
    dx, dy = (_wide(b - a) for a, b in ((ax, bx), (ay, by)))
    px, py = x - _wide(ax), y - _wide(ay)
    along = ((px * dx + py * dy) / (dx * dx + dy * dy).clamp(min=1e-9)).clamp(0, 1)
    return _length(px - along * dx, py - along * dy) - _wide(radius)


def rounded_boxes(
    middle: Float[Tensor, "B K 2"],
    half: Float[Tensor, "B K 2"],
    angle: Float[Tensor, "B K"],
    roundness: Float[Tensor, "B K"],
    size: int,
) -> Float[Tensor, "B K S S"]:
    """Signed distance to turned boxes with round corners, NDC; ``roundness`` 0 is a box, 1 a pill or disc."""
    x, y = pixel_places(size)
    px, py = x - _wide(middle[..., 0]), y - _wide(middle[..., 1])
    cosine, sine = _wide(angle.cos()), _wide(angle.sin())
    corner = _wide(roundness * half.amin(-1))
    u = (cosine * px + sine * py).abs() - _wide(half[..., 0]) + corner
    v = (cosine * py - sine * px).abs() - _wide(half[..., 1]) + corner
    outside = _length(u.clamp(min=0), v.clamp(min=0))
    return outside + torch.maximum(u, v).clamp(max=0) - corner


def coverage(distance: Float[Tensor, "*n S S"], softness: float | Float[Tensor, "*m 1 1"] = 0.0) -> Tensor:
    """Share of each pixel inside a shape, whose edge is ``softness`` NDC wide besides the pixel's own width."""
    return (0.5 - distance / (2 / distance.shape[-1] + softness)).clamp(0, 1)


def gaussian_blur(image: Float[Tensor, "B C S S"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C S S"]:
    """Blur each picture by its own standard deviation, pixels; the border repeats."""
    size = image.shape[-1]
    reach = max(1, int(3 * float(sigma.max())) + 1)
    places = torch.arange(-reach, size + reach)
    distance = places - torch.arange(size)[:, None]
    weights = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-3)[:, None, None]) ** 2)
    weights = weights / weights.sum(-1, keepdim=True)
    matrix = weights[..., reach:-reach].clone()
    matrix[..., 0] += weights[..., :reach].sum(-1)
    matrix[..., -1] += weights[..., -reach:].sum(-1)
    matrix = matrix[:, None]
    return matrix @ image @ matrix.mT


def _length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()  # torch.hypot is several times slower


def _wide(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n 1 1"]:
    return values[..., None, None]
