"""How EmoNet's test set was cut."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.images.box_crop import box_of, centre_and_side
from emoca_core.images.warp import to_uint8, warp
from emoca_core.interfaces import CroppedFace, CropRule, Detection

_EMONET_SIDE = 200 / 220


@dataclass(frozen=True)
class EmonetCrop(CropRule):
    """EmoNet's crop of its test set: 200/220 of the sum of the sides of the 68 points' box, its middle on pixel 128.

    Source: EmoNet (emonet/data/affecnet.py and data_augmentation.py; the repository's demos crop otherwise).
    """

    name: str = "emonet"
    size: int = 256

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        centre, mean_side = centre_and_side(box_of(detection.landmarks["ibug68"]))
        step = 2 * mean_side * _EMONET_SIDE / self.size
        to_image = np.diag([step, step, 1.0])
        to_image[:2, 2] = centre - step * self.size / 2
        return CroppedFace(to_uint8(warp(photo, to_image, self.size)), to_image)
