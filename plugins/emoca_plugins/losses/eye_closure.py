"""How far the eyes are open."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture
from emoca_core.landmarks import IBUG68_EYELID_PAIRS, MEDIAPIPE_EYELID_PAIRS, MEDIAPIPE_EYELID_PAIRS_UPSTREAM
from emoca_plugins.losses.observed_landmarks import LandmarkSet
from emoca_plugins.losses.relative_landmarks import RelativeLandmarkLoss

_PAIRS = {
    ("ibug68", "corrected"): IBUG68_EYELID_PAIRS,
    ("ibug68", "upstream"): IBUG68_EYELID_PAIRS,
    ("mediapipe478", "corrected"): MEDIAPIPE_EYELID_PAIRS,
    ("mediapipe478", "upstream"): MEDIAPIPE_EYELID_PAIRS_UPSTREAM,
}


class EyeClosure(RelativeLandmarkLoss):
    """Distance between upper and lower lid, estimated against detected; NDC of the crop.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1, eye closure loss, and its public code; MediaPipe's pairs
    from EMOCA v2's public code; spec: section 2.9.
    """

    class Params(ComponentParams):
        landmarks: LandmarkSet = "ibug68"
        """Which points; the photos and the face model must have them."""
        pairs: Literal["corrected", "upstream"] = "corrected"
        """``upstream`` pairs MediaPipe's points as EMOCA v2's released code does, which sorts both lids independently:
        ten of its fourteen pairs do not lie above one another. For ``ibug68`` both are the same."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.use_pairs(_PAIRS[self.params.landmarks, self.params.pairs])

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        return self.compare(capture, self.params.landmarks)
