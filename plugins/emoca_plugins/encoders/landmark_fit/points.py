"""Which detected points a face model can explain, and how much each of them counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emoca_core.errors import EmocaError
from emoca_core.interfaces import FaceCrop
from emoca_core.vocabulary.landmark_sets import (
    IBUG68,
    IBUG68_EYELID_PAIRS,
    IBUG68_LIP_PAIRS,
    LANDMARK_COUNT,
    MEDIAPIPE,
    MEDIAPIPE_EYELID_PAIRS,
    MEDIAPIPE_LIP_PAIRS,
)

FEWEST_POINTS = 12
"""A face with fewer usable points is refused."""

_DENSE_SETS = ("mediapipe478", "mediapipe468")
_DENSE_WEIGHT, _SPARSE_WEIGHT, _PAIR_WEIGHT = 70.0, 40.0, 40.0
"""Total weight of a set, in independent points: the errors of neighbouring points are alike."""
_DENSE_STRIDE = 3  # one in so many of the points between the features (cheeks, forehead) is enough
_DENSE_EMPHASIS = {
    "contour": 0.7,
    "right_brow": 2.0,
    "left_brow": 2.0,
    "right_eye": 3.0,
    "left_eye": 3.0,
    "outer_lips": 3.0,
    "inner_lips": 3.0,
    "nose": 1.5,
    "right_iris": 8.0,
    "left_iris": 8.0,
}
_SPARSE_EMPHASIS = {"contour": 0.4, "inner_lips": 1.5, "right_eye": 1.5, "left_eye": 1.5}
_OPEN_EYE = 0.20  # gap over width of an eye that shows its iris
_FAR_CONTOUR = 0.25  # weight left to the contour of a head in profile, where detectors and models disagree about it
_IRISES = {468: (33, 133, 159, 145), 473: (263, 362, 386, 374)}  # first iris point: corners and lids of its eye


@dataclass(frozen=True)
class _Selection:
    """The points of one landmark set that take part.

    Attributes:
        index: Their numbers in the set, ascending.
        weight: How much each counts; sums to 1.
        contour: Which of them lie on the outline of the face.
        pairs: Positions in ``index`` of lids and lips above one another.
    """

    index: Int[Tensor, "n"]
    weight: Float[Tensor, "n"]
    contour: Bool[Tensor, "n"]
    pairs: Int[Tensor, "K 2"]


@dataclass(frozen=True)
class Targets:
    """Detected points beside the places of the same points among a model's landmarks.

    Attributes:
        points: Detected points, NDC; zero where missing.
        weight: How much each counts, in independent points; zero where missing.
        contour: Which of them lie on the outline of the face.
        sources: Landmark set of the model and which of its points are used, in the order of ``points``.
        pairs: Indices of points whose distance from one another matters by itself: lids and lips.
        pair_weight: How much each pair counts.
        size: Typical distance of a point from the middle of its face, in pixels.
    """

    points: Float[Tensor, "B N 2"]
    weight: Float[Tensor, "B N"]
    contour: Bool[Tensor, "N"]
    sources: tuple[tuple[str, Int[Tensor, "n"]], ...]
    pairs: Int[Tensor, "K 2"]
    pair_weight: Float[Tensor, "B K"]
    size: Float[Tensor, "B"]

    def of(self, landmarks: Mapping[str, Float[Tensor, "B _ 3"]]) -> Float[Tensor, "B N 3"]:
        """The same points among a model's landmarks."""
        return torch.cat([landmarks[name].index_select(1, index) for name, index in self.sources], dim=1)

    def contour_factor(self, turned: Float[Tensor, "B"]) -> Float[Tensor, "B N"]:
        """Factor on the weights of heads that are turned by 0 (frontal) to 1 (profile)."""
        return 1 - (1 - _FAR_CONTOUR) * turned[:, None] * self.contour.to(turned.dtype)


def match_points(crop: FaceCrop, available: Mapping[str, int]) -> Targets:
    """Pair the detected points of a batch with a model's landmark sets and sizes; points not finite are missing.

    Raises:
        EmocaError: No common set, a set of unexpected size, or a face with too few usable points.
    """
    device = crop.image.device
    sets = _common_sets(crop, available)
    points, weights, contours, pairs, pair_weights = [], [], [], [], []
    sources: list[tuple[str, Tensor]] = []
    start = 0
    for detected, of_model, count, total in sets:
        chosen = _dense_selection(count) if of_model != "ibug68" else _sparse_selection()
        index, pair = chosen.index.to(device), chosen.pairs.to(device)
        everything = crop.landmarks[detected].to(crop.image.dtype)
        where = everything[:, index]
        finite = where.isfinite().all(-1)
        where = where.nan_to_num(0.0, 0.0, 0.0)
        weight = total * chosen.weight.to(where) * finite
        if of_model != "ibug68":
            weight = weight * _iris_confidence(everything, index)
        points.append(where)
        weights.append(weight)
        contours.append(chosen.contour.to(device))
        sources.append((of_model, index))
        pairs.append(pair + start)
        seen = finite[:, pair[:, 0]] & finite[:, pair[:, 1]]
        pair_weights.append(seen.to(where.dtype) * (_PAIR_WEIGHT / len(pair)))
        start += len(index)
    all_points, all_weights = torch.cat(points, dim=1), torch.cat(weights, dim=1)
    return Targets(
        points=all_points,
        weight=all_weights,
        contour=torch.cat(contours),
        sources=tuple(sources),
        pairs=torch.cat(pairs),
        pair_weight=torch.cat(pair_weights, dim=1),
        size=_face_size(all_points, all_weights > 0, crop.size),
    )


def _common_sets(crop: FaceCrop, available: Mapping[str, int]) -> list[tuple[str, str, int, float]]:
    """Detected set, the model's set, number of common points, total weight.

    Dense points say all that sparse ones do, and sit on the same places of every face: iBUG's are taken without them.
    """
    sets: list[tuple[str, str, int, float]] = []
    detected = next((name for name in _DENSE_SETS if name in crop.landmarks), None)
    of_model = next((name for name in _DENSE_SETS if name in available), None)
    if detected and of_model:
        sets.append((detected, of_model, min(LANDMARK_COUNT[detected], LANDMARK_COUNT[of_model]), _DENSE_WEIGHT))
    elif "ibug68" in crop.landmarks and "ibug68" in available:
        sets.append(("ibug68", "ibug68", LANDMARK_COUNT["ibug68"], _SPARSE_WEIGHT))
    for name, model_name, _, _ in sets:
        sizes = (
            (crop.landmarks[name].shape[1], LANDMARK_COUNT[name]),
            (available[model_name], LANDMARK_COUNT[model_name]),
        )
        if any(found != expected for found, expected in sizes):
            raise EmocaError(
                f"landmark_fit: '{name}' of the crop has {sizes[0][0]} points and should have {sizes[0][1]}; "
                f"'{model_name}' of the face model has {sizes[1][0]} and should have {sizes[1][1]}."
            )
    if not sets:
        raise EmocaError(
            f"landmark_fit: the crop has the landmark sets {sorted(crop.landmarks) or 'none'}, the face model has "
            f"{sorted(available)}: none in common. A landmarker such as 'mediapipe' gives ibug68 and mediapipe478."
        )
    return sets


@cache
def _dense_selection(count: int) -> _Selection:
    emphasis = torch.zeros(478)
    emphasis[torch.arange(0, 468, _DENSE_STRIDE)] = _DENSE_STRIDE
    for feature, value in _DENSE_EMPHASIS.items():
        emphasis[MEDIAPIPE[feature].tolist()] = value
    pairs = [*MEDIAPIPE_EYELID_PAIRS.tolist(), *MEDIAPIPE_LIP_PAIRS.tolist()]
    return _select(emphasis[:count], MEDIAPIPE["contour"].tolist(), pairs)


@cache
def _sparse_selection() -> _Selection:
    emphasis = torch.ones(68)
    for feature, value in _SPARSE_EMPHASIS.items():
        emphasis[IBUG68[feature].tolist()] = value
    pairs = [*IBUG68_EYELID_PAIRS.tolist(), *IBUG68_LIP_PAIRS.tolist()]
    return _select(emphasis, IBUG68["contour"].tolist(), pairs)


def _select(emphasis: Float[Tensor, "L"], contour: list[int], pairs: list[list[int]]) -> _Selection:
    index = torch.nonzero(emphasis)[:, 0]
    position = torch.full_like(emphasis, -1, dtype=torch.long)
    position[index] = torch.arange(len(index))
    on_contour = torch.zeros_like(emphasis, dtype=torch.bool)
    on_contour[contour] = True
    return _Selection(index, emphasis[index] / emphasis.sum(), on_contour[index], position[torch.tensor(pairs)])


def _iris_confidence(points: Float[Tensor, "B L 2"], index: Int[Tensor, "n"]) -> Float[Tensor, "B n"]:
    """0 for the irises of closed eyes: behind a lid they are a guess of the detector's. 1 for all other points."""
    confidence = torch.ones_like(points[..., 0])
    for first, (outer, inner, upper, lower) in _IRISES.items():
        gap = (points[:, upper] - points[:, lower]).norm(dim=-1)
        width = (points[:, outer] - points[:, inner]).norm(dim=-1)
        openness = (gap / width.clamp_min(1e-6) / _OPEN_EYE).clamp(0, 1).square()
        confidence[:, first : first + 5] = openness.nan_to_num(0.0)[:, None]
    return confidence[:, index]


def _face_size(points: Float[Tensor, "B N 2"], seen: Bool[Tensor, "B N"], size: tuple[int, int]) -> Float[Tensor, "B"]:
    """Root mean square distance of the seen points from their mean, pixels.

    Raises:
        EmocaError: A face with too few points, or with all of them in one place.
    """
    counts = seen.sum(1)
    height, width = size
    px = points * points.new_tensor([width / 2, height / 2])
    weight = seen.to(points.dtype)[..., None] / counts.clamp_min(1)[:, None, None]
    middle = (weight * px).sum(1, keepdim=True)
    radius = (weight * (px - middle).square()).sum((1, 2)).sqrt()
    for i, (count, extent) in enumerate(zip(counts.tolist(), radius.tolist(), strict=True)):
        if count < FEWEST_POINTS:
            raise EmocaError(
                f"landmark_fit: face {i} of the batch has {count} finite landmarks; {FEWEST_POINTS} are needed."
            )
        if not 1.0 <= extent < 1e6:
            raise EmocaError(
                f"landmark_fit: the landmarks of face {i} of the batch span {extent:.3g} px around their middle; "
                "they are not the landmarks of a face in this crop."
            )
    return radius
