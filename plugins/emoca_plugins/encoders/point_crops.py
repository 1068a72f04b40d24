"""Rules that align points of a face with a template: MGCNet, Deep3DFace, and the upright crop of the open recipe."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.box_crop import box_of
from emoca_core.images.similarity import scaled_orthographic, similarity
from emoca_core.images.warp import rotation, square_to_image, to_uint8, transform_points, warp
from emoca_core.interfaces import CroppedFace, CropRule, Detection
from emoca_core.vocabulary.landmark_sets import IBUG68

_MGCNET_TEMPLATE = np.array(
    [
        [81.672401, 88.470589],
        [141.862671, 88.462921],
        [112.0, 132.863434],
        [87.397392, 153.562943],
        [136.007263, 153.552078],
    ]
)
_MGCNET_POINTS = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (33,), (48,), (54,))

_DEEP3DFACE_TEMPLATE = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
_DEEP3DFACE_POINTS = ((36, 39), (42, 45), (30,), (48,), (54,))
_DEEP3DFACE_SCALE = 102.0


@dataclass(frozen=True)
class MgcnetCrop(CropRule):
    """MGCNet's alignment: the similarity that brings eyes, nose and mouth corners onto a template.

    Source: MGCNet (tools/preprocess; template and points from its detect_landmark.py).
    """

    name: str = "mgcnet"
    size: int = 224

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        points = five_points(detection.landmarks["ibug68"], _MGCNET_POINTS)
        # Fitted from the photo to the template: the reverse fit would not be its inverse.
        to_image = np.linalg.inv(similarity(points, _MGCNET_TEMPLATE * self.size / 224))
        return CroppedFace(to_uint8(warp(photo, to_image, self.size, border="replicate")), to_image)


@dataclass(frozen=True)
class Deep3DFaceCrop(CropRule):
    """Deep3DFace's alignment: a template of five 3D points sets scale and place; no rotation.

    The photo is resized by Pillow's bicubic filter, which averages when it shrinks, and cut at whole pixels.

    Source: Deep3DFaceRecon_pytorch (util/preprocess.py: ``align_img``, ``POS``, ``resize_n_crop_img``).
    """

    name: str = "deep3dface"
    size: int = 224

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        return self.from_points(photo, five_points(detection.landmarks["ibug68"], _DEEP3DFACE_POINTS))

    def from_points(self, photo: UInt8[ndarray, "H W 3"], points: Float[ndarray, "5 2"]) -> CroppedFace:
        """Cut a face by its five points: right eye, left eye, nose tip, right and left corner of the mouth (pixels)."""
        height, width = photo.shape[:2]
        upward = points * (1, -1) + (0, height - 1)
        scale, place = scaled_orthographic(_DEEP3DFACE_TEMPLATE, upward)
        resize = _DEEP3DFACE_SCALE * self.size / 224 / scale
        new_width, new_height = int(width * resize), int(height * resize)
        # int() truncates towards zero, as the published code does
        left = int(new_width / 2 - self.size / 2 + (place[0] - width / 2) * resize)
        top = int(new_height / 2 - self.size / 2 + (height / 2 - place[1]) * resize)
        step = np.array([width / new_width, height / new_height])
        to_image = np.diag([*step, 1.0])
        to_image[:2, 2] = (np.array([left, top]) + 0.5) * step - 0.5
        return CroppedFace(_cut_of_resized(photo, (new_width, new_height), left, top, self.size), to_image)


@dataclass(frozen=True)
class UprightCrop(CropRule):
    """A square about the face, turned so that the face is upright, and averaged where the photo is finer.

    Up is the mean of two directions: along the eyes, and from the mouth to the eyes, which still holds for profiles.

    Attributes:
        scale: Side of the square in units of the mean side of the landmarks' box in the upright frame.
    """

    name: str = "upright"
    size: int = 224
    scale: float = 1.5

    def __call__(self, photo: UInt8[ndarray, "H W 3"], detection: Detection) -> CroppedFace:
        to_image = self.place(detection, photo.shape[:2])
        return CroppedFace(to_uint8(warp(photo, to_image, self.size, antialias=True)), to_image)

    def place(self, detection: Detection, photo_size: tuple[int, int]) -> Float[ndarray, "3 3"]:
        points = detection.landmarks.get("mediapipe478", detection.landmarks["ibug68"])
        roll = roll_of(detection.landmarks["ibug68"])
        turned = np.eye(3)
        turned[:2, :2] = rotation(roll)
        box = box_of(transform_points(turned.T, points))  # in the upright frame
        centre = transform_points(turned, (box[:2] + box[2:]) / 2)
        return square_to_image(centre, self.scale * float(np.mean(box[2:] - box[:2])), self.size, roll)


def roll_of(points: Float[ndarray, "68 2"]) -> float:
    """How far a face is turned in the picture, radians, clockwise as seen; 0 is upright."""
    right_eye, left_eye = points[IBUG68["right_eye"]].mean(0), points[IBUG68["left_eye"]].mean(0)
    mouth = points[[48, 54]].mean(0)
    down = mouth - (right_eye + left_eye) / 2
    across = left_eye - right_eye + np.array([down[1], -down[0]])
    return float(np.arctan2(across[1], across[0]))


def five_points(points: Float[ndarray, "68 2"], groups: tuple[tuple[int, ...], ...]) -> Float[ndarray, "5 2"]:
    """Means of groups of the 68 points: right eye, left eye, nose, right and left corner of the mouth."""
    return np.stack([points[list(group)].mean(0) for group in groups]).astype(np.float64)


def _cut_of_resized(
    photo: UInt8[ndarray, "H W 3"], resized: tuple[int, int], left: int, top: int, size: int
) -> UInt8[ndarray, "S S 3"]:
    """A square of the resized photo without resizing all of it: a small face in a large photo is enlarged a lot."""
    from PIL import Image

    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size, resized[0]), min(top + size, resized[1])
    out = np.zeros((size, size, 3), np.uint8)
    if x0 < x1 and y0 < y1:
        step_x, step_y = photo.shape[1] / resized[0], photo.shape[0] / resized[1]
        box = (x0 * step_x, y0 * step_y, min(x1 * step_x, photo.shape[1]), min(y1 * step_y, photo.shape[0]))
        part = Image.fromarray(photo).resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box=box)
        out[y0 - top : y1 - top, x0 - left : x1 - left] = np.asarray(part)
    return out
