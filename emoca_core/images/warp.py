"""Resampling a photo into a crop through a 3x3 transform of pixel centres."""

from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.resampling import resample

Border = Literal["constant", "replicate"]
"""What lies outside the photo: black, or its outermost pixels."""

Order = Literal[0, 1, 3]
"""0 nearest, 1 bilinear, 3 cubic convolution."""

_MARGIN = 3
"""Photo pixels around the crop that can influence it."""


def warp(
    photo: UInt8[ndarray, "H W 3"],
    crop_to_image: Float[ndarray, "3 3"],
    size: int | tuple[int, int],
    order: Order = 1,
    border: Border = "constant",
    antialias: bool = False,
) -> Float[ndarray, "h w 3"]:
    """Resample a photo into a crop.

    Args:
        photo: RGB.
        crop_to_image: Affine transform of pixel-centre coordinates (x, y), crop to photo.
        size: Side, or height and width, of the crop.
        order: 0 nearest, 1 bilinear (as OpenCV, scikit-image), 3 cubic convolution (as scikit-image's order 3).
        border: What lies outside the photo.
        antialias: Average photo pixels first where the crop is at least twice as coarse as the photo. The published
            methods do not; leave it off to reproduce them.

    Returns:
        RGB, float32 in [0, 255], not rounded. Order 3 may overshoot by a few levels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    factor = _reduction(crop_to_image) if antialias else 1
    pixels, to_pixels = _region(photo, crop_to_image, (height, width), (_MARGIN + 1) * factor)
    if factor > 1:
        pixels, to_pixels = _reduce(pixels, to_pixels, factor)
    return resample(pixels, to_pixels, (height, width), order, border == "constant")


def to_uint8(image: Float[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
    """Round to the nearest of 256 levels."""
    return np.rint(image).clip(0, 255).astype(np.uint8)


def transform_points(transform: Float[ndarray, "3 3"], points: Float[ndarray, "*n 2"]) -> Float[ndarray, "*n 2"]:
    """Apply an affine transform to points (x, y).

    Example:
        >>> twice = np.diag([2.0, 2.0, 1.0])
        >>> transform_points(twice, np.array([[1.0, 3.0]])).tolist()
        [[2.0, 6.0]]
    """
    return points @ transform[:2, :2].T + transform[:2, 2]


def rotation(radians: float) -> Float[ndarray, "2 2"]:
    """In-plane rotation of image points; positive turns x towards y, clockwise as seen."""
    cos, sin = np.cos(radians), np.sin(radians)
    return np.array([[cos, -sin], [sin, cos]])


def square_to_image(
    centre: Float[ndarray, "2"], side: int | float, size: int, roll: float = 0.0, corners: bool = False
) -> Float[ndarray, "3 3"]:
    """The ``crop_to_image`` of a square of the photo.

    Args:
        centre: x, y in photo pixels (pixel-centre coordinates).
        side: Of the square, photo pixels.
        size: Of the crop, pixels.
        roll: Turn of the square about its centre, radians, clockwise as seen.
        corners: The square's corners fall on the centres of the crop's corner pixels, as in DECA's family of rules,
            instead of on their outer corners.
    """
    step = side / (size - 1 if corners else size)
    linear = rotation(roll) * step
    transform = np.eye(3)
    transform[:2, :2] = linear
    transform[:2, 2] = np.asarray(centre, float) - linear @ np.full(2, (size - 1) / 2)
    return transform


def cut(photo: UInt8[ndarray, "H W 3"], left: int, top: int, right: int, bottom: int) -> UInt8[ndarray, "h w 3"]:
    """Whole pixels left ... right - 1, top ... bottom - 1 of a photo; black where there is no photo."""
    out = np.zeros((bottom - top, right - left, 3), np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, photo.shape[1]), min(bottom, photo.shape[0])
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = photo[y0:y1, x0:x1]
    return out


def resize_to_image(left: int, top: int, right: int, bottom: int, size: int) -> Float[ndarray, "3 3"]:
    """The ``crop_to_image`` of a cut that was resized to a square, outer edges upon outer edges (as OpenCV does)."""
    step = np.array([right - left, bottom - top]) / size
    transform = np.diag([*step, 1.0])
    transform[:2, 2] = (left, top) + (step - 1) / 2
    return transform


def _region(
    photo: UInt8[ndarray, "H W 3"], crop_to_image: Float[ndarray, "3 3"], size: tuple[int, int], margin: int
) -> tuple[UInt8[ndarray, "h w 3"], Float[ndarray, "3 3"]]:
    """The part of the photo under the crop, so that huge photos cost no more than small ones."""
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    inside = transform_points(crop_to_image, corners)
    limit = np.array(photo.shape[1::-1])
    low = np.clip(np.floor(inside.min(0)).astype(int) - margin, 0, limit - 1)
    high = np.clip(np.ceil(inside.max(0)).astype(int) + margin + 1, 1, limit)
    shift = np.eye(3)
    shift[:2, 2] = -low
    return photo[low[1] : high[1], low[0] : high[0]], shift @ crop_to_image


def _reduction(crop_to_image: Float[ndarray, "3 3"]) -> int:
    """How many photo pixels, each way, one crop pixel covers at least."""
    steps = np.linalg.svd(crop_to_image[:2, :2], compute_uv=False)
    return max(1, int(steps.min() + 1e-6))


def _reduce(
    pixels: UInt8[ndarray, "H W 3"], crop_to_pixels: Float[ndarray, "3 3"], factor: int
) -> tuple[UInt8[ndarray, "h w 3"], Float[ndarray, "3 3"]]:
    from PIL import Image

    reduced = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor))
    # Reduced pixel j averages pixels k j ... k j + k - 1, whose middle is k j + (k - 1) / 2.
    to_reduced = np.diag([1 / factor, 1 / factor, 1.0])
    to_reduced[:2, 2] = (1 - factor) / (2 * factor)
    return reduced, to_reduced @ crop_to_pixels
