"""The loop of ``warp``, compiled: a pixel of a crop mixes the photo's pixels around the place where it lies."""

from collections.abc import Callable
from functools import cache
from typing import no_type_check

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.kernels.threads import compiled

_KEYS = -0.5
"""The parameter of Keys' cubic convolution, as scikit-image has it."""


def resample(
    pixels: UInt8[ndarray, "H W 3"],
    crop_to_pixels: Float[ndarray, "3 3"],
    size: tuple[int, int],
    order: int,
    black: bool,
) -> Float[ndarray, "h w 3"]:
    """Mix pixels in double precision.

    Args:
        pixels: RGB.
        crop_to_pixels: Affine transform of pixel-centre coordinates (x, y).
        size: Height and width of the crop.
        order: 0 nearest, 1 bilinear, 3 cubic convolution.
        black: What lies outside is black; else it is as the outermost pixels are.

    Returns:
        RGB, float32 in [0, 255]; order 3 may overshoot.

    Source: Keys, IEEE Transactions on Acoustics, Speech, and Signal Processing 1981, for order 3.
    """
    out = np.empty((*size, 3), np.float32)
    place = np.ascontiguousarray(crop_to_pixels[:2], np.float64)
    plain = np.require(pixels, requirements=["C", "W"])  # one kind of array, so that it is compiled once
    _kernel()(plain, place, order, black, out)
    return out


@cache
def _kernel() -> Callable[..., None]:
    return compiled(error_model="numpy")(_resample)


@no_type_check  # keeps run-time shape checkers from wrapping what numba compiles
def _resample(
    pixels: UInt8[ndarray, "H W 3"],
    place: Float[ndarray, "2 3"],
    order: int,
    black: bool,
    out: Float[ndarray, "h w 3"],
) -> None:
    limits = (pixels.shape[1], pixels.shape[0])
    taps = order + 1
    first, weights = np.empty(2, np.int64), np.empty((2, taps))
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            for axis in range(2):
                at = place[axis, 0] * column + place[axis, 1] * row + place[axis, 2]
                if order == 0:
                    first[axis], weights[axis, 0] = int(np.floor(at + 0.5)), 1.0
                    continue
                first[axis] = int(np.floor(at)) - (order == 3)
                for tap in range(taps):
                    t = abs(at - first[axis] - tap)
                    if order == 1:
                        weights[axis, tap] = 1 - t
                    elif t <= 1:
                        weights[axis, tap] = ((_KEYS + 2) * t - (_KEYS + 3)) * t * t + 1
                    else:
                        weights[axis, tap] = ((_KEYS * t - 5 * _KEYS) * t + 8 * _KEYS) * t - 4 * _KEYS
            red = green = blue = 0.0
            for j in range(taps):
                y = first[1] + j
                for i in range(taps):
                    x = first[0] + i
                    if black and (x < 0 or y < 0 or x >= limits[0] or y >= limits[1]):
                        continue
                    v, u = min(max(y, 0), limits[1] - 1), min(max(x, 0), limits[0] - 1)
                    weight = weights[1, j] * weights[0, i]
                    red += weight * pixels[v, u, 0]
                    green += weight * pixels[v, u, 1]
                    blue += weight * pixels[v, u, 2]
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = red, green, blue
