"""Estimated landmarks beside the detected ones."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.errors import unknown_name
from emoca_core.interfaces import Capture

LandmarkSet = Literal["ibug68", "mediapipe478"]


def landmark_pairs(
    capture: Capture, name: LandmarkSet
) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L 2"], Bool[Tensor, "B L"]]:
    """Estimated and detected points, and which can be compared.

    A detected point that is not finite was not seen. A face model may have some points of the set only, as FLAME has
    105 of MediaPipe's 478.

    Returns:
        NDC of the crop, x right and y down. Points that cannot be compared are zero in the second.

    Raises:
        UnknownNameError: The photos or the face model have no such landmarks.
    """
    if name not in capture.crop.landmarks:
        raise unknown_name("landmark set of these photos", name, capture.crop.landmarks)
    detected = capture.crop.landmarks[name]
    estimated, modelled = _estimated(capture, name, detected)
    seen = detected.isfinite().all(-1) & modelled
    return estimated, detected.where(seen[..., None], 0.0), seen


def _estimated(
    capture: Capture, name: LandmarkSet, detected: Float[Tensor, "B L 2"]
) -> tuple[Float[Tensor, "B L 2"], Bool[Tensor, "B L"]]:
    """The face model's points in the order of the whole set, and which of them it has; the others are zero."""
    modelled = torch.ones_like(detected[..., 0], dtype=torch.bool)
    part = (capture.partial_landmarks or {}).get(name)
    if part is None or (capture.geometry and name in capture.geometry.landmarks):
        return capture.projected_landmarks(name), modelled
    points = capture.projected_landmarks(part[0])
    whole = points.new_zeros(detected.shape).index_copy(1, part[1], points)
    return whole, torch.zeros_like(modelled).index_fill(1, part[1], True)
