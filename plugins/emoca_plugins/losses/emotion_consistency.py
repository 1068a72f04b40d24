"""The picture shows the emotion of the photo."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.errors import unknown_name
from emoca_core.interfaces import Capture, EmotionPrediction, Loss
from emoca_core.interfaces.global_batch import gather_batch

REDUNDANCY_WEIGHT = 0.005
"""Of the off-diagonal correlations. Source: Barlow Twins (Zbontar et al., ICML 2021)."""


class EmotionConsistency(Loss):
    """Distance between what the emotion backbone sees in the picture and in the photo.

    The photo's side has no gradient. Features of any shape count as one vector per face.

    Source: EMOCA (Danecek et al., CVPR 2022), emotion consistency loss, and its public code. The paper
    compares features only, by the mean squared difference (preset ``paper``).
    """

    class Params(ComponentParams):
        compared: ClassVar[tuple[str, ...]] = ("features", "valence", "arousal", "expression")
        """Weights of which one must be above 0."""
        feature: str | None = None
        """Name of the feature; by default the backbone's first."""
        metric: Literal["l1", "l2", "euclidean", "cosine", "barlow_twins"] = "l2"
        """``l1`` and ``l2``: mean absolute or squared difference. ``euclidean``: distance of the two vectors, mean over
        faces, as in the paper's optimisation. ``cosine``: 1 - cos, mean over faces.
        ``barlow_twins``: without a projector; needs a batch of many faces, one alone has no gradient."""
        normalise: bool = False
        """Scale each face's feature vectors to length 1 first."""
        features: float = Field(default=1.0, ge=0)
        """Weight of the features."""
        valence: float = Field(default=0.0, ge=0)
        """Weight of the absolute difference of valence."""
        arousal: float = Field(default=0.0, ge=0)
        """Weight of the absolute difference of arousal."""
        expression: float = Field(default=0.0, ge=0)
        """Weight of the mean absolute difference of the class scores before softmax."""

        @model_validator(mode="after")
        def _compare_something(self) -> "EmotionConsistency.Params":
            if not any(getattr(self, name) for name in self.compared):
                raise ValueError(f"one of the weights {', '.join(self.compared)} must be above 0")
            return self

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"emotion_of_input", "emotion_of_rendering"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        seen = self.need(capture.emotion_of_rendering, "the emotion of the rendering")
        return self.compare(seen, self.need(capture.emotion_of_input, "the emotion of the input"))

    def compare(self, seen: EmotionPrediction, wanted: EmotionPrediction) -> Float[Tensor, ""]:
        """The weighted sum of all distances; no gradient reaches ``wanted``."""
        return torch.stack(self._terms(seen, wanted)).sum()

    def _terms(self, seen: EmotionPrediction, wanted: EmotionPrediction) -> list[Float[Tensor, ""]]:
        terms = [self._compare_features(seen, wanted)] if self.params.features else []
        for output, field in (("valence", "valence"), ("arousal", "arousal"), ("expression", "logits")):
            if weight := getattr(self.params, output):
                lacking = f"a backbone that predicts {output}: set its weight to 0"
                a, b = (self.need(getattr(one, field), lacking) for one in (seen, wanted))
                terms.append(weight * (a - b.detach()).abs().mean())
        return terms

    def _compare_features(self, seen: EmotionPrediction, wanted: EmotionPrediction) -> Float[Tensor, ""]:
        name = self.params.feature or next(iter(seen.features))
        if name not in seen.features:
            raise unknown_name("feature of the emotion backbone", name, seen.features)
        a, b = seen.features[name].flatten(1), wanted.features[name].detach().flatten(1)
        if self.params.normalise:
            a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        return self.params.features * _METRICS[self.params.metric](a, b)


def barlow_twins(a: Float[Tensor, "B D"], b: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Features correlate with themselves across the two, and not with each other; over the batch of all processes.

    Source: Zbontar et al., Barlow Twins, ICML 2021.
    """
    a, b = _standardised(gather_batch(a)), _standardised(gather_batch(b))
    correlation = a.T @ b / len(a)
    diagonal = correlation.diagonal()
    redundancy = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + REDUNDANCY_WEIGHT * redundancy


def _standardised(values: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    centred = values - values.mean(0)
    return centred / (centred.square().mean(0) + 1e-5).sqrt()  # as batch normalisation does


def _cosine(a: Float[Tensor, "B D"], b: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    return (1 - F.cosine_similarity(a, b, dim=1)).mean()


def _euclidean(a: Float[Tensor, "B D"], b: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    return (a - b).norm(dim=1).mean()


_METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"l1": F.l1_loss, "l2": F.mse_loss, "euclidean": _euclidean, "cosine": _cosine, "barlow_twins": barlow_twins}
)
