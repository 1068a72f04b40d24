"""The z-buffer for CPUs: numba kernels that follow ``coverage``, with interpolation and its backward fused.

Kernels are compiled on first use and cached on disk: beside this file, or in the user's cache folder where the package
is read-only (numba's own order; ``NUMBA_CACHE_DIR`` overrides it). Images, or bands of rows of few images, are shared
among ``torch.get_num_threads()`` threads.
"""

from collections.abc import Callable
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from emoca_core.geometry.autograd_context import Context
from emoca_core.kernels.threads import compiled, for_each
from emoca_plugins.renderers.coverage import (
    AREA_EPSILON,
    GUARD_PX,
    MAX_DEPTH,
    MIN_DEPTH,
    ONE,
    SUBPIXEL_BITS,
    Depth,
    FillRule,
    area_padding,
    min_area_fixed,
)

_UNUSABLE = np.int32(2**31 - 1)
_EPSILON = np.float32(AREA_EPSILON)
_RELAXED = {"contract", "reassoc", "arcp", "nsz"}  # fast arithmetic, but NaN and infinity keep their meaning


def visibility(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_size: tuple[int, int],
    fill_rule: FillRule = "strict",
    depth_rule: Depth = "exact",
) -> tuple[Int[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Which triangle each pixel sees, and at what depth; -1 where none. float32 on the CPU."""
    height, width = image_size
    points = vertices.detach().contiguous().numpy()
    corners = faces.to(torch.int32).contiguous().numpy()
    triangles = np.empty((len(points), height, width), np.int32)
    depth = np.empty((len(points), height, width), np.float32)
    area, top_left = min_area_fixed(height, width), fill_rule == "top_left"
    padding = area_padding(depth_rule, height, width)

    def draw(item: int, first: int, last: int) -> None:
        _rasterize(points[item], corners, first, last, area, padding, top_left, triangles[item], depth[item])

    _for_each_band(draw, len(points), height)
    return torch.from_numpy(triangles), torch.from_numpy(depth)


def interpolate(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    triangles: Int[Tensor, "B H W"],
    attributes: Float[Tensor, "B N D"],
    attribute_faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B D H W"]:
    """Barycentric interpolation, zero where nothing is visible; float32 on the CPU. Differentiable once."""
    return _Interpolate.apply(vertices, attributes, triangles, faces, attribute_faces)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, vertices: Tensor, attributes: Tensor, triangles: Tensor, faces: Tensor, attribute_faces: Tensor
    ) -> Tensor:
        saved = (
            vertices.detach().contiguous(),
            attributes.detach().contiguous(),
            triangles.to(torch.int32).contiguous(),
            faces.to(torch.int32).contiguous(),
            attribute_faces.to(torch.int32).contiguous(),
        )
        ctx.save_for_backward(*saved)
        points, values, seen, corners, value_corners = (tensor.numpy() for tensor in saved)
        batch, height, width = seen.shape
        image = torch.empty(batch, height, width, values.shape[2])
        out = image.numpy()

        def draw(item: int, first: int, last: int) -> None:
            _interpolate_forward(points[item], values[item], seen[item], corners, value_corners, first, last, out[item])

        _for_each_band(draw, batch, height)
        return image.permute(0, 3, 1, 2)  # channels last in memory, as the attributes are

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        points, values, seen, corners, value_corners = (tensor.numpy() for tensor in ctx.saved_tensors)
        incoming = grad.permute(0, 2, 3, 1).contiguous().numpy()
        batch, height, _ = seen.shape
        bands = _bands(batch)  # each band sums into memory of its own: no locks, and the same result every time
        to_vertices, to_attributes = ctx.needs_input_grad[:2]
        vertex_grad = torch.zeros(batch, bands, *points.shape[1:]) if to_vertices else torch.zeros(batch, bands, 0, 3)
        value_grad = torch.zeros(batch, bands, *values.shape[1:]) if to_attributes else torch.zeros(batch, bands, 0, 0)
        out_points, out_values = vertex_grad.numpy(), value_grad.numpy()

        def draw(item: int, first: int, last: int) -> None:
            band = first * bands // height if bands > 1 else 0
            _interpolate_backward(
                points[item],
                values[item],
                seen[item],
                corners,
                value_corners,
                first,
                last,
                incoming[item],
                to_vertices,
                to_attributes,
                out_points[item, band],
                out_values[item, band],
            )

        _for_each_band(draw, batch, height)
        return (
            _sum_bands(vertex_grad) if to_vertices else None,
            _sum_bands(value_grad) if to_attributes else None,
            None,
            None,
            None,
        )


def _sum_bands(grad: Tensor) -> Tensor:
    return grad[:, 0] if grad.shape[1] == 1 else grad.sum(1)


def _bands(batch: int) -> int:
    """Horizontal bands per image: images are the unit of work where there are enough of them."""
    return 1 if batch >= torch.get_num_threads() else torch.get_num_threads()


def _for_each_band(draw: Callable[[int, int, int], None], batch: int, height: int) -> None:
    """Call ``draw(item, first_row, last_row)`` for every band of every image, on torch's number of threads."""
    bands = _bands(batch)
    rows = [(band * height // bands, (band + 1) * height // bands) for band in range(bands)]
    work = [(item, first, last) for item in range(batch) for first, last in rows if last > first]
    for_each(len(work), lambda number: draw(*work[number]))


# ---------------------------------------------------------------- kernels
# ``no_type_check`` keeps run-time shape checkers from wrapping what numba compiles.


@compiled(error_model="numpy")
@no_type_check
def _snap(points, height, width):
    """Fixed-point x and y of all vertices; ``_UNUSABLE`` for those that no triangle may use."""
    x = np.empty(len(points), np.int32)
    y = np.empty(len(points), np.int32)
    for i in range(len(points)):
        column = (np.float64(points[i, 0]) + 1.0) * (0.5 * width) - 0.5
        row = (np.float64(points[i, 1]) + 1.0) * (0.5 * height) - 0.5
        on_stage = -GUARD_PX < column < GUARD_PX and -GUARD_PX < row < GUARD_PX
        if on_stage and MIN_DEPTH <= np.float64(points[i, 2]) <= MAX_DEPTH:
            x[i] = np.int32(np.floor(column * ONE + 0.5))
            y[i] = np.int32(np.floor(row * ONE + 0.5))
        else:  # also NaN
            x[i] = _UNUSABLE
            y[i] = 0
    return x, y


@compiled(error_model="numpy", inline="always")
@no_type_check
def _bias(dx, dy, top_left):
    """0 if pixel centres on this edge belong to the triangle, else -1."""
    return 0 if top_left and (dy < 0 or (dy == 0 and dx > 0)) else -1


@compiled(error_model="numpy")
@no_type_check
def _rasterize(points, faces, first, last, min_area, padding, top_left, triangles, depth):
    """Draw the rows first..last-1 of one image."""
    height, width = depth.shape
    xs, ys = _snap(points, height, width)
    triangles[first:last] = -1
    depth[first:last] = np.inf
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        y0, y1, y2 = np.int64(ys[a]), np.int64(ys[b]), np.int64(ys[c])
        top = max((min(y0, y1, y2) + (ONE - 1)) >> SUBPIXEL_BITS, first)
        bottom = min(max(y0, y1, y2) >> SUBPIXEL_BITS, last - 1)
        if top > bottom:
            continue
        x0, x1, x2 = np.int64(xs[a]), np.int64(xs[b]), np.int64(xs[c])
        if max(x0, x1, x2) == _UNUSABLE:
            continue
        left = max((min(x0, x1, x2) + (ONE - 1)) >> SUBPIXEL_BITS, 0)
        right = min(max(x0, x1, x2) >> SUBPIXEL_BITS, width - 1)
        if left > right:
            continue
        z0, z1, z2 = np.float64(points[a, 2]), np.float64(points[b, 2]), np.float64(points[c, 2])
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        signed = -area
        if area < 0:
            x1, x2, y1, y2, z1, z2, area = x2, x1, y2, y1, z2, z1, -area
        if area > min_area:
            if padding:
                ratio = np.float64(signed) / np.float64(signed + padding)
                z0, z1, z2 = z0 * ratio, z1 * ratio, z2 * ratio
            box = (left, right, top, bottom)
            _draw(f, x0, x1, x2, y0, y1, y2, z0, z1, z2, area, box, top_left, triangles, depth)
    for r in range(first, last):
        for column in range(width):
            if triangles[r, column] < 0:
                depth[r, column] = -1.0


@compiled(error_model="numpy", inline="always")
@no_type_check
def _draw(f, x0, x1, x2, y0, y1, y2, z0, z1, z2, area, box, top_left, triangles, depth):
    """Test the pixel centres of a box against one triangle (clockwise on screen) and the depth drawn so far."""
    left, right, top, bottom = box
    # edge k is opposite corner k; its function is >= 0 inside
    dx0, dx1, dx2 = x2 - x1, x0 - x2, x1 - x0
    dy0, dy1, dy2 = y2 - y1, y0 - y2, y1 - y0
    bias0, bias1, bias2 = _bias(dx0, dy0, top_left), _bias(dx1, dy1, top_left), _bias(dx2, dy2, top_left)
    x, y = left << SUBPIXEL_BITS, top << SUBPIXEL_BITS
    row0 = dx0 * (y - y1) - dy0 * (x - x1)
    row1 = dx1 * (y - y2) - dy1 * (x - x2)
    row2 = dx2 * (y - y0) - dy2 * (x - x0)
    step0, step1, step2 = -dy0 << SUBPIXEL_BITS, -dy1 << SUBPIXEL_BITS, -dy2 << SUBPIXEL_BITS
    scale = 1.0 / np.float64(area)
    slope = ((z1 - z0) * np.float64(step1) + (z2 - z0) * np.float64(step2)) * scale
    for r in range(top, bottom + 1):
        z_left = z0 + ((z1 - z0) * np.float64(row1) + (z2 - z0) * np.float64(row2)) * scale
        e0, e1, e2 = row0 + bias0, row1 + bias1, row2 + bias2
        for column in range(left, right + 1):
            if (e0 | e1 | e2) >= 0:
                z = np.float32(z_left + slope * np.float64(column - left))
                if z < depth[r, column]:
                    depth[r, column] = z
                    triangles[r, column] = f
            e0 += step0
            e1 += step1
            e2 += step2
        row0 += dx0 << SUBPIXEL_BITS
        row1 += dx1 << SUBPIXEL_BITS
        row2 += dx2 << SUBPIXEL_BITS


@compiled(error_model="numpy", inline="always", fastmath=_RELAXED)
@no_type_check
def _corners_and_weights(points, faces, f, px, py):
    """Image positions of a triangle's corners, barycentric weights of a point, and the scale they share."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
    cx, cy = points[c, 0], points[c, 1]
    area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
    padded = area + _EPSILON
    scale = np.float32(1.0) / (area if abs(padded) < _EPSILON else padded)  # must not cancel a small negative area
    wa = ((px - bx) * (cy - by) - (py - by) * (cx - bx)) * scale
    wb = ((px - cx) * (ay - cy) - (py - cy) * (ax - cx)) * scale
    wc = ((px - ax) * (by - ay) - (py - ay) * (bx - ax)) * scale
    return ax, ay, bx, by, cx, cy, wa, wb, wc, scale


@compiled(error_model="numpy", fastmath=_RELAXED)
@no_type_check
def _interpolate_forward(points, values, triangles, faces, value_faces, first, last, image):
    height, width = triangles.shape
    channels = values.shape[1]
    for r in range(first, last):
        py = np.float32(-1.0 + (2.0 * r + 1.0) / height)
        for column in range(width):
            f = triangles[r, column]
            if f < 0:
                for d in range(channels):
                    image[r, column, d] = 0
                continue
            px = np.float32(-1.0 + (2.0 * column + 1.0) / width)
            _, _, _, _, _, _, wa, wb, wc, _ = _corners_and_weights(points, faces, f, px, py)
            i, j, k = value_faces[f, 0], value_faces[f, 1], value_faces[f, 2]
            for d in range(channels):
                image[r, column, d] = wa * values[i, d] + wb * values[j, d] + wc * values[k, d]


@compiled(error_model="numpy", fastmath=_RELAXED)
@no_type_check
def _interpolate_backward(
    points,
    values,
    triangles,
    faces,
    value_faces,
    first,
    last,
    grad,
    to_points,
    to_values,
    point_grad,
    value_grad,
):
    height, width = triangles.shape
    channels = values.shape[1]
    for r in range(first, last):
        py = np.float32(-1.0 + (2.0 * r + 1.0) / height)
        for column in range(width):
            f = triangles[r, column]
            if f < 0:
                continue
            px = np.float32(-1.0 + (2.0 * column + 1.0) / width)
            ax, ay, bx, by, cx, cy, wa, wb, wc, scale = _corners_and_weights(points, faces, f, px, py)
            i, j, k = value_faces[f, 0], value_faces[f, 1], value_faces[f, 2]
            if to_values:
                for d in range(channels):
                    g = grad[r, column, d]
                    value_grad[i, d] += wa * g
                    value_grad[j, d] += wb * g
                    value_grad[k, d] += wc * g
            if to_points:
                ga = gb = gc = np.float32(0)
                for d in range(channels):
                    g = grad[r, column, d]
                    ga += g * values[i, d]
                    gb += g * values[j, d]
                    gc += g * values[k, d]
                # w = E / A with E, A bilinear in the corners: dL/dE = g scale, dL/dA = -(g . w) scale
                qa, qb, qc = ga * scale, gb * scale, gc * scale
                q = -(ga * wa + gb * wb + gc * wc) * scale
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                point_grad[a, 0] += qb * (cy - py) + qc * (py - by) + q * (cy - by)
                point_grad[a, 1] += qb * (px - cx) + qc * (bx - px) + q * (bx - cx)
                point_grad[b, 0] += qa * (py - cy) + qc * (ay - py) + q * (ay - cy)
                point_grad[b, 1] += qa * (cx - px) + qc * (px - ax) + q * (cx - ax)
                point_grad[c, 0] += qa * (by - py) + qb * (py - ay) + q * (by - ay)
                point_grad[c, 1] += qa * (px - bx) + qb * (ax - px) + q * (ax - bx)
