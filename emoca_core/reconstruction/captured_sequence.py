"""One person through the frames of a video, reconstructed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.interfaces import FaceParameters
from emoca_core.method import Method


@dataclass(frozen=True)
class CapturedSequence:
    """What ``CapturedFace`` is for a photo, for one track of a video. The person is the same in all frames.

    Attributes:
        method: What reconstructed it.
        source: The video.
        track: Number that the tracker gave the person.
        times: Of each frame, seconds since the beginning of the video; they grow.
        parameters: The code of each frame, a batch on the CPU; ``shape`` is the same in all.
        flags: What is to be known of each frame, e.g. ``{"doubtful"}`` or ``{"interpolated"}``; mostly nothing.

    Raises:
        ValueError: Numbers of frames that differ, times that do not grow, or more than one person.
    """

    method: Method
    source: Path
    track: int
    times: Float[ndarray, "N"]
    parameters: FaceParameters
    flags: tuple[frozenset[str], ...]

    def __post_init__(self) -> None:
        if not len(self.times) == len(self.parameters) == len(self.flags) > 0:
            counts = f"{len(self.times)} times, {len(self.parameters)} codes and {len(self.flags)} flags"
            raise ValueError(f"a sequence has one time, one code and one set of flags for each frame, not {counts}")
        if not (np.isfinite(self.times).all() and (np.diff(self.times) > 0).all()):
            raise ValueError("the times of a sequence must grow from frame to frame")
        shape = self.parameters.shape
        if shape is not None and not torch.equal(shape, shape[:1].expand_as(shape)):
            raise ValueError("a sequence shows one person: its frames must have the same shape code")

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[tuple[float, FaceParameters, frozenset[str]]]:
        """Time, code (a batch of one) and flags of every frame."""
        for number, (time, flags) in enumerate(zip(self.times.tolist(), self.flags, strict=True)):
            yield time, self.parameters.map(lambda tensor, row=number: tensor[row : row + 1]), flags  # type: ignore[misc]

    @property
    def codes(self) -> dict[str, Float[ndarray, "N _"]]:
        """Every block of the face code, a row for each frame."""
        return {name: block.numpy() for name, block in self.parameters.blocks().items()}
