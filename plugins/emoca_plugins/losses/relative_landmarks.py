"""Distances between landmarks of one face: how far it is open, not where it is."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture, Loss
from emoca_core.interfaces.global_batch import ratio_of_batch
from emoca_plugins.losses.distances import safe_norm
from emoca_plugins.losses.observed_landmarks import LandmarkSet, landmark_pairs


class RelativeLandmarkLoss(Loss):
    """Mean | ||p_a - p_b|| - ||g_a - g_b|| | over pairs (a, b) of estimated points p and detected points g.

    NDC of the crop. A pair with a point that was not detected does not count; without any pair the term is 0. The
    gradient is zero, not NaN, where the points of a pair coincide.

    Attributes:
        tables: The pairs (a, b) in each set of landmarks.
    """

    class Params(ComponentParams):
        landmarks: LandmarkSet = "ibug68"
        """Which points; the photos and the face model must have them."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"geometry"})
    tables: ClassVar[Mapping[LandmarkSet, Int[np.ndarray, "P 2"]]]
    pairs: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.register_buffer("pairs", torch.from_numpy(self.chosen_pairs().copy()), persistent=False)

    def chosen_pairs(self) -> Int[np.ndarray, "P 2"]:
        """The pairs that the parameters ask for."""
        return self.tables[self.params.landmarks]

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        estimated, detected, seen = landmark_pairs(capture, self.params.landmarks)
        first, second = self.pairs.unbind(-1)
        opened = safe_norm(estimated[:, first] - estimated[:, second])
        wanted = safe_norm(detected[:, first] - detected[:, second])
        both = seen[:, first] & seen[:, second]
        return ratio_of_batch((both * (opened - wanted).abs()).sum(), both.sum())
