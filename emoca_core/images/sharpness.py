"""How sharp a face is, to choose among frames of one clip."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

_SIDE = 96
"""Faces are compared at this size, pixels: a large blurred one is not sharper than a small one in focus."""


def sharpness(photo: UInt8[ndarray, "H W 3"], box: Float[ndarray, "4"]) -> float:
    """Standard deviation of the Laplacian of the brightness in a box (x0, y0, x1, y1; pixels); 0 outside the photo."""
    import cv2

    height, width = photo.shape[:2]
    left, top = np.clip(np.floor(box[:2]).astype(int), 0, (width, height))
    right, bottom = np.clip(np.ceil(box[2:]).astype(int) + 1, 0, (width, height))
    if right - left < 2 or bottom - top < 2:
        return 0.0
    face = cv2.cvtColor(photo[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(cv2.resize(face, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), cv2.CV_32F).std())
