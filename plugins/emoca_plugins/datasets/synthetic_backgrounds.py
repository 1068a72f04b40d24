"""What stands behind synthetic faces: colour fields, noise and blurred shapes, or photos of the user's."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from emoca_core.images.photo_search import find_photos
from emoca_core.images.photos import read_photo
from emoca_plugins.datasets.synthetic_draws import Draws
from emoca_plugins.datasets.synthetic_scene import backgrounds, enlargement
from emoca_plugins.datasets.synthetic_shapes import coverage, gaussian_blur, rounded_boxes

OCTAVES = (3, 5, 9, 17)
"""Samples along a side of the layers of noise."""
SHAPES = 8
KEPT_SIDE = 320
"""Shorter side to which photos are shrunk when they are read, pixels."""


def drawn_backgrounds(draws: Draws, size: int) -> Float[Tensor, "B 3 S S"]:
    """A smooth field with noise of some coarseness and blurred shapes on it, out of focus by a random amount."""
    picture = backgrounds(draws.uniform(0.0, 1.0, 100), size)
    strength = 0.5 * draws.uniform(0, 1, len(OCTAVES)) * draws.chance(0.7)[:, None]
    for octave, count in enumerate(OCTAVES):
        lines = enlargement(count, size, "bilinear")
        grey = draws.uniform(-1.0, 1.0, count, count)[:, None]
        picture = picture + strength[:, octave, None, None, None] * (lines @ grey @ lines.mT)
    busy = draws.chance(0.7)
    middle, half = draws.uniform(-1.2, 1.2, SHAPES, 2), draws.uniform(0.05, 1.0, SHAPES, 2) ** 1.5
    angle, roundness = draws.uniform(-1.6, 1.6, SHAPES), draws.uniform(0.0, 1.0, SHAPES)
    covered = coverage(rounded_boxes(middle, half, angle, roundness, size))
    covered = covered * (busy[:, None] & (draws.uniform(0.0, 1.0, SHAPES) < 0.8))[..., None, None]
    colours = draws.uniform(0.0, 1.0, SHAPES, 3) * draws.uniform(0.3, 1.0, SHAPES, 1)
    for shape in range(SHAPES):
        picture = picture.lerp(colours[:, shape, :, None, None], covered[:, shape, None])
    picture = picture.mean(1, keepdim=True).lerp(picture, draws.uniform(0.0, 1.0, 1, 1, 1))
    return gaussian_blur(picture, 0.05 * size * draws.uniform() ** 2).clamp(0, 1)


class PhotoBackgrounds:
    """Random squares of the photos in a folder."""

    def __init__(self, folder: Path) -> None:
        """List the photos.

        Raises:
            ImageError: The folder does not exist or holds none.
        """
        self.photos = find_photos(folder)
        self._read = lru_cache(maxsize=512)(_small)

    def __call__(self, draws: Draws, size: int) -> Float[Tensor, "B 3 S S"]:
        """Squares of a third to all of a photo's shorter side.

        Raises:
            ImageError: A photo cannot be read.
        """
        chosen = draws.choice(len(self.photos)).tolist()
        places = draws.uniform(0.0, 1.0, 4).tolist()
        squares = [self._square(photo, place, size) for photo, place in zip(chosen, places, strict=True)]
        return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 255

    def _square(self, photo: int, place: Sequence[float], size: int) -> UInt8[ndarray, "S S 3"]:
        left, top, share, side = place
        pixels = self._read(self.photos[photo])
        height, width = pixels.shape[:2]
        edge = max(1, round(min(height, width) * (1 + 2 * share) / 3))
        x, y = int(left * (width - edge + 1)), int(top * (height - edge + 1))
        square = Image.fromarray(pixels[y : y + edge, x : x + edge]).resize((size, size), Image.Resampling.BILINEAR)
        return np.array(square)[:, :: 1 if side < 0.5 else -1]


def _small(path: Path) -> UInt8[ndarray, "H W 3"]:
    pixels = read_photo(path).pixels
    scale = min(1.0, KEPT_SIDE / min(pixels.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
