"""Whether there is a whole human face where landmarks were found: what another detector and the colours say of it."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.warp import square_to_image, transform_points
from emoca_core.interfaces import Detection
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS
from emoca_plugins.landmarkers.face_search import Pyramid

if TYPE_CHECKING:
    import cv2

_CASCADE = "haarcascade_frontalface_default.xml"
_SIZE, _MARGIN = 160, 1.8
"""Side of the upright crop, pixels, and its width in units of the face."""
_STEP, _NEIGHBOURS, _SMALLEST = 1.05, 2, 56
"""Of the cascade's search: growth of its window, windows that must agree, and its least side."""
_NEAR = (24.0, 28.0)
"""How far across and down a window's middle may lie from that of the crop."""
_NOTHING = -2.0
"""The cascade's confidence where it finds no face; where it finds one, mostly 3 to 12."""
_MOVEMENT_COST, _MOST_MOVEMENT = 100.0, 0.1
_BREAK_COST, _MOST_BREAK = 0.4, 12.5
"""What counts against the cascade's confidence, and up to where: coloured light breaks colours, too."""
_EDGE = -0.5
"""What has to be left; see docs/landmark-fit.md."""
_BLUR, _LIGHTNESS = 2.0, 0.2
"""Colours are compared in CIELAB, averaged over so many pixels (standard deviation), with so much of the lightness."""
_UPPER = ((151, 108, 337, 69, 299), (6, 197, 195))
_LOWER = ((4, 5, 1), (187, 207, 214, 192), (411, 427, 434, 416), (164, 167, 393), (200, 199, 175, 208, 428))
"""Patches of skin among MediaPipe's points: forehead, bridge; tip of the nose, cheeks, upper lip, chin."""


class SecondOpinion:
    """The confidence of OpenCV's frontal face cascade, less signs of another thing or of a cover.

    One object serves several threads.

    Source: Viola and Jones, CVPR 2001; Lienhart and Maydt, ICIP 2002 (the trained cascade, part of OpenCV).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cascade: cv2.CascadeClassifier | None = None

    def __call__(self, photo: Pyramid, face: Detection) -> float | None:
        """How far the evidence for a whole human face is above its limit; ``None`` where OpenCV has no cascades.

        Args:
            photo: Where it is.
            face: With its ``movement``.
        """
        import cv2  # slow

        if not (hasattr(cv2, "CascadeClassifier") and hasattr(cv2, "data")):  # without contributed modules, or files
            return None
        right, left = face.landmarks["ibug68"][list(IBUG68_OUTER_EYE_CORNERS)]
        roll = float(np.arctan2(*(left - right)[::-1]))
        side = float(np.mean(face.box[2:] - face.box[:2]))
        to_photo = square_to_image((face.box[:2] + face.box[2:]) / 2, _MARGIN * side, _SIZE, roll)
        crop = photo.cut(to_photo, _SIZE)
        points = transform_points(np.linalg.inv(to_photo), face.landmarks["mediapipe478"])
        moved = min(face.movement or 0.0, _MOST_MOVEMENT)
        against = _MOVEMENT_COST * moved + _BREAK_COST * min(_colour_break(crop, points, cv2), _MOST_BREAK)
        return self._confidence(crop, cv2) - against - _EDGE

    def _confidence(self, crop: UInt8[ndarray, "S S 3"], opencv: Any) -> float:
        grey = opencv.equalizeHist(opencv.cvtColor(crop, opencv.COLOR_RGB2GRAY))
        with self._lock:
            self._cascade = self._cascade or opencv.CascadeClassifier(str(Path(opencv.data.haarcascades) / _CASCADE))
            boxes, _, levels = self._cascade.detectMultiScale3(
                grey, _STEP, _NEIGHBOURS, minSize=(_SMALLEST, _SMALLEST), outputRejectLevels=True
            )
        found = np.reshape(boxes, (-1, 4))
        near = np.abs(found[:, :2] + found[:, 2:] / 2 - _SIZE / 2) < _NEAR
        return float(max(np.ravel(levels)[near.all(axis=1)], default=_NOTHING))


def _colour_break(crop: UInt8[ndarray, "S S 3"], points: Float[ndarray, "478 2"], opencv: Any) -> float:
    """How much the colour of the skin below the eyes, but for one patch, differs from that above them.

    Lips, beards and shadows colour single patches or darken them; masks, hands and muzzles colour all.
    """
    smooth = opencv.GaussianBlur(crop, (0, 0), _BLUR).astype(np.float32) / 255
    lab = opencv.cvtColor(smooth, opencv.COLOR_RGB2LAB) * np.array([_LIGHTNESS, 1.0, 1.0])
    column, row = points.round().astype(int).clip(0, len(crop) - 1).T
    colours = lab[row, column]
    upper, lower = (np.array([np.median(colours[list(patch)], axis=0) for patch in half]) for half in (_UPPER, _LOWER))
    return float(np.sort(np.linalg.norm(lower - upper.mean(axis=0), axis=1))[1])
