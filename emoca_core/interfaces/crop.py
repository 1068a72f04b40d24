"""How a method cuts a face out of a photo."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.interfaces.landmarker import Detection


@dataclass(frozen=True)
class CroppedFace:
    """One face cut from one photo.

    Attributes:
        image: RGB.
        crop_to_image: Homogeneous transform of pixel-centre coordinates, crop to photo.
    """

    image: UInt8[ndarray, "H W 3"]
    crop_to_image: Float[ndarray, "3 3"]

    @property
    def image_to_crop(self) -> Float[ndarray, "3 3"]:
        """The inverse transform."""
        return np.linalg.inv(self.crop_to_image)


class CropRule(ABC):
    """A published way of aligning faces. Frozen dataclasses in ``emoca_core.images.crops`` and in plugins.

    Attributes:
        name: Recorded with every result.
        size: Side of the square crop, pixels.
    """

    name: str
    size: int

    @abstractmethod
    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        """Cut one detected face out of a photo."""

    def place(self, detection: Detection, photo_size: tuple[int, int]) -> Float[ndarray, "3 3"]:
        """The ``crop_to_image`` alone, without a photo of this height and width. Rules may have a faster way."""
        return self(np.broadcast_to(np.uint8(0), (*photo_size, 3)), detection).crop_to_image
