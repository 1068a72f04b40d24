"""Estimated landmarks beside the detected ones."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.errors import unknown_name
from emoca_core.interfaces import Capture

LandmarkSet = Literal["ibug68", "mediapipe478"]


def landmark_pairs(
    capture: Capture, name: LandmarkSet
) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L 2"], Bool[Tensor, "B L"]]:
    """Estimated and detected points, and which were detected: a point that is not finite was not.

    Returns:
        NDC of the crop, x right and y down. Points that were not detected are zero in the second.

    Raises:
        UnknownNameError: The photos or the face model have no such landmarks.
    """
    if name not in capture.crop.landmarks:
        raise unknown_name("landmark set of these photos", name, capture.crop.landmarks)
    estimated, detected = capture.projected_landmarks(name), capture.crop.landmarks[name]
    seen = detected.isfinite().all(-1)
    return estimated, detected.where(seen[..., None], 0.0), seen
