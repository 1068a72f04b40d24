"""Projected landmarks against the detected ones."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture, Loss
from emoca_core.interfaces.global_batch import ratio_of_batch
from emoca_core.vocabulary.landmark_sets import LANDMARK_COUNT
from emoca_plugins.losses.observed_landmarks import LandmarkSet, landmark_pairs

_PUBLISHED = (
    ((5, 6, 10, 11), 2.0),  # corners of the jaw
    (range(27, 36), 1.5),  # nose
    ((30, 31, 35), 3.0),  # its tip and wings
    (range(48, 68), 1.5),  # lips
    ((48, 54), 3.0),  # their corners
)
"""Weights of iBUG points; all others have 1."""


class LandmarkReprojection(Loss):
    """Weighted mean of the distance per coordinate: sum w (|dx| + |dy|) / (2 sum w), over all points of the batch.

    NDC of the crop, so that 1 is half its side. A detected point that is not finite counts as not seen; a batch
    without any seen point gives 0. The weights are never applied to the batch itself, as the public code does, where
    a second pass squares them.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1, landmark re-projection loss, and its public code; for
    MediaPipe's points EMOCA v2's public code, which has no weights.
    """

    class Params(ComponentParams):
        landmarks: LandmarkSet = "ibug68"
        """Which points; the photos and the face model must have them."""
        weights: Literal["published", "uniform"] = "published"
        """``published``: DECA's, which has them for ``ibug68`` only."""

        @model_validator(mode="after")
        def _have_weights(self) -> "LandmarkReprojection.Params":
            if self.weights == "published" and self.landmarks != "ibug68":
                raise ValueError("published weights exist for ibug68 only: set weights: uniform")
            return self

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"geometry"})
    weights: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        weights = torch.ones(LANDMARK_COUNT[self.params.landmarks])
        if self.params.weights == "published":
            for points, weight in _PUBLISHED:
                weights[list(points)] = weight
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        estimated, detected, seen = landmark_pairs(capture, self.params.landmarks)
        distance = (estimated - detected).abs().sum(-1)
        weights = seen * self.weights
        return ratio_of_batch((weights * distance).sum(), 2 * weights.sum())
