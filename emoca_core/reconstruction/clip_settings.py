"""What a user may choose about clips in a folder run: which part of them, and how people are followed."""

from dataclasses import dataclass
from pathlib import Path

from emoca_core.errors import ParamsError
from emoca_core.interfaces import Clip
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.video import open_clip
from emoca_core.video.timed import USUAL_RATE, Part


@dataclass(frozen=True)
class ClipSettings(SequenceSettings):
    """``SequenceSettings``, and what of each clip is read.

    Attributes:
        start: First moment, seconds since the clip's first frame.
        end: Moment before which to end; ``None`` for the clip's end.
        every: Take one frame of so many.
        frame_rate: Folders are clips of numbered frames, so many a second; ``None``: folders hold photos and clips.
    """

    start: float = 0.0
    end: float | None = None
    every: int = 1
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        Part(self.start, self.end, self.every)  # refuses what no clip has
        if self.frame_rate is not None and not self.frame_rate > 0:
            raise ParamsError(f"frame_rate must be positive, got {self.frame_rate}")

    def open(self, path: Path) -> Clip:
        """The part of a clip that is wanted.

        Raises:
            ImageError: It cannot be read, or has no such part.
        """
        rate = self.frame_rate or USUAL_RATE
        return open_clip(path, start=self.start, end=self.end, every=self.every, frame_rate=rate)
