"""A clip of the open head whose every vertex is known: head turns, speech, blinks, emotions, noise on the pixels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.lighting import SH_CONSTANTS
from emoca_core.interfaces import Clip, ClipFrame, FaceModel, FaceParameters, PerspectiveCamera, Renderer
from emoca_core.rendering.face import render_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES

BLINK_SECONDS = 0.12
EMOTIONS = (
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    {"mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "browInnerUp": 0.6},
    {"browInnerUp": 0.7, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7, "eyeWideLeft": 0.5, "eyeWideRight": 0.5},
    {"browDownLeft": 0.8, "browDownRight": 0.8, "noseSneerLeft": 0.4, "noseSneerRight": 0.4},
)


@dataclass(frozen=True)
class KnownClip(Clip):
    """Frames in memory, again and again.

    Attributes:
        pictures: Of the frames.
        rounds: How often they are shown.
    """

    pictures: UInt8[ndarray, "N H W 3"] = field(default_factory=lambda: np.empty((0, 1, 1, 3), np.uint8))
    rounds: int = 1

    @classmethod
    def of(cls, pictures: UInt8[ndarray, "N H W 3"], frame_rate: float, rounds: int = 1) -> "KnownClip":
        """All frames at equal distances."""
        size = pictures.shape[1], pictures.shape[2]
        return cls(Path("known"), "0" * 64, size, frame_rate, rounds * len(pictures), False, (), pictures, rounds)

    def frames(self, first: int = 0) -> Iterator[ClipFrame]:
        """The pictures in order."""
        for number in range(first, self.rounds * len(self.pictures)):
            yield ClipFrame(number, number / self.frame_rate, self.pictures[number % len(self.pictures)])


def known_code(face_model: FaceModel, frames: int, frame_rate: float, seed: int) -> FaceParameters:
    """One person's code in every frame, in front of the camera that is assumed of clips."""
    random = torch.Generator().manual_seed(seed)
    t = torch.arange(frames) / frame_rate
    phase = 6.28 * torch.rand(8, generator=random)
    expression = torch.zeros(frames, 52)
    for number, emotion in enumerate(EMOTIONS):  # one after the other, 1.2 s each, with soft edges
        strength = (1.5 * torch.cos(6.283 * (t / 4.8 - number / len(EMOTIONS))) - 0.5).clamp(0, 1)
        for name, value in emotion.items():
            expression[:, ARKIT_NAMES.index(name)] = value * strength
    for start in blink_times(frames, frame_rate):
        closed = torch.cos(math.pi * ((t - start) / BLINK_SECONDS).clamp(-0.5, 0.5))
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            expression[:, ARKIT_NAMES.index(name)] = torch.maximum(expression[:, ARKIT_NAMES.index(name)], closed)
    zero = torch.zeros_like(t)
    speaks = (torch.sin(6.283 * 0.35 * t + phase[0]) + 0.3).clamp(0, 1)
    jaw = 0.09 * speaks * (2 + torch.sin(6.283 * 3.7 * t + phase[1]) + torch.sin(6.283 * 2.3 * t + phase[2]))
    yaw = 0.6 * torch.sin(6.283 * 0.3 * t + phase[3])
    pitch = 0.2 * torch.sin(6.283 * 0.43 * t + phase[4])
    roll = 0.12 * torch.sin(6.283 * 0.23 * t + phase[5])
    gaze = 0.15 * torch.sign(torch.sin(6.283 * 0.5 * t + phase[6]))  # glances from side to side
    place = torch.stack(
        [0.02 * torch.sin(0.9 * t), 0.01 + 0.01 * torch.sin(1.3 * t), 0.75 + 0.04 * torch.sin(0.7 * t)], 1
    )
    light = torch.zeros(frames, 9, 3)
    light[:, 0] = 0.7 / SH_CONSTANTS[0]
    light[:, 3] = 0.25 / SH_CONSTANTS[1]
    return FaceParameters(
        shape=0.7 * torch.randn(1, face_model.blocks["shape"], generator=random).expand(frames, -1),
        expression=expression,
        global_pose=torch.stack([pitch, yaw, roll], 1),
        jaw_pose=torch.stack([jaw, zero, zero], 1),
        eye_pose=torch.stack([zero, gaze, zero, zero, gaze, zero], 1),
        albedo=0.5 * torch.randn(1, face_model.blocks["albedo"], generator=random).expand(frames, -1),
        lighting=light,
        camera=PerspectiveCamera(torch.full((frames, 2), 2 * math.sqrt(2)), torch.zeros(frames, 2), place),
        units={"expression": "activation"},
    )


def blink_times(frames: int, frame_rate: float) -> Float[ndarray, "B"]:
    """Middle of each blink, seconds."""
    return np.arange(1.013, frames / frame_rate - 0.5, 1.37)


def photographed(
    face_model: FaceModel, renderer: Renderer, code: FaceParameters, size: int, noise: float, seed: int
) -> UInt8[ndarray, "N S S 3"]:
    """The frames as a camera sees them: before a soft background, with noise of so many levels."""
    random = np.random.default_rng(seed)
    rows = np.linspace(0, 1, size)
    back = np.stack(
        [0.3 + 0.2 * rows[:, None] + 0 * rows, 0.35 + 0.2 * rows + 0 * rows[:, None], np.full((size, size), 0.4)]
    )
    background = torch.from_numpy(back).float()
    out = np.empty((len(code), size, size, 3), np.uint8)
    for first in range(0, len(code), 16):
        part = code.map(lambda tensor, first=first: tensor[first : first + 16])
        with torch.no_grad():
            shown = _rendered(face_model, renderer, part, size, background)
        noisy = 255 * shown.permute(0, 2, 3, 1).numpy() + random.normal(0, noise, (len(part), size, size, 3))
        out[first : first + 16] = np.rint(noisy).clip(0, 255)
    return out


def _rendered(
    face_model: FaceModel, renderer: Renderer, code: FaceParameters, size: int, background: Float[Tensor, "3 S S"]
) -> Float[Tensor, "N 3 S S"]:
    assert code.camera is not None
    picture = render_face(
        renderer, face_model, face_model(code), code.camera, face_model.albedo(code), code.lighting, (size, size)
    )
    return torch.where(picture.mask > 0, picture.image, background).clamp(0, 1)
