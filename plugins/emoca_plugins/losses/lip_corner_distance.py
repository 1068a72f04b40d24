"""How wide the mouth is."""

from typing import ClassVar

from emoca_core.vocabulary.landmark_sets import IBUG68_MOUTH_CORNER_PAIRS, MEDIAPIPE_MOUTH_CORNER_PAIRS
from emoca_plugins.losses.relative_landmarks import RelativeLandmarkLoss


class LipCornerDistance(RelativeLandmarkLoss):
    """Distance between the corners of the outer and of the inner lips, estimated against detected; NDC of the crop.

    Source: EMOCA (Danecek et al., CVPR 2022), lip corner loss, and its public code (which weighs it by the
    weight of the mouth closure); MediaPipe's pairs from EMOCA v2's.
    """

    tables: ClassVar = {"ibug68": IBUG68_MOUTH_CORNER_PAIRS, "mediapipe478": MEDIAPIPE_MOUTH_CORNER_PAIRS}
