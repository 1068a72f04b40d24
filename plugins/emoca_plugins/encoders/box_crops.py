"""Rules that cut a square around the box of a face: EMOCA and DECA, SMIRK, 3DDFA-V2, ExpNet."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.box_crop import BoxCrop, box_of, centre_and_side
from emoca_core.images.warp import cut, resize_to_image, square_to_image, to_uint8, warp
from emoca_core.interfaces import CroppedFace, CropRule, Detection

_TDDFA_BOX_SCALE = 1.58
_TDDFA_BOX_SHIFT = 0.14
_EXPNET_SCALE = 1.5
_EXPNET_JPEG_QUALITY = 95


@dataclass(frozen=True)
class EmocaCrop(BoxCrop):
    """EMOCA's and DECA's crop of still photos.

    Linear interpolation in the demos, ``order=3`` in training.

    Source: EMOCA (gdl/datasets/ImageDatasetHelpers.py), which follows DECA.
    """

    name: str = "emoca"


@dataclass(frozen=True)
class SmirkCrop(CropRule):
    """SMIRK's crop: a square about the box of the MediaPipe points (of the 68 points where there are no others).

    Source: SMIRK (demo.py, ``crop_face``): scale 1.4 in the demo, 1.6 in its test configuration, 1.2-1.8 in training.
    """

    name: str = "smirk"
    size: int = 224
    scale: float = 1.4

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        points = detection.landmarks.get("mediapipe478", detection.landmarks["ibug68"])
        centre, mean_side = centre_and_side(box_of(points))
        to_image = square_to_image(centre, int(mean_side * self.scale), self.size, corners=True)
        # SMIRK truncates to whole levels, it does not round; the small step keeps 254.99999 from becoming 254.
        levels = np.floor(warp(photo, to_image, self.size) + 1e-3).clip(0, 255)
        return CroppedFace(levels.astype(np.uint8), to_image)


@dataclass(frozen=True)
class TddfaCrop(CropRule):
    """3DDFA-V2's crop, from a detector's box or from the 68 points.

    Source: 3DDFA-V2 (utils/functions.py: ``parse_roi_box_from_bbox``, ``parse_roi_box_from_landmark``, ``crop_img``).
    """

    name: str = "3ddfa_v2"
    size: int = 120
    source: Literal["box", "landmarks"] = "box"

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        left, top, right, bottom = (round(float(edge)) for edge in self.region(detection))
        # Resizing a cut, not the photo: beyond the cut its own edge is repeated.
        region = cut(photo, left, top, right, bottom)
        within = resize_to_image(0, 0, region.shape[1], region.shape[0], self.size)
        image = to_uint8(warp(region, within, self.size, border="replicate"))
        return CroppedFace(image, resize_to_image(left, top, right, bottom, self.size))

    def region(self, detection: Detection) -> Float[ndarray, "4"]:
        """Left, top, right, bottom of the square before rounding, photo pixels."""
        if self.source == "landmarks":
            box = box_of(detection.landmarks["ibug68"])
            side = float(np.sqrt(2) * max(box[2:] - box[:2]))
            corner = (box[:2] + box[2:]) / 2 - side / 2
        else:
            centre, mean_side = centre_and_side(detection.box)
            side = float(int(_TDDFA_BOX_SCALE * mean_side))
            corner = centre + np.array([0, _TDDFA_BOX_SHIFT * mean_side]) - side / 2
        return np.concatenate([corner, corner + side])


@dataclass(frozen=True)
class ExpnetCrop(CropRule):
    """ExpNet's crop: 1.5 times the longer side of the detector's box, cubic to 227 pixels, through JPEG.

    Source: Expression-Net (pose_utils.py), which writes its crops as JPEG and reads them again.
    """

    name: str = "expnet"
    size: int = 227
    through_jpeg: bool = True

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        left, top, right, bottom = (int(np.ceil(edge)) for edge in self.region(detection))
        import cv2  # slow to import, and only this rule needs it

        region = cut(photo, left, top, right, bottom)
        image = cv2.resize(region, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        if self.through_jpeg:
            image = _through_jpeg(image)
        return CroppedFace(image, resize_to_image(left, top, right, bottom, self.size))

    def region(self, detection: Detection) -> Float[ndarray, "4"]:
        """Left, top, right, bottom of the square before rounding, photo pixels."""
        centre = (detection.box[:2] + detection.box[2:]) / 2
        half = _EXPNET_SCALE * float(max(detection.box[2:] - detection.box[:2])) / 2
        return np.concatenate([centre - half, centre + half])


def _through_jpeg(image: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_EXPNET_JPEG_QUALITY)
    return np.array(Image.open(buffer))
