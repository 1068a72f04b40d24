"""What drives: how a face moves along time, whoever it belongs to."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.interfaces import Clip, FaceParameters, FrameFlag


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Where the driver can be seen.

    Attributes:
        clip: Its frames, and its sound.
        crop_to_image: Where the face is in each row, crop pixels to frame pixels.
        crop_size: Height and width of these crops, pixels.
        landmarks: The 68 points, frame pixels.
    """

    clip: Clip
    crop_to_image: Float[ndarray, "N 3 3"]
    crop_size: tuple[int, int]
    landmarks: Float[ndarray, "N 68 2"]


@dataclass(frozen=True, kw_only=True)
class Driving:
    """A movement, read from a photo, a clip, a captured sequence, a table of ARKit values, or a named emotion.

    At least one of ``codes`` and ``arkit`` is there.

    Attributes:
        name: What it is called, e.g. ``talk.mp4`` or ``emotion:happy``.
        sha256: Of what it was read from.
        times: Of each row, seconds; they grow.
        numbers: Of the frames that the rows are.
        codes: Face codes of the driver, on the CPU; of the face model ``face_model``.
        face_model: What ``codes`` belongs to: names and hashes, see ``face_model_facts``.
        arkit: The 52 values in the order of ``ARKIT_NAMES``, mostly in [0, 1].
        heads: Turn of the head against the line of sight (x to the subject's left, y up, z towards the camera);
            ``None`` where nobody says how the head turns.
        confidence: Of each row, [0, 1].
        flags: As of a captured sequence.
        lips: How much farther than at rest the driver's lips are apart in each row, in units of the distance of their
            outer eye corners.
        pictures: Where the driver can be seen; ``None`` for numbers alone.
        emotion: The class that it is meant to show, if it has a name.
        intensity: How strongly a pose is shown; ``None`` for what moves on its own.
        smoothing: How strongly its codes were smoothed, [0, 1].
        notes: What people should know of how it was read.

    Raises:
        ValueError: Rows that differ in number, times that do not grow, or nothing that moves.
    """

    name: str
    sha256: str
    times: Float[ndarray, "N"]
    numbers: Int[ndarray, "N"]
    codes: FaceParameters | None = None
    face_model: Mapping[str, object] | None = None
    arkit: Float[ndarray, "N 52"] | None = None
    heads: Float[ndarray, "N 3 3"] | None = None
    confidence: Float[ndarray, "N"]
    flags: Sequence[frozenset[FrameFlag]]
    lips: Float[ndarray, "N"] | None = None
    pictures: Pictures | None = None
    emotion: str | None = None
    intensity: Float[ndarray, "N"] | None = None
    smoothing: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows: list[Sized] = [self.times, self.numbers, self.confidence, self.flags]
        rows += [each for each in (self.codes, self.arkit, self.heads, self.lips, self.intensity) if each is not None]
        if len({len(each) for each in rows}) != 1 or len(self.times) == 0:
            raise ValueError("a driver has one of each for every frame, and at least one frame")
        if not (np.isfinite(self.times).all() and (np.diff(self.times) > 0).all()):
            raise ValueError("the times of a driver must grow from frame to frame")
        if self.codes is None and self.arkit is None:
            raise ValueError("a driver has face codes or ARKit values")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rate(self) -> float:
        """Frames a second, usually."""
        return 1 / float(np.median(np.diff(self.times))) if len(self) > 1 else 25.0

    def at(self, rows: Int[ndarray, "M"]) -> "Driving":
        """Some of the rows, in order; of a driver that nobody sees."""
        index = torch.from_numpy(rows)
        known = {name: getattr(self, name) for name in ("arkit", "heads", "lips", "intensity")}
        return replace(
            self,
            times=self.times[rows],
            numbers=self.numbers[rows],
            codes=None if self.codes is None else self.codes.map(lambda tensor: tensor[index]),
            confidence=self.confidence[rows],
            flags=[self.flags[row] for row in rows.tolist()],
            **{name: values[rows] for name, values in known.items() if values is not None},
        )
