"""Segmentations: which pixels of a photo show skin of the face."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from PIL import Image

from emoca_core.datasets.arrays import read_array
from emoca_core.errors import ImageError
from emoca_core.images.crops import warp
from emoca_core.images.photos import read_photo

THRESHOLD = 0.5
"""A value above it is skin, as in the published data sets."""


def read_mask(path: Path, size: tuple[int, int]) -> Bool[ndarray, "H W"]:
    """The segmentation of one photo: a NumPy file of numbers in [0, 1], or a picture whose bright pixels are skin.

    Args:
        path: ``.npy`` [H, W], or any picture.
        size: Height and width of the photo.

    Raises:
        ImageError: Missing, unreadable, or of another size than the photo.
    """
    values = _array(path) if path.suffix == ".npy" else read_photo(path).pixels[..., 0] / 255.0
    if values.shape != size:
        found = " x ".join(map(str, values.shape))
        raise ImageError(f"{path}: the mask is {found}, its photo {size[0]} x {size[1]} (height x width)")
    skin: ndarray = values > THRESHOLD
    return skin


def warp_mask(
    mask: Bool[ndarray, "H W"], crop_to_image: Float[ndarray, "3 3"], size: tuple[int, int]
) -> Bool[ndarray, "h w"]:
    """The mask of a crop: sampled bilinearly through the transform of the image, then thresholded; no skin outside."""
    levels = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=-1)
    skin: ndarray = warp(levels, crop_to_image, size)[..., 0] > THRESHOLD * 255
    return skin


def resize_mask(mask: Bool[ndarray, "H W"], size: int) -> Bool[ndarray, "S S"]:
    """The mask of a photo that is resized whole to a square."""
    levels = Image.fromarray(mask.astype(np.uint8) * 255)
    skin: ndarray = np.asarray(levels.resize((size, size), Image.Resampling.BILINEAR)) > THRESHOLD * 255
    return skin


def _array(path: Path) -> ndarray:
    values = read_array(path, ImageError)
    if values.dtype.kind not in "fiub":
        raise ImageError(f"{path} holds {values.dtype}, not numbers")
    return np.asarray(values.reshape(values.shape[:2]) if values.shape[2:] == (1,) else values)
