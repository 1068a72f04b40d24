"""The framework's own crop: a square about the box of a face. Other rules come from plugins."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.warp import square_to_image, to_uint8, warp
from emoca_core.interfaces import CroppedFace, CropRule, Detection

LANDMARK_MARGIN = 1.1
"""How much larger than the box of its 68 points a face is."""
BOX_SHIFT = 0.12
"""How far below the middle of a detector's box the middle of the face is, in mean sides of the box."""


@dataclass(frozen=True)
class BoxCrop(CropRule):
    """A square about the middle of the face's box, its corners on the centres of the corner pixels.

    With ``"kpt68"`` the box is that of the 68 points and the side ``LANDMARK_MARGIN`` times its mean side, times
    ``scale``; with ``"bbox"`` the box is the detector's, the square moved down by ``BOX_SHIFT`` of its mean side.
    """

    name: str = "box"
    size: int = 224
    scale: float = 1.25
    box: Literal["kpt68", "bbox"] = "kpt68"
    order: Literal[1, 3] = 1
    """Interpolation: 1 linear, 3 cubic spline."""

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        """Cut one detected face out of a photo."""
        to_image = self.place(detection, photo.shape[:2])
        return CroppedFace(to_uint8(warp(photo, to_image, self.size, self.order)), to_image)

    def place(self, detection: Detection, photo_size: tuple[int, int]) -> Float[ndarray, "3 3"]:
        """Where the square lies."""
        centre, side = self.square(detection)
        return square_to_image(centre, side, self.size, corners=True)

    def square(self, detection: Detection) -> tuple[Float[ndarray, "2"], int]:
        """Centre and side of the square, photo pixels."""
        if self.box == "kpt68":
            centre, mean_side = centre_and_side(box_of(detection.landmarks["ibug68"]))
            return centre, int(mean_side * LANDMARK_MARGIN * self.scale)
        centre, mean_side = centre_and_side(detection.box)
        return centre + np.array([0, BOX_SHIFT * mean_side]), int(mean_side * self.scale)


def box_of(points: Float[ndarray, "L 2"]) -> Float[ndarray, "4"]:
    """The tight box x0, y0, x1, y1 of points."""
    return np.concatenate([points.min(0), points.max(0)]).astype(np.float64)


def centre_and_side(box: Float[ndarray, "4"]) -> tuple[Float[ndarray, "2"], float]:
    """Middle of a box, and the mean of its width and height."""
    return (box[:2] + box[2:]) / 2, float(np.mean(box[2:] - box[:2]))
