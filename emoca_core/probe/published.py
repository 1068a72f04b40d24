"""Numbers of the EMOCA paper, to be shown beside measured ones. They are facts of the paper, not results of this code.

Source: Danecek et al., "EMOCA: Emotion Driven Monocular Face Capture and Animation", CVPR 2022, AFEW-VA, 5-fold
cross-validation.
"""

from collections.abc import Mapping

SOURCE = "Danecek et al., EMOCA, CVPR 2022 with supplementary, AFEW-VA, 5-fold cross-validation"
"""Where the numbers are from."""
AFEW_VA: Mapping[str, Mapping[str, float]] = {
    "EMOCA with detail": {"valence_pcc": 0.68, "valence_ccc": 0.65},
    "EMOCA": {"valence_pcc": 0.65, "valence_ccc": 0.63},
    "Deep3DFace": {"valence_pcc": 0.64, "valence_ccc": 0.59},
    "EmoNet": {"valence_pcc": 0.59, "valence_ccc": 0.54},
    "DECA": {"valence_pcc": 0.57, "valence_ccc": 0.53},
    "MGCNet": {"valence_pcc": 0.54, "valence_ccc": 0.50},
    "3DDFA-V2": {"valence_pcc": 0.41, "valence_ccc": 0.38},
    "ExpNet": {"valence_pcc": 0.31, "valence_ccc": 0.25},
}
"""Metrics by method, best first."""
