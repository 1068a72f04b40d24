"""How far the mouth is open."""

from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture
from emoca_core.landmarks import IBUG68_LIP_PAIRS, MEDIAPIPE_LIP_PAIRS
from emoca_plugins.losses.observed_landmarks import LandmarkSet
from emoca_plugins.losses.relative_landmarks import RelativeLandmarkLoss

_PAIRS = {"ibug68": IBUG68_LIP_PAIRS, "mediapipe478": MEDIAPIPE_LIP_PAIRS}


class MouthClosure(RelativeLandmarkLoss):
    """Distance between upper and lower inner lip, estimated against detected; NDC of the crop.

    Source: EMOCA (Danecek et al., CVPR 2022), mouth closure loss, and its public code; MediaPipe's pairs
    from EMOCA v2's; spec: section 2.9.
    """

    class Params(ComponentParams):
        landmarks: LandmarkSet = "ibug68"
        """Which points; the photos and the face model must have them."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.use_pairs(_PAIRS[self.params.landmarks])

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        return self.compare(capture, self.params.landmarks)
