"""Cutting windows out of many frames: quicker and less exact than ``emoca_core.images.warp``."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.warp import Border, transform_points

_LONGEST = 2**15 - 2
"""Pixels of a side that OpenCV warps."""


def cut_window(
    photo: UInt8[ndarray, "H W 3"], to_photo: Float[ndarray, "3 3"], size: int, border: Border = "constant"
) -> UInt8[ndarray, "S S 3"]:
    """A square window, averaged where the photo is finer.

    Args:
        photo: RGB.
        to_photo: Similarity of pixel-centre coordinates, window to photo.
        size: Side of the window, pixels.
        border: What lies outside the photo; black where the whole window does.
    """
    import cv2

    factor = max(1, int(np.sqrt(np.linalg.det(to_photo[:2, :2])) + 1e-6))
    around = transform_points(to_photo, np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5)
    low = np.clip(np.floor(around.min(0)) - factor, 0, photo.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(around.max(0)) + 1 + factor, 0, photo.shape[1::-1]).astype(int)
    part = photo[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    if factor > 1:
        smaller = [max(1, length // factor) for length in part.shape[1::-1]]
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA)
    shrunk = np.array(part.shape[1::-1]) / (high - low)
    to_part = np.eye(3)
    to_part[:2, :2], to_part[:2, 2] = np.diag(shrunk), (0.5 - low) * shrunk - 0.5
    beyond = cv2.BORDER_CONSTANT if border == "constant" else cv2.BORDER_REPLICATE
    sampling = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    window: ndarray = cv2.warpAffine(part, (to_part @ to_photo)[:2], (size, size), flags=sampling, borderMode=beyond)
    return window


def thinned(photo: UInt8[ndarray, "H W 3"], step: int) -> UInt8[ndarray, "h w 3"]:
    """One row and column of so many, ``photo[::step, ::step]``: OpenCV takes a fraction of NumPy's time for it.

    Example:
        >>> thinned(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 3)[..., 0].tolist()
        [[0, 9], [36, 45]]
    """
    import cv2

    height, width = (-(-length // step) for length in photo.shape[:2])
    if max(photo.shape[:2]) > _LONGEST:
        return np.ascontiguousarray(photo[::step, ::step])
    grid = np.array([[step, 0, 0], [0, step, 0]], np.float64)  # whole pixels, so that nothing is rounded
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    some: ndarray = cv2.warpAffine(photo, grid, (width, height), flags=how)
    return some
