"""Which emotion a synthetic face shows, how strongly, and what valence and arousal that means.

The circumplex mapping: an emotion at full intensity has the valence and arousal of ``CIRCUMPLEX``; intensity scales
them from neutral (0, 0); a mixture has the sum of its parts, clamped to [-1, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.vocabulary.arkit import ARKIT_NAMES, emotion_prototypes

CIRCUMPLEX: Mapping[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happy": (0.85, 0.45),
    "sad": (-0.75, -0.4),
    "surprise": (0.15, 0.8),
    "fear": (-0.6, 0.75),
    "disgust": (-0.7, 0.35),
    "anger": (-0.6, 0.65),
    "contempt": (-0.5, 0.15),
}
"""Valence and arousal at full intensity: the places of the words in Russell's circumplex (1980), rounded."""

INTENSITY = (0.35, 1.15)
"""Range of intensities that are drawn."""

SECOND_EMOTION = 0.25
"""Share of faces that mix in a second emotion."""

SECOND_STRENGTH = 0.4
"""Largest intensity of the second emotion, relative to the first; the first stays the label."""


@dataclass(frozen=True)
class Emotions:
    """What a batch of faces shows.

    Attributes:
        activations: ARKit activations in [0, 1].
        jaw_open: Jaw rotation as a fraction of ``jawOpen``'s.
        gaze_pitch: Rotation of the eyes about x, radians.
        valence: [-1, 1].
        arousal: [-1, 1].
    """

    activations: Float[Tensor, "B 52"]
    jaw_open: Float[Tensor, "B"]
    gaze_pitch: Float[Tensor, "B"]
    valence: Float[Tensor, "B"]
    arousal: Float[Tensor, "B"]


def draw_emotions(
    classes: Int[Tensor, "B"], draws: Float[Tensor, "B 200"], labels: Sequence[str], noise: float
) -> Emotions:
    """Emotions of given classes with random variant, intensity, second emotion and random activations.

    Args:
        classes: Indices into ``labels``.
        draws: Uniform numbers in (0, 1).
        labels: Names of the classes.
        noise: Mean strength of random activations.
    """
    codes, variants = _prototype_codes(labels)
    low, high = INTENSITY
    first = codes[variants[classes, (draws[:, 0] * variants.shape[1]).long()]]
    strength = low + (high - low) * draws[:, 1:2]
    other = codes[variants[(draws[:, 2] * len(labels)).long(), (draws[:, 3] * variants.shape[1]).long()]]
    second = SECOND_STRENGTH * strength * draws[:, 4:5] * (draws[:, 5:6] < SECOND_EMOTION)
    mixed = strength * first + second * other
    extra = -noise * (1 - draws[:, 10:62]).log() * (draws[:, 70:122] < 0.3)
    quiet = torch.tensor([not name.startswith(("jaw", "eyeLook", "tongue", "mouthClose")) for name in ARKIT_NAMES])
    return Emotions(
        activations=(mixed[:, :52] + extra * quiet).clamp(0, 1),
        jaw_open=(mixed[:, 52] + 0.1 * draws[:, 6].square()).clamp(0, 1.3),
        gaze_pitch=mixed[:, 53],
        valence=mixed[:, 54].clamp(-1, 1),
        arousal=mixed[:, 55].clamp(-1, 1),
    )


def _prototype_codes(labels: Sequence[str]) -> tuple[Float[Tensor, "P 56"], Int[Tensor, "C K"]]:
    """Every prototype as [activations, jaw, gaze, valence, arousal], and for each class the rows of its variants."""
    prototypes = list(emotion_prototypes().values())
    rows = [[*p.vector(), p.jaw_open, p.gaze_pitch, *CIRCUMPLEX[p.emotion]] for p in prototypes]
    variants = [[i for i, p in enumerate(prototypes) if p.emotion == label] for label in labels]
    most = max(map(len, variants))
    repeated = [(own * most)[:most] for own in variants]
    return torch.tensor(rows), torch.tensor(repeated)
