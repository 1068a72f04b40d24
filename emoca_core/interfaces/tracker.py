"""Detections of successive frames to tracks."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.interfaces.component import Component
from emoca_core.interfaces.landmarker import Detection


@dataclass(frozen=True)
class Frame:
    """One frame of a video with the faces that were found in it.

    Attributes:
        time: Seconds since the first frame; grows from frame to frame.
        detections: Its faces, in any order.
        photo: The RGB picture, for trackers that compare appearances.
        starts_shot: Whether it is the first one after a cut: places in the frames before say nothing of it.
    """

    time: float
    detections: Sequence[Detection]
    photo: UInt8[ndarray, "H W 3"] | None = None
    starts_shot: bool = False


class Tracker(Component):
    """Says which detections of successive frames are the same face."""

    @abstractmethod
    def track(self, frames: Iterable[Frame]) -> Iterator[tuple[int, ...]]:
        """Number of the track of every detection, frame by frame.

        Numbers start at 0, are given in the order in which faces appear, and are never given to another face again. No
        two detections of a frame have the same one. The answer for a frame is given before the next frame is asked
        for, so that a live video can be followed; a video that is tracked again gives the same answers.
        """
