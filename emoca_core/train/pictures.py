"""What a validation shows: a row for each face, a column for each stage of its capture."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from emoca_core.interfaces import Capture, Rendering
from emoca_core.method import Method
from emoca_core.rendering.face import composite
from emoca_core.rendering.shape import render_shape

SIDE = 160
"""Side of one picture, pixels; larger ones are shrunk, smaller ones are not enlarged."""
GAP = 4
"""White space between pictures, pixels."""


def capture_grid(method: Method, capture: Capture) -> UInt8[Tensor, "H W 3"]:
    """Photo, coarse face over the photo, detailed face over it, mesh, albedo, and the photo outside the mask darkened.

    Columns of what the capture lacks are left out.
    """
    columns = [_tile(image) for image in _columns(method, capture)]
    rows = torch.cat(columns, dim=3)
    grid = F.pad(torch.cat(list(rows), dim=1), (0, GAP, 0, GAP), value=1.0)
    return (grid.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().contiguous()


def _columns(method: Method, capture: Capture) -> Iterator[Float[Tensor, "B 3 H W"]]:
    photo = capture.crop.image
    yield photo
    if (coarse := capture.rendering) is not None:
        yield _over(coarse, photo)
    if capture.detail_rendering is not None:
        yield _over(capture.detail_rendering, photo)
    if capture.geometry is not None and capture.parameters.camera is not None:
        camera = capture.parameters.camera
        yield render_shape(
            method.renderer, method.face_model, capture.geometry, camera, capture.crop.size, torch.ones_like(photo)
        )
    if coarse is not None and coarse.albedo_image is not None:
        yield composite(coarse.albedo_image, coarse.mask, torch.ones_like(photo))
    if capture.mask is not None:
        yield photo * (0.25 + 0.75 * capture.mask)


def _over(rendering: Rendering, photo: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    return composite(rendering.image, rendering.mask, photo)


def _tile(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
    """At most ``SIDE`` pixels, with the gap above and to the left."""
    if max(image.shape[-2:]) > SIDE:
        scale = SIDE / max(image.shape[-2:])
        image = F.interpolate(image, scale_factor=scale, mode="bilinear", antialias=True)
    return F.pad(image.clamp(0, 1), (GAP, 0, GAP, 0), value=1.0)
