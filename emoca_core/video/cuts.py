"""Cuts between the shots of a clip, and frames that are shown twice, found while the frames come in."""

from collections import deque

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.images.window import thinned

_SMALL = (64, 36)
"""Width and height of the pictures that are compared."""
_ENOUGH = 144
"""Pixels of the shorter side of which the small picture is made."""
_LEAST_CHANGE = 0.08
"""Mean difference of two frames, of 1, below which there is no cut."""
_TIMES_AS_MUCH = 3.0
"""How much more than in the frames before has to change at a cut: shaking cameras change much all the time."""
_COMMON = 0.75
"""Share of their colours that two frames of one shot have in common."""
_REMEMBERED = 8
_BINS = (8, 4, 4)
_COPIED = 3
"""Levels of 255 by which a pixel of the small picture of a frame that is shown again may differ: it is compressed anew.
What moves a little changes one of them by more."""
_LEAST_USUAL, _STILL = 0.3, 0.3
"""Levels by which brightness has to change from frame to frame on average, so that one in which it does not is a copy;
and the share of that to which it may. Of a still scene nothing is said."""
_USUAL = 0.75
"""Quantile of the changes just before that is usual: of two frames in three that are copies, it is none."""


class CutFinder:
    """Says of each frame whether it begins another shot: much has changed, elsewhere than just before, and the colours.

    Dissolves and fades are not found; a flash that changes all colours is. Clips that were brought to a higher frame
    rate show frames twice.

    Attributes:
        repeats: Whether the last frame shows the same as the one before.

    Source: the differences of frames in hue, saturation and brightness, compared with those around, are the adaptive
    detector's of PySceneDetect (Castellano); this one looks back only, so that it can follow a camera.

    Example:
        >>> black, white = np.zeros((9, 16, 3), np.uint8), np.full((9, 16, 3), 255, np.uint8)
        >>> finder = CutFinder()
        >>> [finder.is_cut(frame) for frame in (black, black, white, white)]
        [False, False, True, False]
    """

    def __init__(self) -> None:
        self._last: ndarray | None = None
        self._colors: ndarray | None = None
        self._changes: deque[float] = deque(maxlen=_REMEMBERED)
        self._brightness: deque[float] = deque(maxlen=_REMEMBERED)
        self.repeats = False

    def is_cut(self, pixels: UInt8[ndarray, "H W 3"]) -> bool:
        """Whether a cut lies between the frame before and this one.

        Args:
            pixels: The next frame, RGB. Frames may differ in size.
        """
        import cv2

        step = max(1, min(pixels.shape[:2]) // _ENOUGH)
        small = cv2.resize(thinned(pixels, step), _SMALL, interpolation=cv2.INTER_AREA)
        frame = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        colors = cv2.calcHist([frame], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256]) / frame[..., 0].size
        last, before = self._last, self._colors
        self._last, self._colors = frame, colors
        if last is None or before is None:
            return False
        self.repeats = self._is_copy(frame, last)
        change = float(cv2.absdiff(frame, last).mean()) / 255
        usual = float(np.median(self._changes)) if self._changes else 0.0
        common = float(np.minimum(colors, before).sum())
        cut = change > max(_LEAST_CHANGE, _TIMES_AS_MUCH * usual) and common < _COMMON
        if cut:
            self._changes.clear()
            self._brightness.clear()
        else:
            self._changes.append(change)
        return cut

    def _is_copy(self, frame: UInt8[ndarray, "h w 3"], last: UInt8[ndarray, "h w 3"]) -> bool:
        """Whether brightness changes nowhere, where it usually does."""
        changes = np.abs(np.subtract(frame[..., 2], last[..., 2], dtype=np.float32))
        change = float(changes.mean())
        usual = float(np.quantile(self._brightness, _USUAL)) if self._brightness else 0.0
        self._brightness.append(change)
        return usual >= _LEAST_USUAL and change <= _STILL * usual and float(changes.max()) <= _COPIED
