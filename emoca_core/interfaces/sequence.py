"""What a reconstruction knows of one person through a clip: what exporters of movement read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from emoca_core.interfaces.clip import Clip, ClipFrame
from emoca_core.interfaces.face import FaceGeometry, FaceParameters
from emoca_core.interfaces.mesh import FaceMesh
from emoca_core.interfaces.photo import PhotoCamera

LONGEST_BRIDGE = 0.3
"""Seconds up to which gaps are filled in."""

FrameFlag = Literal["bridged", "doubtful", "cut"]
"""``bridged``: filled in over a gap in which the face was not found; ``doubtful``: found, but not to be trusted;
``cut``: the first frame after a cut."""


@dataclass(frozen=True)
class SequenceEmotion:
    """What an emotion backbone reads in every frame.

    Attributes:
        backbone: Its name.
        scores: Probability of each class, by name.
        valence: In [-1, 1], if the backbone knows it.
        arousal: In [-1, 1], if the backbone knows it.
    """

    backbone: str
    scores: Mapping[str, Float[ndarray, "N"]] = field(default_factory=dict)
    valence: Float[ndarray, "N"] | None = None
    arousal: Float[ndarray, "N"] | None = None


@dataclass(frozen=True)
class SequenceRig:
    """The person's neutral head, what moves it, and how strongly each frame uses that.

    Attributes:
        mesh: Neutral head in its own axes (no head pose), with texture or vertex colours; metres. Its ``rig`` has the
            targets; the weights there are zero.
        names: Of the targets, in their order.
        weights: Of every frame: ARKit values in [0, 1], or a face model's own coefficients.
        source: ``"arkit"`` or ``"code"``.
        heads: The rigid movement of the head in model space, homogeneous; metres.
        residual_mm: Mean distance of the weighted targets from the captured mesh in every frame, millimetres.
    """

    mesh: FaceMesh
    names: Sequence[str]
    weights: Float[ndarray, "N T"]
    source: Literal["arkit", "code"]
    heads: Float[ndarray, "N 4 4"]
    residual_mm: Float[ndarray, "N"]


@dataclass(frozen=True, kw_only=True)
class CapturedSequence(ABC):
    """One person through a clip: what ``CapturedFace`` is for a photo. Frames without the person have no row.

    Attributes:
        clip: Where it is.
        track: Number of the person in the clip; 0 is seen largest and longest.
        numbers: Number of each frame in the clip.
        times: Of each frame, seconds since the first frame of the clip; they grow.
        parameters: The code of each frame, a batch on the CPU; ``shape`` and ``albedo`` are the same in all.
        crop_size: Height and width of the crops that the cameras in ``parameters`` belong to, pixels.
        crop_to_image: Crop pixels to frame pixels.
        landmarks: The 68 points as detected, frame pixels; filled in where the frame is bridged.
        confidence: Of the landmarker in each frame, [0, 1]; 0 where the frame is bridged.
        flags: What is to be known of each frame; mostly nothing.
        smoothing: How strongly the code was smoothed, [0, 1].
        emotion: What an emotion backbone reads in the frames; ``None`` where the method has none with weights.
        detected_arkit: The landmarker's own scores in [0, 1], in the order of
            ``emoca_core.vocabulary.arkit.ARKIT_NAMES``; filled in where the frame is bridged, ``None`` where the
            landmarker has none.

    Raises:
        ValueError: Numbers of frames that differ, times that do not grow, or more than one person.
    """

    clip: Clip
    track: int
    numbers: Int[ndarray, "N"]
    times: Float[ndarray, "N"]
    parameters: FaceParameters
    crop_size: tuple[int, int]
    crop_to_image: Float[ndarray, "N 3 3"]
    landmarks: Float[ndarray, "N 68 2"]
    confidence: Float[ndarray, "N"]
    flags: Sequence[frozenset[FrameFlag]]
    smoothing: float = 0.0
    emotion: SequenceEmotion | None = None
    detected_arkit: Float[ndarray, "N 52"] | None = None

    def __post_init__(self) -> None:
        rows: dict[str, Sized] = {
            "times": self.times,
            "numbers": self.numbers,
            "codes": self.parameters,
            "crops": self.crop_to_image,
            "landmarks": self.landmarks,
            "confidences": self.confidence,
            "flags": self.flags,
        }
        if len({len(each) for each in rows.values()}) > 1 or len(self.times) == 0:
            counts = ", ".join(f"{len(each)} {name}" for name, each in rows.items())
            raise ValueError(f"a sequence has one of each for every frame, not {counts}")
        if not (np.isfinite(self.times).all() and (np.diff(self.times) > 0).all()):
            raise ValueError("the times of a sequence must grow from frame to frame")
        shape = self.parameters.shape
        if shape is not None and not torch.equal(shape, shape[:1].expand_as(shape)):
            raise ValueError("a sequence shows one person: its frames must have the same shape code")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def codes(self) -> dict[str, Float[ndarray, "N _"]]:
        """Every block of the face code, a row for each frame."""
        return {name: block.numpy() for name, block in self.parameters.blocks().items()}

    @property
    def frame_interval(self) -> float:
        """Seconds from frame to frame, usually."""
        steps = np.diff(self.times)
        return float(np.median(steps)) if len(steps) else 1 / max(self.clip.frame_rate, 1.0)

    @property
    def is_back(self) -> Bool[ndarray, "N"]:
        """Where the person was away just before, for longer than is bridged."""
        longest = max(LONGEST_BRIDGE, 2 * self.frame_interval)
        return np.asarray(np.diff(self.times, prepend=self.times[0]) > longest)

    def flagged(self, flag: FrameFlag) -> Bool[ndarray, "N"]:
        """Where a flag is set."""
        return np.array([flag in each for each in self.flags])

    @property
    def arkit(self) -> Float[ndarray, "N 52"] | None:
        """The 52 ARKit values of every frame in [0, 1]; ``None`` where nothing is known.

        They are the weights of the rig where the face model has the ARKit names, else the landmarker's scores.
        """
        return self.rig.weights if self.rig.source == "arkit" else self.detected_arkit

    @property
    def title(self) -> str:
        """What pages call it."""
        return f"{self.clip.path.name}, person {self.track}"

    @property
    def panels(self) -> tuple[str, ...]:
        """What the pictures of ``overlay`` show, from left to right; pages show the first two of them."""
        return "original", "mesh over it", "mesh"

    @property
    @abstractmethod
    def recipe(self) -> str:
        """Name of the method that reconstructed it."""

    @property
    @abstractmethod
    def cameras(self) -> Sequence[PhotoCamera] | None:
        """Camera of the whole frame, for every row; ``None`` for methods without one."""

    @property
    @abstractmethod
    def rig(self) -> SequenceRig:
        """The person's head, its targets, and their weights in every frame. Computed once, over all frames at once."""

    @abstractmethod
    def geometry(self, rows: slice) -> FaceGeometry:
        """The posed meshes of some rows, on the CPU."""

    @abstractmethod
    def pictures(self, rows: slice = slice(None)) -> Iterator[ClipFrame]:
        """The clip's frames of some rows, decoded again, in order: one for each row."""

    @abstractmethod
    def overlay(self) -> Iterator[ClipFrame] | None:
        """The ``panels`` side by side, for every frame of the clip; ``None`` without a camera.

        Height and width are even.
        """

    @abstractmethod
    def record(self) -> dict[str, object]:
        """Method, versions, assets, clip, person and settings, JSON-ready: what has no row for each frame."""
