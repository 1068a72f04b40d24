"""What all clips share: a table of the times of their frames, and the part of it that was asked for."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from emoca_core.errors import ImageError, ParamsError
from emoca_core.interfaces import Clip, ClipFrame

USUAL_RATE = 25.0
"""Frames a second where nothing tells."""
_FAR = 250
"""Frames from which on a jump decodes less than going on: about what lies between two frames that can be jumped to."""


@dataclass(frozen=True)
class Part:
    """The frames of a clip that are wanted.

    Attributes:
        start: First moment, seconds since the clip's first frame.
        end: Moment before which it ends; ``None`` for the clip's end.
        every: Take one frame of so many.

    Raises:
        ParamsError: Numbers that no clip has.
    """

    start: float = 0.0
    end: float | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.start < float("inf"):
            raise ParamsError(f"start must be 0 seconds or later, got {self.start}")
        if self.end is not None and not self.start < self.end:
            raise ParamsError(f"end must be later than start ({self.start:g} s), got {self.end}")
        if self.every < 1:
            raise ParamsError(f"every must be 1 or more frames, got {self.every}")

    def numbers(self, path: Path, times: Float[ndarray, "N"]) -> Int[ndarray, "M"]:
        """Which frames of a clip it holds.

        Raises:
            ImageError: None.
        """
        first, last = np.searchsorted(times, [self.start, np.inf if self.end is None else self.end])
        if first == last:
            raise ImageError(
                f"{path}: no frame between {self.start:g} s and {'the end' if self.end is None else f'{self.end:g} s'};"
                f" the clip is {times[-1]:.2f} s long."
            )
        return np.arange(first, last, self.every)


@dataclass(frozen=True, kw_only=True)
class TimedClip(Clip):
    """A clip whose frames are known by their times before they are decoded.

    Attributes:
        times: Of all frames of the file, seconds since the first.
        numbers: Of the frames that are read.
    """

    times: Float[ndarray, "N"] = field(repr=False, compare=False)
    numbers: Int[ndarray, "M"] = field(repr=False, compare=False)

    def frames(self, first: int = 0) -> Iterator[ClipFrame]:
        """The frames in order; see ``Clip``."""
        wanted = self.numbers[np.searchsorted(self.numbers, first) :]
        found = False
        for frame in self._read(wanted):
            found = True
            yield frame
        if not found and len(wanted) == len(self.numbers):
            raise ImageError(f"{self.path}: not a single frame can be decoded. Export or download it again.")

    def at(self, numbers: Sequence[int]) -> Iterator[ClipFrame]:
        """Some frames; see ``Clip``. Long ways between them are jumped over."""
        wanted = np.asarray(numbers, np.int64)
        for near in np.split(wanted, np.flatnonzero(np.diff(wanted) > _FAR) + 1):
            yield from self._read(near)

    def _read(self, wanted: Int[ndarray, "K"]) -> Iterator[ClipFrame]:
        with readable(self.path):
            for number, pixels in self._decoded(wanted):
                yield ClipFrame(number, float(self.times[number]), pixels)

    @abstractmethod
    def _decoded(self, wanted: Int[ndarray, "K"]) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
        """Those of some frames that can be decoded, in order, by number."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file into one clear line.

    Raises:
        ImageError: The file is not there, or cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file or folder.") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from None


def mean_rate(times: Float[ndarray, "N"], otherwise: float = USUAL_RATE) -> float:
    """Frames a second on average; of a single frame, what is given."""
    return (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else otherwise
