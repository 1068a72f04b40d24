"""A captured sequence for the conformance kit of exporters: a head of no particular method that turns and speaks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import (
    CapturedSequence,
    Clip,
    ClipFrame,
    ExpressionRig,
    FaceGeometry,
    FaceParameters,
    FrameFlag,
    PhotoCamera,
    SequenceEmotion,
    SequenceRig,
)
from emoca_core.interfaces.samples import SIZES, sample_geometry, sample_parameters
from emoca_core.testing.sample_face import sample_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES

_SIDE = 64
_RATE = 25.0
_LENGTH = 40


@dataclass(frozen=True)
class SampleClip(Clip):
    """A grey picture that grows brighter from frame to frame, 25 frames a second."""

    def frames(self, first: int = 0) -> Iterator[ClipFrame]:
        """See ``Clip``."""
        for number in range(first, _LENGTH):
            yield ClipFrame(number, number / _RATE, np.full((*self.size, 3), 60 + 3 * number, np.uint8))


@dataclass(frozen=True, kw_only=True)
class SampleSequence(CapturedSequence):
    """A sequence whose meshes, rig and pictures are made up; ``bare`` leaves out all that a method may lack."""

    bare: bool = False

    @property
    def recipe(self) -> str:
        """A name that no recipe has."""
        return "sample"

    @property
    def cameras(self) -> Sequence[PhotoCamera] | None:
        """Half a metre away, in the middle; always the same."""
        camera = sample_face(self.bare).camera
        return None if camera is None else [camera] * len(self)

    @cached_property
    def rig(self) -> SequenceRig:
        """The sample face with 52 targets of which some move, or with one that is no ARKit value."""
        mesh = sample_face(self.bare).mesh
        neutral, count = mesh.vertices, len(self)
        wave = 0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, count))[:, None]
        source, names = ("code", ["expression_0"]) if self.bare else ("arkit", list(ARKIT_NAMES))
        targets = 1e-3 * np.random.default_rng(3).normal(size=(len(names), *neutral.shape))
        rig = ExpressionRig(neutral, targets, dict.fromkeys(names, 0.0), source)
        return SequenceRig(
            mesh=replace(mesh, rig=rig),
            names=names,
            weights=wave * (np.arange(len(names)) % 3 == 0),
            source="code" if self.bare else "arkit",
            heads=self._heads(),
            residual_mm=np.zeros(count),
        )

    def geometry(self, rows: slice) -> FaceGeometry:
        """The rig as its weights say, turned; landmarks that turn with the head."""
        rig, heads = self.rig, torch.from_numpy(self.rig.heads[rows]).float()
        if rig.mesh.rig is None:
            raise ValueError("the sample has a rig")
        moved = np.tensordot(rig.weights[rows], rig.mesh.rig.targets, axes=1) + rig.mesh.vertices
        points = sample_geometry(1).landmarks["ibug68"]
        parts = (torch.from_numpy(moved).float(), points.expand(len(moved), -1, -1))
        vertices, landmarks = (part @ heads[:, :3, :3].mT + heads[:, None, :3, 3] for part in parts)
        return FaceGeometry(vertices, {"ibug68": landmarks})

    def pictures(self, rows: slice = slice(None)) -> Iterator[ClipFrame]:
        """See ``CapturedSequence``."""
        wanted = set(self.numbers[rows].tolist())
        return (frame for frame in self.clip.frames() if frame.number in wanted)

    def overlay(self) -> Iterator[ClipFrame] | None:
        """The clip itself."""
        return None if self.bare else self.clip.frames()

    def record(self) -> dict[str, object]:
        """The least that a record holds."""
        return {"format": "emoca-sequence-1", "recipe": {"name": self.recipe}, "clip": {"file": self.clip.path.name}}

    def _heads(self) -> Float[ndarray, "N 4 4"]:
        heads = np.tile(np.eye(4), (len(self), 1, 1))
        if self.parameters.global_pose is not None:
            heads[:, :3, :3] = rotation_vector_to_matrix(self.parameters.global_pose.double()).numpy()
        return heads


def sample_sequence(bare: bool = False) -> SampleSequence:
    """Some frames of a clip with everything that an exporter may meet, or with the least.

    The person is away for more than half a second in the middle; before that, two frames are bridged.

    Args:
        bare: Without texture, ARKit values, camera, emotion, flags and most of the code.
    """
    numbers = np.concatenate([np.arange(3, 13), np.arange(29, 37)])
    count = len(numbers)
    sway = torch.linspace(-1, 1, count)[:, None] * torch.tensor([0.1, 0.4, 0.05])
    code = sample_parameters(SIZES, 1).map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))
    flags: list[frozenset[FrameFlag]] = [frozenset()] * count
    if not bare:
        flags[4] = flags[5] = frozenset({"bridged"})
        flags[10], flags[11] = frozenset({"cut"}), frozenset({"doubtful"})
    bridged = np.array(["bridged" in each for each in flags])
    turn = np.linspace(-1, 1, count)
    return SampleSequence(
        clip=SampleClip(Path("sample ‘1’.mp4"), "0" * 64, (_SIDE, _SIDE), _RATE, _LENGTH, has_sound=False),
        track=0,
        numbers=numbers,
        times=numbers / _RATE,
        parameters=FaceParameters(shape=code.shape) if bare else code.replace(global_pose=sway),
        crop_size=(_SIDE, _SIDE),
        crop_to_image=np.tile(np.eye(3), (count, 1, 1)),
        landmarks=np.tile(sample_face().detection.landmarks["ibug68"], (count, 1, 1)),
        confidence=np.where(bridged, 0.0, 0.9),
        flags=flags,
        smoothing=0.0 if bare else 0.5,
        emotion=None
        if bare
        else SequenceEmotion("sample", {"happy": 0.5 + 0.4 * turn, "sad": 0.5 - 0.4 * turn}, 0.5 * turn, 0.2 * turn),
        bare=bare,
    )
