"""How wide the mouth is."""

from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture
from emoca_core.landmarks import IBUG68_MOUTH_CORNER_PAIRS, MEDIAPIPE_MOUTH_CORNER_PAIRS
from emoca_plugins.losses.observed_landmarks import LandmarkSet
from emoca_plugins.losses.relative_landmarks import RelativeLandmarkLoss

_PAIRS = {"ibug68": IBUG68_MOUTH_CORNER_PAIRS, "mediapipe478": MEDIAPIPE_MOUTH_CORNER_PAIRS}


class LipCornerDistance(RelativeLandmarkLoss):
    """Distance between the corners of the outer and of the inner lips, estimated against detected; NDC of the crop.

    Source: EMOCA (Danecek et al., CVPR 2022), lip corner loss, and its public code (which weighs it by the
    weight of the mouth closure); MediaPipe's pairs from EMOCA v2's; spec: section 2.9.
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
