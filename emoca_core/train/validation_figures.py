"""How far a capture is from photo and truth, one number per face: what validation reports.

None of them has a gradient; a measure whose inputs are missing is ``None``.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.interfaces import Capture, EmotionPrediction
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS

REGIONS: Mapping[str, tuple[str, ...]] = {
    "face": ("face",),
    "lips": ("lips",),
    "eyes": ("eyelids", "eye_region"),
    "brows": ("brows", "forehead"),
}
"""Reported region -> names of the vertex mask, the first that a face model has."""


def landmark_error(capture: Capture) -> Float[Tensor, "B"] | None:
    """Mean distance of the points that are seen from the photo's, divided by the distance of the outer eye corners.

    NaN where one of these corners is not seen (not finite).
    """
    detected = capture.crop.landmarks.get("ibug68")
    if detected is None or capture.geometry is None or capture.parameters.camera is None:
        return None
    distances = (capture.projected_landmarks() - detected).norm(dim=-1).nanmean(1)
    left, right = IBUG68_OUTER_EYE_CORNERS
    normalised: Tensor = distances / (detected[:, left] - detected[:, right]).norm(dim=-1)
    return normalised


def photometric_error(capture: Capture) -> Float[Tensor, "B"] | None:
    """Mean absolute difference of picture and photo inside the mask, over channels."""
    if capture.picture is None or capture.mask is None:
        return None
    difference = (capture.picture - capture.crop.image).abs().mean(1, keepdim=True)
    return (difference * capture.mask).sum((1, 2, 3)) / capture.mask.sum((1, 2, 3)).clamp(min=1)


def detail_photometric_error(capture: Capture) -> Float[Tensor, "B"] | None:
    """Mean absolute difference of texture and photo in UV space where a texel is seen, over channels."""
    if (maps := capture.detail_maps) is None:
        return None
    difference = (maps.texture - maps.observed_texture).abs().mean(1, keepdim=True)
    return (difference * maps.visibility).sum((1, 2, 3)) / maps.visibility.sum((1, 2, 3)).clamp(min=1)


def emotion_distance(seen: EmotionPrediction | None, other: EmotionPrediction | None) -> Float[Tensor, "B"] | None:
    """1 - cosine of the emotion backbone's default features in photo and picture: 0 same, 2 opposite."""
    if seen is None or other is None:
        return None
    name = next(iter(seen.features))
    a, b = seen.features[name].flatten(1), other.features[name].flatten(1)
    return 1 - torch.nn.functional.cosine_similarity(a, b, dim=1)


def expression_error(capture: Capture) -> Float[Tensor, "B"] | None:
    """Mean absolute difference of the expression coefficients from the true ones; absent ones are zero."""
    if capture.truth is None:
        return None
    estimated, true = capture.parameters.expression, capture.truth.parameters.expression
    if estimated is None or true is None:
        return None
    size = max(estimated.shape[1], true.shape[1])
    a, b = (torch.nn.functional.pad(code, (0, size - code.shape[1])) for code in (estimated, true))
    return (a - b).abs().mean(1)


def vertex_errors(
    capture: Capture, vertex_masks: Mapping[str, Bool[Tensor, "V"]]
) -> dict[str, Float[Tensor, "B"]] | None:
    """Mean distance of the vertices from the true ones by region, millimetres.

    The meshes are aligned rigidly over the face first (not scaled), so that head pose does not count.

    Args:
        capture: With truth.
        vertex_masks: Those of the face model; the whole mesh is the face where it names none.
    """
    if capture.truth is None or capture.geometry is None:
        return None
    estimated, true = capture.geometry.vertices, capture.truth.geometry.vertices
    if estimated.shape != true.shape:
        return None
    whole = torch.ones(estimated.shape[1], dtype=torch.bool, device=estimated.device)
    face = vertex_masks.get("face", whole)
    distances = (rigidly_aligned(estimated, true, face) - true).norm(dim=-1) * 1000
    regions = {region: _first(vertex_masks, names) for region, names in REGIONS.items()} | {"face": face}
    return {region: distances[:, mask].mean(1) for region, mask in regions.items() if mask is not None}


def rigidly_aligned(
    points: Float[Tensor, "B V 3"], target: Float[Tensor, "B V 3"], region: Bool[Tensor, "V"]
) -> Float[Tensor, "B V 3"]:
    """Points rotated and moved so that those of a region lie closest to the target's in the squared sense.

    Source: Kabsch, "A solution for the best rotation to relate two sets of vectors", Acta Crystallographica 1976.
    """
    from_points, to_points = points[:, region], target[:, region]
    centre, to_centre = from_points.mean(1, keepdim=True), to_points.mean(1, keepdim=True)
    covariance = (from_points - centre).mT @ (to_points - to_centre)
    u, _, vh = torch.linalg.svd(covariance.double())
    handedness = torch.ones_like(u[:, 0])
    handedness[:, 2] = torch.linalg.det(u @ vh).sign()  # a reflection is no rotation
    rotation = (u * handedness[:, None]) @ vh
    aligned: Tensor = (points - centre) @ rotation.to(points) + to_centre
    return aligned


def _first(masks: Mapping[str, Bool[Tensor, "V"]], names: tuple[str, ...]) -> Bool[Tensor, "V"] | None:
    return next((masks[name] for name in names if name in masks), None)
