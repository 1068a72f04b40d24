"""Image to emotion."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent


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
