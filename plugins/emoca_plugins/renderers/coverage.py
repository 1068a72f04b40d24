"""Which pixels a triangle covers: the one rule that every kernel of the ``zbuffer`` renderer follows.

Vertices are snapped to 1/65536 of a pixel; from there coverage is integer arithmetic (edge functions in int64), hence
exact: no holes and no double hits along shared edges, and the same pixels on every platform and device.

- A pixel is covered when its centre is inside. Fill rule ``strict``: a centre exactly on an edge belongs to nobody, as
  in PyTorch3D, whose pixels this reproduces. Fill rule ``top_left``: it belongs to the triangle whose top or left edge
  it is, so that meshes have no holes even where edges run through pixel centres.
- Depth is linear in the image. In float64 it is ``z0 + ((z1 - z0) e1 + (z2 - z0) e2) / area`` at the leftmost column of
  the triangle's box in the pixel's row, plus the slope times the columns from there; rounded to float32. All kernels
  round in this order, so that they agree bit by bit.
- ``pytorch3d`` depth is what PyTorch3D compares: it divides by twice the signed area plus 1e-8, which makes the depth
  of a whole triangle A / (A + 1e-8) times the exact one. Where surfaces nearly touch, another triangle may win.
- The nearest triangle wins; of equally near ones, the lowest index.
- Dropped whole: triangles with a vertex behind the camera (depth < 1e-8), not finite, or more than 16,384 pixels
  off-screen, and degenerate ones (twice the area at most 1e-8 in NDC, PyTorch3D's limit). Nothing is clipped.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FillRule = Literal["strict", "top_left"]
Depth = Literal["exact", "pytorch3d"]

SUBPIXEL_BITS = 16
ONE = 1 << SUBPIXEL_BITS
"""Fixed-point units per pixel."""

GUARD_PX = 1 << 14
"""Snapped coordinates stay within +-2^30, so that edge functions stay within int64."""

MAX_SIDE = 1 << 13
"""Largest image side, pixels: well inside the guard band."""

MIN_DEPTH = 1e-8
MAX_DEPTH = 3.4028234663852886e38
"""Largest finite float32."""

MIN_AREA = 1e-8
"""Twice the smallest area of a triangle that is drawn, NDC."""

AREA_EPSILON = 1e-8
"""Added to twice the signed area when barycentric coordinates are computed, as PyTorch3D does; parity needs it."""


def min_area_fixed(height: int, width: int) -> int:
    """``MIN_AREA`` in fixed-point units squared."""
    return int(MIN_AREA * (0.5 * width) * (0.5 * height) * ONE * ONE)


def area_padding(depth: Depth, height: int, width: int) -> int:
    """What is added to twice the signed area before depths are compared, fixed-point units squared; 0 if exact.

    The area is that of ``barycentric``: positive where corners run clockwise in an image whose rows go down. It is
    larger than the padding, or the triangle is not drawn.
    """
    return min_area_fixed(height, width) if depth == "pytorch3d" else 0


def snap(
    vertices: Float[Tensor, "B V 3"], image_size: tuple[int, int]
) -> tuple[Int[Tensor, "B V"], Int[Tensor, "B V"], Float[Tensor, "B V"]]:
    """Fixed-point x and y and float64 depth of every vertex; depth is -1 for vertices that no triangle may use."""
    height, width = image_size
    x, y, depth = vertices.detach().double().unbind(-1)
    x, y = (x + 1.0) * (0.5 * width) - 0.5, (y + 1.0) * (0.5 * height) - 0.5
    usable = (x.abs() < GUARD_PX) & (y.abs() < GUARD_PX) & (depth >= MIN_DEPTH) & (depth <= MAX_DEPTH)  # NaN: False
    x, y = (torch.floor(torch.where(usable, value, 0.0) * ONE + 0.5).long() for value in (x, y))
    return x, y, torch.where(usable, depth, -1.0)


def drawable(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_size: tuple[int, int]
) -> Bool[Tensor, "B F"]:
    """Which triangles are drawn at all, for renderers whose library would clip or choke on the others."""
    x, y, depth = (value[:, faces] for value in snap(vertices, image_size))
    area = (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0]) - (y[..., 1] - y[..., 0]) * (x[..., 2] - x[..., 0])
    return (depth >= 0).all(-1) & (area.abs() > min_area_fixed(*image_size))


def check_image_size(image_size: tuple[int, int]) -> None:
    """Refuse images that are empty or too large.

    Raises:
        ValueError: A side is not within 1 to ``MAX_SIDE`` pixels.
    """
    if not all(1 <= side <= MAX_SIDE for side in image_size):
        raise ValueError(f"cannot render an image of {image_size} pixels: each side must be 1 to {MAX_SIDE}")


def check_faces(faces: Int[Tensor, "F 3"], count: int) -> None:
    """Refuse triangles that refer to vertices that do not exist: kernels would read foreign memory.

    Skipped on a GPU, where looking would wait for the device; its kernels are given valid meshes by the face models.

    Raises:
        ValueError: An index is not within 0 to ``count`` - 1.
    """
    if faces.device.type == "cpu" and len(faces):
        lowest, highest = (int(bound) for bound in faces.aminmax())
        if lowest < 0 or highest >= count:
            raise ValueError(f"triangles refer to vertices {lowest} to {highest}, but there are {count}")
