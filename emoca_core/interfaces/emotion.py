"""Image to emotion."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent

Values = TypeVar("Values")


def emotion_columns(scores: Mapping[str, Values], **levels: Values | None) -> dict[str, Values]:
    """The names that files and streams have for emotion: ``valence``, ``arousal``, ``emotion.NAME``, as far as known.

    Example:
        >>> emotion_columns({"happy": 0.8}, valence=0.5, arousal=None)
        {'valence': 0.5, 'emotion.happy': 0.8}
    """
    known = {name: values for name, values in levels.items() if values is not None}
    return known | {f"emotion.{name}": values for name, values in scores.items()}


@dataclass(frozen=True)
class EmotionPrediction:
    """What an emotion backbone sees.

    Attributes:
        features: Named features, e.g. the last hidden layer; the emotion-consistency loss compares one of them.
        logits: Unnormalised class scores, in the order of ``EmotionBackbone.labels``.
        valence: Unpleasant -1 to pleasant 1, not clamped.
        arousal: Calm -1 to excited 1, not clamped.

    Example:
        >>> import torch
        >>> seen = EmotionPrediction({"pooled": torch.zeros(2, 8)}, valence=torch.tensor([0.1, -0.4]))
        >>> seen.features["pooled"].shape, seen.arousal is None
        (torch.Size([2, 8]), True)
    """

    features: Mapping[str, Float[Tensor, "B ..."]]
    logits: Float[Tensor, "B C"] | None = None
    valence: Float[Tensor, "B"] | None = None
    arousal: Float[Tensor, "B"] | None = None


@dataclass(frozen=True)
class EmotionReading:
    """What a backbone sees in some faces, with the names that go with its numbers.

    Attributes:
        backbone: Name of the backbone.
        labels: Names of the classes behind the logits.
        prediction: What it sees; features may be missing.
    """

    backbone: str
    labels: tuple[str, ...]
    prediction: EmotionPrediction

    def levels(self) -> dict[str, Float[Tensor, "B"]]:
        """``valence`` and ``arousal`` in [-1, 1], as far as they are known."""
        known = {"valence": self.prediction.valence, "arousal": self.prediction.arousal}
        return {name: values.clamp(-1, 1) for name, values in known.items() if values is not None}

    def scores(self) -> dict[str, Float[Tensor, "B"]]:
        """Probability of each class, by name."""
        logits = self.prediction.logits
        return {} if logits is None else dict(zip(self.labels, logits.softmax(1).unbind(1), strict=True))

    def columns(self) -> dict[str, Float[Tensor, "B"]]:
        """Both, see ``emotion_columns``."""
        return emotion_columns(self.scores(), **self.levels())

    def of_face(self, row: int) -> "FaceEmotion":
        """What it sees in one of the faces."""
        scores, levels = (
            {name: round(float(values[row]), 4) for name, values in part.items()}
            for part in (self.scores(), self.levels())
        )
        return FaceEmotion(self.backbone, scores, **levels)


@dataclass(frozen=True)
class FaceEmotion:
    """What an emotion backbone reads in one face.

    Attributes:
        backbone: Its name.
        scores: Probability of each class, by name.
        valence: Unpleasant -1 to pleasant 1, if the backbone knows it.
        arousal: Calm -1 to excited 1, if the backbone knows it.

    Example:
        >>> str(FaceEmotion("open_emotion", {"neutral": 0.08, "happy": 0.92}, valence=0.71, arousal=-0.2))
        'happy 0.92, valence 0.71, arousal -0.20'
    """

    backbone: str
    scores: Mapping[str, float] = field(default_factory=dict)
    valence: float | None = None
    arousal: float | None = None

    def __str__(self) -> str:
        most = max(self.scores, key=lambda name: self.scores[name], default=None)
        first = {} if most is None else {most: self.scores[most]}
        known = first | {"valence": self.valence, "arousal": self.arousal}
        return ", ".join(f"{name} {value:.2f}" for name, value in known.items() if value is not None)


class EmotionBackbone(ModuleComponent):
    """Recognises emotion. Frozen when it serves as a perceptual loss.

    Attributes:
        labels: Names of the classes behind ``logits``; empty without a classifier.
        feature_dims: Number of channels of each named feature; the first one is the default.
    """

    labels: tuple[str, ...] = ()
    feature_dims: Mapping[str, int]

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EmotionPrediction:
        """Predict from RGB in [0, 1]; the backbone does its own resizing and normalisation."""
