"""How far the eyes are open."""

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int

from emoca_core.vocabulary.landmark_sets import (
    IBUG68_EYELID_PAIRS,
    MEDIAPIPE_EYELID_PAIRS,
    MEDIAPIPE_EYELID_PAIRS_UPSTREAM,
)
from emoca_plugins.losses.relative_landmarks import RelativeLandmarkLoss


class EyeClosure(RelativeLandmarkLoss):
    """Distance between upper and lower lid, estimated against detected; NDC of the crop.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1, eye closure loss, and its public code; MediaPipe's pairs
    from EMOCA v2's public code.
    """

    class Params(RelativeLandmarkLoss.Params):
        pairs: Literal["corrected", "upstream"] = "corrected"
        """``upstream`` pairs MediaPipe's points as EMOCA v2's released code does, which sorts both lids independently:
        ten of its fourteen pairs do not lie above one another. For ``ibug68`` both are the same."""

    params: Params
    tables: ClassVar = {"ibug68": IBUG68_EYELID_PAIRS, "mediapipe478": MEDIAPIPE_EYELID_PAIRS}
    upstream: ClassVar = {**tables, "mediapipe478": MEDIAPIPE_EYELID_PAIRS_UPSTREAM}

    def chosen_pairs(self) -> Int[np.ndarray, "P 2"]:
        tables = {"corrected": self.tables, "upstream": self.upstream}[self.params.pairs]
        return tables[self.params.landmarks]
