"""The z-buffer for CUDA: Triton kernels that follow ``coverage``. Triton comes with torch's CUDA wheels on Linux.

One 64-bit atomic minimum per covered pixel on (depth bits, triangle index) settles visibility in any order, so the
pixels are those of the other kernels. Gradients are summed by atomic additions, whose order and last bits may vary.
``TRITON_INTERPRET=1`` runs the kernels on the CPU, slowly, for tests.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from emoca_core.geometry.autograd_context import Context
from emoca_plugins.renderers.coverage import Depth, FillRule, area_padding, min_area_fixed, snap

_EMPTY = torch.iinfo(torch.int64).max
_TRIANGLES_PER_PROGRAM = 32
_PIXELS_PER_PROGRAM = 256


def visibility(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_size: tuple[int, int],
    fill_rule: FillRule = "strict",
    depth_rule: Depth = "exact",
) -> tuple[Int[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """Which triangle each pixel sees, and at what depth; -1 where none. float32 on CUDA."""
    height, width = image_size
    batch, count = vertices.shape[:2]
    x, y, depth = snap(vertices, image_size)
    keys = torch.full((batch, height, width), _EMPTY, dtype=torch.int64, device=vertices.device)
    if batch and len(faces):
        _rasterize[(triton.cdiv(len(faces), _TRIANGLES_PER_PROGRAM), batch)](
            x.to(torch.int32).contiguous(),
            y.to(torch.int32).contiguous(),
            depth.contiguous(),
            faces.to(torch.int32).contiguous(),
            keys,
            count,
            len(faces),
            height,
            width,
            min_area_fixed(height, width),
            area_padding(depth_rule, height, width),
            TOP_LEFT=fill_rule == "top_left",
            BLOCK=_TRIANGLES_PER_PROGRAM,
            num_warps=1,
            enable_fp_fusion=False,  # depths must round as in the other kernels
        )
    hit = keys != _EMPTY
    seen = (keys >> 32).to(torch.int32).view(torch.float32)
    return torch.where(hit, (keys & 0xFFFFFFFF).to(torch.int32), -1), torch.where(hit, seen, -1.0)


def interpolate(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    triangles: Int[Tensor, "B H W"],
    attributes: Float[Tensor, "B N D"],
    attribute_faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "B D H W"]:
    """Barycentric interpolation, zero where nothing is visible; float32 on CUDA. Differentiable once."""
    return _Interpolate.apply(vertices, attributes, triangles, faces, attribute_faces)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, vertices: Tensor, attributes: Tensor, triangles: Tensor, faces: Tensor, attribute_faces: Tensor
    ) -> Tensor:
        saved = (
            vertices.detach()[..., :2].contiguous(),
            attributes.detach().contiguous(),
            triangles.to(torch.int32).contiguous(),
            faces.to(torch.int32).contiguous(),
            attribute_faces.to(torch.int32).contiguous(),
        )
        ctx.save_for_backward(*saved)
        points, values, seen, corners, value_corners = saved
        channels = values.shape[2]
        image = values.new_empty(*seen.shape, channels)
        if image.numel():
            _interpolate_forward[(triton.cdiv(seen.numel(), _PIXELS_PER_PROGRAM),)](
                points,
                values,
                seen,
                corners,
                value_corners,
                image,
                seen.numel(),
                points.shape[1],
                values.shape[1],
                seen.shape[1],
                seen.shape[2],
                channels,
                BLOCK=_PIXELS_PER_PROGRAM,
            )
        return image.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        points, values, seen, corners, value_corners = ctx.saved_tensors
        to_vertices, to_attributes = ctx.needs_input_grad[:2]
        point_grad, value_grad = torch.zeros_like(points), torch.zeros_like(values)
        if grad.numel():
            _interpolate_backward[(triton.cdiv(seen.numel(), _PIXELS_PER_PROGRAM),)](
                points,
                values,
                seen,
                corners,
                value_corners,
                grad.permute(0, 2, 3, 1).contiguous(),
                point_grad,
                value_grad,
                seen.numel(),
                points.shape[1],
                values.shape[1],
                seen.shape[1],
                seen.shape[2],
                values.shape[2],
                TO_POINTS=to_vertices,
                TO_VALUES=to_attributes,
                BLOCK=_PIXELS_PER_PROGRAM,
            )
        vertex_grad = torch.nn.functional.pad(point_grad, (0, 1)) if to_vertices else None
        return vertex_grad, value_grad if to_attributes else None, None, None, None


# ---------------------------------------------------------------- kernels
# ``no_type_check`` keeps run-time shape checkers from wrapping what Triton compiles. Constants of ``coverage`` are
# written out: a kernel sees no Python globals (65536 = ONE, 16 = SUBPIXEL_BITS, 1e-8 = AREA_EPSILON).


@triton.jit
@no_type_check
def _rasterize(
    X, Y, Z, FACES, KEYS, vertices, faces, height, width, min_area, padding, TOP_LEFT: tl.constexpr, BLOCK: tl.constexpr
):
    """Draw BLOCK triangles of one image, one per lane, stepping through the largest of their boxes."""
    item = tl.program_id(1).to(tl.int64)
    f = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    drawn = f < faces
    a = item * vertices + tl.load(FACES + f * 3, mask=drawn, other=0)
    b = item * vertices + tl.load(FACES + f * 3 + 1, mask=drawn, other=0)
    c = item * vertices + tl.load(FACES + f * 3 + 2, mask=drawn, other=0)
    x0, xb, xc = tl.load(X + a).to(tl.int64), tl.load(X + b).to(tl.int64), tl.load(X + c).to(tl.int64)
    y0, yb, yc = tl.load(Y + a).to(tl.int64), tl.load(Y + b).to(tl.int64), tl.load(Y + c).to(tl.int64)
    z0, zb, zc = tl.load(Z + a), tl.load(Z + b), tl.load(Z + c)  # -1 where the vertex is unusable
    area = (xb - x0) * (yc - y0) - (yb - y0) * (xc - x0)
    # padding 0 is a factor of exactly 1; smaller triangles than the padding are not drawn
    padded = tl.where(tl.abs(area) > padding, padding - area, -area)
    ratio = -area.to(tl.float64) / tl.where(area == 0, 1, padded).to(tl.float64)
    z0, zb, zc = tl.where(z0 > 0, z0 * ratio, z0), tl.where(zb > 0, zb * ratio, zb), tl.where(zc > 0, zc * ratio, zc)
    flipped = area < 0
    x1, x2 = tl.where(flipped, xc, xb), tl.where(flipped, xb, xc)
    y1, y2 = tl.where(flipped, yc, yb), tl.where(flipped, yb, yc)
    z1, z2 = tl.where(flipped, zc, zb), tl.where(flipped, zb, zc)
    area = tl.abs(area)
    left = tl.maximum((tl.minimum(tl.minimum(x0, x1), x2) + 65535) >> 16, 0)
    top = tl.maximum((tl.minimum(tl.minimum(y0, y1), y2) + 65535) >> 16, 0)
    columns = tl.minimum(tl.maximum(tl.maximum(x0, x1), x2) >> 16, width - 1) - left + 1
    rows = tl.minimum(tl.maximum(tl.maximum(y0, y1), y2) >> 16, height - 1) - top + 1
    drawn = drawn & (z0 > 0) & (z1 > 0) & (z2 > 0) & (area > min_area) & (columns > 0) & (rows > 0)
    columns, rows = tl.where(drawn, columns, 0).to(tl.int32), tl.where(drawn, rows, 0).to(tl.int32)
    # edge k is opposite corner k; its function is >= 0 inside
    dx0, dx1, dx2 = x2 - x1, x0 - x2, x1 - x0
    dy0, dy1, dy2 = y2 - y1, y0 - y2, y1 - y0
    x, y = left << 16, top << 16
    row0 = dx0 * (y - y1) - dy0 * (x - x1)
    row1 = dx1 * (y - y2) - dy1 * (x - x2)
    row2 = dx2 * (y - y0) - dy2 * (x - x0)
    bias0, bias1, bias2 = _bias(dx0, dy0, TOP_LEFT), _bias(dx1, dy1, TOP_LEFT), _bias(dx2, dy2, TOP_LEFT)
    step0, step1, step2 = -dy0 << 16, -dy1 << 16, -dy2 << 16
    scale = 1.0 / tl.where(drawn, area, 1).to(tl.float64)
    slope = ((z1 - z0) * step1.to(tl.float64) + (z2 - z0) * step2.to(tl.float64)) * scale
    for r in range(0, tl.max(rows, 0)):
        z_left = z0 + ((z1 - z0) * row1.to(tl.float64) + (z2 - z0) * row2.to(tl.float64)) * scale
        e0, e1, e2 = row0 + bias0, row1 + bias1, row2 + bias2
        pixel = KEYS + (item * height + top + r) * width + left
        for column in range(0, tl.max(columns, 0)):
            hit = ((e0 | e1 | e2) >= 0) & (r < rows) & (column < columns)
            depth = z_left + slope * tl.full([BLOCK], column, tl.int32).to(tl.float64)
            bits = depth.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64)
            tl.atomic_min(pixel + column, (bits << 32) | f.to(tl.int64), mask=hit, sem="relaxed")
            e0 += step0
            e1 += step1
            e2 += step2
        row0 += dx0 << 16
        row1 += dx1 << 16
        row2 += dx2 << 16


@triton.jit
@no_type_check
def _bias(dx, dy, TOP_LEFT: tl.constexpr):
    """0 if pixel centres on this edge belong to the triangle, else -1."""
    owned = (dy < 0) | ((dy == 0) & (dx > 0))
    return tl.where(owned & TOP_LEFT, 0, -1).to(tl.int64)


@triton.jit
@no_type_check
def _pixels(TRIANGLES, pixels, height, width, BLOCK: tl.constexpr):
    """The pixels of one program: index, in range, triangle (0 where none), visible, image in the batch, NDC centre."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < pixels
    f = tl.load(TRIANGLES + i, mask=inside, other=-1)
    visible = f >= 0
    row, column = (i // width) % height, i % width
    # in float64 and rounded once, as in the numba kernel
    px = (-1.0 + (2.0 * column.to(tl.float64) + 1.0) / width).to(tl.float32)
    py = (-1.0 + (2.0 * row.to(tl.float64) + 1.0) / height).to(tl.float32)
    return i, inside, tl.where(visible, f, 0).to(tl.int64), visible, i // (height * width), px, py


@triton.jit
@no_type_check
def _corners_and_weights(POINTS, FACES, f, first, visible, px, py):
    """Index and image position of the corners, barycentric weights of the pixel, and the scale they share."""
    a = first + tl.load(FACES + f * 3, mask=visible, other=0)
    b = first + tl.load(FACES + f * 3 + 1, mask=visible, other=0)
    c = first + tl.load(FACES + f * 3 + 2, mask=visible, other=0)
    ax, ay = tl.load(POINTS + a * 2, mask=visible, other=0.0), tl.load(POINTS + a * 2 + 1, mask=visible, other=0.0)
    bx, by = tl.load(POINTS + b * 2, mask=visible, other=0.0), tl.load(POINTS + b * 2 + 1, mask=visible, other=0.0)
    cx, cy = tl.load(POINTS + c * 2, mask=visible, other=0.0), tl.load(POINTS + c * 2 + 1, mask=visible, other=0.0)
    area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
    padded = area + 1e-8
    scale = 1.0 / tl.where(tl.abs(padded) < 1e-8, area, padded)
    wa = ((px - bx) * (cy - by) - (py - by) * (cx - bx)) * scale
    wb = ((px - cx) * (ay - cy) - (py - cy) * (ax - cx)) * scale
    wc = ((px - ax) * (by - ay) - (py - ay) * (bx - ax)) * scale
    return a, b, c, ax, ay, bx, by, cx, cy, wa, wb, wc, scale


@triton.jit
@no_type_check
def _interpolate_forward(
    POINTS,
    VALUES,
    TRIANGLES,
    FACES,
    VALUE_FACES,
    IMAGE,
    pixels,
    vertices,
    values,
    height,
    width,
    channels,
    BLOCK: tl.constexpr,
):
    i, inside, f, visible, item, px, py = _pixels(TRIANGLES, pixels, height, width, BLOCK)
    _, _, _, _, _, _, _, _, _, wa, wb, wc, _ = _corners_and_weights(POINTS, FACES, f, item * vertices, visible, px, py)
    a = (item * values + tl.load(VALUE_FACES + f * 3, mask=visible, other=0)) * channels
    b = (item * values + tl.load(VALUE_FACES + f * 3 + 1, mask=visible, other=0)) * channels
    c = (item * values + tl.load(VALUE_FACES + f * 3 + 2, mask=visible, other=0)) * channels
    for d in range(0, channels):
        value = wa * tl.load(VALUES + a + d, mask=visible, other=0.0)
        value += wb * tl.load(VALUES + b + d, mask=visible, other=0.0)
        value += wc * tl.load(VALUES + c + d, mask=visible, other=0.0)
        tl.store(IMAGE + i * channels + d, tl.where(visible, value, 0.0), mask=inside)


@triton.jit
@no_type_check
def _interpolate_backward(
    POINTS,
    VALUES,
    TRIANGLES,
    FACES,
    VALUE_FACES,
    GRAD,
    POINT_GRAD,
    VALUE_GRAD,
    pixels,
    vertices,
    values,
    height,
    width,
    channels,
    TO_POINTS: tl.constexpr,
    TO_VALUES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i, _, f, visible, item, px, py = _pixels(TRIANGLES, pixels, height, width, BLOCK)
    a, b, c, ax, ay, bx, by, cx, cy, wa, wb, wc, scale = _corners_and_weights(
        POINTS, FACES, f, item * vertices, visible, px, py
    )
    va = (item * values + tl.load(VALUE_FACES + f * 3, mask=visible, other=0)) * channels
    vb = (item * values + tl.load(VALUE_FACES + f * 3 + 1, mask=visible, other=0)) * channels
    vc = (item * values + tl.load(VALUE_FACES + f * 3 + 2, mask=visible, other=0)) * channels
    ga, gb, gc = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for d in range(0, channels):
        g = tl.load(GRAD + i * channels + d, mask=visible, other=0.0)
        ga += g * tl.load(VALUES + va + d, mask=visible, other=0.0)
        gb += g * tl.load(VALUES + vb + d, mask=visible, other=0.0)
        gc += g * tl.load(VALUES + vc + d, mask=visible, other=0.0)
        if TO_VALUES:
            tl.atomic_add(VALUE_GRAD + va + d, wa * g, mask=visible, sem="relaxed")
            tl.atomic_add(VALUE_GRAD + vb + d, wb * g, mask=visible, sem="relaxed")
            tl.atomic_add(VALUE_GRAD + vc + d, wc * g, mask=visible, sem="relaxed")
    if TO_POINTS:
        # w = E / A with E, A bilinear in the corners: dL/dE = g scale, dL/dA = -(g . w) scale
        qa, qb, qc = ga * scale, gb * scale, gc * scale
        q = -(ga * wa + gb * wb + gc * wc) * scale
        to_ax = qb * (cy - py) + qc * (py - by) + q * (cy - by)
        to_ay = qb * (px - cx) + qc * (bx - px) + q * (bx - cx)
        to_bx = qa * (py - cy) + qc * (ay - py) + q * (ay - cy)
        to_by = qa * (cx - px) + qc * (px - ax) + q * (cx - ax)
        to_cx = qa * (by - py) + qb * (py - ay) + q * (by - ay)
        to_cy = qa * (px - bx) + qb * (ax - px) + q * (ax - bx)
        tl.atomic_add(POINT_GRAD + a * 2, to_ax, mask=visible, sem="relaxed")
        tl.atomic_add(POINT_GRAD + a * 2 + 1, to_ay, mask=visible, sem="relaxed")
        tl.atomic_add(POINT_GRAD + b * 2, to_bx, mask=visible, sem="relaxed")
        tl.atomic_add(POINT_GRAD + b * 2 + 1, to_by, mask=visible, sem="relaxed")
        tl.atomic_add(POINT_GRAD + c * 2, to_cx, mask=visible, sem="relaxed")
        tl.atomic_add(POINT_GRAD + c * 2 + 1, to_cy, mask=visible, sem="relaxed")
