"""How far the mouth is open."""

from typing import ClassVar

from emoca_core.vocabulary.landmark_sets import IBUG68_LIP_PAIRS, MEDIAPIPE_LIP_PAIRS
from emoca_plugins.losses.relative_landmarks import RelativeLandmarkLoss


class MouthClosure(RelativeLandmarkLoss):
    """Distance between upper and lower inner lip, estimated against detected; NDC of the crop.

    Source: EMOCA (Danecek et al., CVPR 2022), mouth closure loss, and its public code; MediaPipe's pairs
    from EMOCA v2's.
    """

    tables: ClassVar = {"ibug68": IBUG68_LIP_PAIRS, "mediapipe478": MEDIAPIPE_LIP_PAIRS}
