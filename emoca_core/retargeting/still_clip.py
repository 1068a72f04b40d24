"""A photo as a clip: the same picture at every moment."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.interfaces import Clip, ClipFrame, Photo


@dataclass(frozen=True, kw_only=True)
class StillClip(Clip):
    """A photo that stands still while something moves.

    Attributes:
        photo: What is seen.
        numbers: Of the frames.
        times: Of each, seconds.
        sound: Clip whose sound is heard.
    """

    photo: Photo = field(repr=False)
    numbers: Int[ndarray, "N"] = field(repr=False, compare=False)
    times: Float[ndarray, "N"] = field(repr=False, compare=False)
    sound: Clip | None = None

    @classmethod
    def of(
        cls,
        photo: Photo,
        numbers: Int[ndarray, "N"],
        times: Float[ndarray, "N"],
        rate: float,
        sound: Clip | None = None,
    ) -> "StillClip":
        """From a photo and the moments at which it is seen."""
        return cls(
            path=photo.path,
            sha256=photo.sha256,
            size=photo.size,
            frame_rate=rate,
            length=len(numbers),
            has_sound=sound is not None and sound.has_sound,
            notes=photo.notes,
            photo=photo,
            numbers=numbers,
            times=times,
            sound=sound,
        )

    @property
    def sound_file(self) -> Path:
        """That of the clip whose sound it is."""
        return self.path if self.sound is None else self.sound.sound_file

    def frames(self, first: int = 0) -> Iterator[ClipFrame]:
        """The photo at each moment; see ``Clip``."""
        for number, time in zip(self.numbers.tolist(), self.times.tolist(), strict=True):
            if number >= first:
                yield ClipFrame(number, time, self.photo.pixels)
