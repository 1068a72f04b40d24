"""Distances between landmarks of one face: how far it is open, not where it is."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.interfaces import Capture, Loss
from emoca_plugins.losses.distances import safe_norm
from emoca_plugins.losses.observed_landmarks import LandmarkSet, landmark_pairs


class RelativeLandmarkLoss(Loss):
    """Mean | ||p_a - p_b|| - ||g_a - g_b|| | over pairs (a, b) of estimated points p and detected points g.

    NDC of the crop. A pair with a point that was not detected does not count; without any pair the term is 0. The
    gradient is zero, not NaN, where the points of a pair coincide.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"geometry"})
    pairs: Tensor

    def use_pairs(self, pairs: Int[np.ndarray, "P 2"]) -> None:
        """Compare these pairs of points."""
        self.register_buffer("pairs", torch.from_numpy(pairs.copy()), persistent=False)

    def compare(self, capture: Capture, landmarks: LandmarkSet) -> Float[Tensor, ""]:
        """The term for a batch."""
        estimated, detected, seen = landmark_pairs(capture, landmarks)
        first, second = self.pairs.unbind(-1)
        opened = safe_norm(estimated[:, first] - estimated[:, second])
        wanted = safe_norm(detected[:, first] - detected[:, second])
        both = seen[:, first] & seen[:, second]
        return (both * (opened - wanted).abs()).sum() / both.sum().clamp(min=1)
