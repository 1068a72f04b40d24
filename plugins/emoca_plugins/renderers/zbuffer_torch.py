"""The z-buffer in plain torch: the readable reference of ``coverage``, for any device, float64 and plain autograd."""

import itertools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.geometry.ndc import pixel_centres
from emoca_plugins.renderers.coverage import (
    AREA_EPSILON,
    ONE,
    SUBPIXEL_BITS,
    Depth,
    FillRule,
    area_padding,
    min_area_fixed,
    snap,
)

_EMPTY = torch.iinfo(torch.int64).max
_CANDIDATES = 1 << 22
"""(triangle, pixel) pairs tested at a time; bounds memory to a few hundred megabytes."""


@torch.no_grad()
def visibility(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_size: tuple[int, int],
    fill_rule: FillRule = "strict",
    depth_rule: Depth = "exact",
) -> tuple[Int[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Which triangle each pixel sees, and at what depth; -1 where none."""
    height, width = image_size
    if vertices.device.type == "mps":  # has no float64
        index, depth = visibility(vertices.cpu(), faces.cpu(), image_size, fill_rule, depth_rule)
        return index.to(vertices.device), depth.to(vertices.device)
    triangles = _Triangles(vertices, faces.long(), image_size, fill_rule, depth_rule)
    buffer = torch.full((len(vertices) * height * width,), _EMPTY, dtype=torch.int64, device=vertices.device)
    for first, last in _portions(triangles.candidates):
        pixel, key = triangles.fragments(first, last)
        buffer.scatter_reduce_(0, pixel, key, "amin")
    buffer = buffer.reshape(-1, height, width)
    hit = buffer != _EMPTY
    depth = (buffer >> 32).to(torch.int32).view(torch.float32)
    index = (buffer & 0xFFFFFFFF).to(torch.int32)
    return torch.where(hit, index, -1), torch.where(hit, depth, -1.0).to(vertices.dtype)


def interpolate(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    triangles: Int[Tensor, "B H W"],
    attributes: Float[Tensor, "B N D"],
    attribute_faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B D H W"]:
    """Barycentric interpolation by gathering, differentiable by autograd; zero where nothing is visible."""
    batch, height, width = triangles.shape
    item, row, column = (triangles >= 0).nonzero(as_tuple=True)
    seen = triangles[item, row, column].long()
    corners = vertices[item[:, None], faces[seen].long(), :2]
    centres = pixel_centres((height, width), vertices.device, vertices.dtype)[row, column]
    weights = barycentric(centres, corners)
    values = attributes[item[:, None], attribute_faces[seen].long()]
    image = attributes.new_zeros(batch, height, width, attributes.shape[-1])
    image = image.index_put((item, row, column), (weights[..., None] * values).sum(1))
    return image.permute(0, 3, 1, 2).contiguous()


def barycentric(points: Float[Tensor, "P 2"], corners: Float[Tensor, "P 3 2"]) -> Float[Tensor, "P 3"]:
    """Barycentric coordinates in the image plane.

    Source: PyTorch3D, public code: areas of sub-triangles over (twice the signed area + 1e-8).
    """
    a, b, c = corners.unbind(1)
    area = _doubled_area(c, a, b)
    padded = area + AREA_EPSILON
    area = torch.where(padded.abs() < AREA_EPSILON, area, padded)  # the epsilon must not cancel a small negative area
    parts = [_doubled_area(points, b, c), _doubled_area(points, c, a), _doubled_area(points, a, b)]
    return torch.stack(parts, dim=-1) / area[:, None]


def _doubled_area(p: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Twice the signed area of the triangle p, u, v."""
    return (p[:, 0] - u[:, 0]) * (v[:, 1] - u[:, 1]) - (p[:, 1] - u[:, 1]) * (v[:, 0] - u[:, 0])


class _Triangles:
    """Drawable triangles of a batch, one row each, in fixed point and wound clockwise on screen."""

    def __init__(
        self, vertices: Tensor, faces: Tensor, image_size: tuple[int, int], fill_rule: FillRule, depth: Depth
    ) -> None:
        self.height, self.width = image_size
        x, y, z = (value[:, faces] for value in snap(vertices, image_size))  # B, F, 3 corners
        area = (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0]) - (y[..., 1] - y[..., 0]) * (x[..., 2] - x[..., 0])
        if padding := area_padding(depth, *image_size):
            padded = torch.where(area.abs() > padding, padding - area, 1)  # smaller ones are not drawn
            z = torch.where(z >= 0, z * (-area.double() / padded.double())[..., None], z)
        flipped = (area < 0)[..., None]
        x, y, z = (torch.where(flipped, value[..., [0, 2, 1]], value) for value in (x, y, z))
        # first and last pixel whose centre is in the box
        left, right = ((x.amin(-1) + ONE - 1) >> SUBPIXEL_BITS).clamp(min=0), x.amax(-1) >> SUBPIXEL_BITS
        top, bottom = ((y.amin(-1) + ONE - 1) >> SUBPIXEL_BITS).clamp(min=0), y.amax(-1) >> SUBPIXEL_BITS
        columns = right.clamp(max=self.width - 1) - left + 1
        rows = bottom.clamp(max=self.height - 1) - top + 1
        drawn = (z >= 0).all(-1) & (area.abs() > min_area_fixed(*image_size)) & (columns > 0) & (rows > 0)

        self.item, self.index = drawn.nonzero(as_tuple=True)
        self.left, self.top, self.columns = left[drawn], top[drawn], columns[drawn]
        self.candidates = self.columns * rows[drawn]
        self.z, self.area = z[drawn], area[drawn].abs().double()
        # edge k is opposite corner k and runs from corner k+1 to k+2; its function is >= 0 inside
        x, y = x[drawn], y[drawn]
        start_x, start_y = x.roll(-1, -1), y.roll(-1, -1)
        dx, dy = x.roll(-2, -1) - start_x, y.roll(-2, -1) - start_y
        from_x = (self.left << SUBPIXEL_BITS)[:, None] - start_x
        from_y = (self.top << SUBPIXEL_BITS)[:, None] - start_y
        self.edge = dx * from_y - dy * from_x  # at the box's top left pixel
        self.per_row, self.per_column = dx << SUBPIXEL_BITS, -dy << SUBPIXEL_BITS
        top_or_left = (dy < 0) | ((dy == 0) & (dx > 0))
        self.bias = torch.where(top_or_left, 0, -1) if fill_rule == "top_left" else torch.full_like(dx, -1)

    def fragments(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Covered pixels of a range of triangles: position in the batch of images, and key = depth, then index."""
        count = self.candidates[first:last]
        start = count.cumsum(0) - count
        triangle = torch.repeat_interleave(count)
        rank = torch.arange(len(triangle), device=count.device) - start[triangle]
        triangle = triangle + first
        row, column = _divmod(rank, self.columns[triangle])  # counted from the box's corner
        edges = (self.edge + self.bias).index_select(0, triangle)  # far faster than indexing rows by []
        edges.addcmul_(row[:, None], self.per_row.index_select(0, triangle))
        edges.addcmul_(column[:, None], self.per_column.index_select(0, triangle))
        inside = (edges >= 0).all(-1)
        triangle, row, column = triangle[inside], row[inside], column[inside]
        bits = self._depth(triangle, row, column).view(torch.int32).long()  # depths > 0 sort like their bits
        pixel = (self.item[triangle] * self.height + self.top[triangle] + row) * self.width
        return pixel + self.left[triangle] + column, (bits << 32) | self.index[triangle]

    def _depth(self, triangle: Tensor, row: Tensor, column: Tensor) -> Tensor:
        edge, per_row = self.edge.index_select(0, triangle), self.per_row.index_select(0, triangle)
        at_left = (edge + row[:, None] * per_row).double()
        step = self.per_column.index_select(0, triangle).double()
        z0, z1, z2 = self.z.index_select(0, triangle).unbind(-1)
        scale = 1.0 / self.area[triangle]
        start = z0 + ((z1 - z0) * at_left[:, 1] + (z2 - z0) * at_left[:, 2]) * scale
        slope = ((z1 - z0) * step[:, 1] + (z2 - z0) * step[:, 2]) * scale
        return (start + slope * column.double()).float()


def _divmod(number: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    quotient = number // by
    return quotient, number - quotient * by


def _portions(candidates: Tensor) -> list[tuple[int, int]]:
    """Ranges of triangles with about ``_CANDIDATES`` candidates each."""
    total = candidates.cumsum(0)
    if not len(total):
        return []
    limits = torch.arange(1, int(total[-1]) // _CANDIDATES + 1, device=total.device) * _CANDIDATES
    bounds = sorted({0, *torch.searchsorted(total, limits, right=True).tolist(), len(total)})
    return list(itertools.pairwise(bounds))
