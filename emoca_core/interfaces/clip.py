"""A clip: frames with their times, and what lies beside them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray


@dataclass(frozen=True)
class ClipFrame:
    """One decoded frame.

    Attributes:
        number: Of the frame in the clip, counted from 0; frames that cannot be decoded have numbers as well.
        time: Seconds since the clip's first frame; grows from frame to frame.
        pixels: RGB, upright.
    """

    number: int
    time: float
    pixels: UInt8[ndarray, "H W 3"]


@dataclass(frozen=True)
class Clip(ABC):
    """A video, an animated picture or a folder of numbered frames, or the part of it that was asked for.

    Attributes:
        path: The file or folder.
        sha256: Of the file, or of the names and contents of a folder's frames.
        size: Height and width of the upright frames, pixels.
        frame_rate: Frames a second on average, of those that are read.
        length: Frames to expect; ``None`` where the container does not tell.
        has_sound: Whether the file has a sound track.
        notes: What was done to it on the way, for the record.
    """

    path: Path
    sha256: str
    size: tuple[int, int]
    frame_rate: float
    length: int | None
    has_sound: bool
    notes: tuple[str, ...] = ()

    @property
    def sound_file(self) -> Path:
        """The file whose sound track it is, where ``has_sound``."""
        return self.path

    @abstractmethod
    def frames(self, first: int = 0) -> Iterator[ClipFrame]:
        """The frames in order, decoded one after the other; every call begins anew.

        Args:
            first: Leave out frames with a smaller number.

        Raises:
            ImageError: The file is gone, or not a single frame can be decoded.
        """

    def at(self, numbers: Sequence[int]) -> Iterator[ClipFrame]:
        """Some frames, as few as possible of the others being decoded.

        Args:
            numbers: They grow; those that cannot be decoded are left out.
        """
        wanted = set(numbers)
        for frame in self.frames(min(wanted, default=0)):
            if frame.number in wanted:
                yield frame
            if frame.number >= numbers[-1]:
                return
