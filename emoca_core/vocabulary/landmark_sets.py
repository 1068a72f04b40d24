"""Index tables of the two landmark sets, ``ibug68`` and ``mediapipe478``: features, pairs, mirror images, conversion.

"Left" and "right" are the subject's. All indices are zero-based int64 arrays, to be treated as constants. Arrays of
points may be NumPy or torch, with points in the last but one dimension.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from emoca_core.errors import unknown_name

Points = TypeVar("Points")

IBUG68_OUTER_EYE_CORNERS = (36, 45)
"""Of the right and the left eye. Their distance is the unit in which errors of landmarks are said."""

LANDMARK_COUNT: Mapping[str, int] = MappingProxyType({"ibug68": 68, "mediapipe468": 468, "mediapipe478": 478})
"""Points of each set. ``mediapipe468`` is ``mediapipe478`` without the irises."""


def _table(values: Iterable[object]) -> Int[ndarray, "..."]:
    return np.array(list(values), dtype=np.int64)


def _groups(**groups: Iterable[int]) -> Mapping[str, Int[ndarray, " _"]]:
    return MappingProxyType({name: _table(indices) for name, indices in groups.items()})


# ---------------------------------------------------------------------------------------------------------- ibug68

IBUG68 = _groups(
    contour=range(0, 17),
    right_brow=range(17, 22),
    left_brow=range(22, 27),
    nose_bridge=range(27, 31),
    nose_base=range(31, 36),
    right_eye=range(36, 42),
    left_eye=range(42, 48),
    outer_lips=range(48, 60),
    inner_lips=range(60, 68),
)
"""Features of the 68 iBUG points.

Source: iBUG 300-W (Sagonas et al., ICCV Workshops 2013).
"""

IBUG68_EYELID_PAIRS = _table([(37, 41), (38, 40), (43, 47), (44, 46)])
"""Upper and lower lid, above one another."""

IBUG68_LIP_PAIRS = _table([(61, 67), (62, 66), (63, 65)])
"""Upper and lower inner lip, above one another."""

IBUG68_MOUTH_CORNER_PAIRS = _table([(48, 54), (60, 64)])
"""Right and left corner of the outer and of the inner lips."""

IBUG68_MIRROR = _table(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
        *(64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""Point ``i`` of a mirrored face is point ``IBUG68_MIRROR[i]`` of the face."""

# ---------------------------------------------------------------------------------------------------- mediapipe478

MEDIAPIPE = _groups(
    contour=(
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ),
    right_brow=(70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    left_brow=(300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    right_eye=(33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    left_eye=(263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    outer_lips=(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
    inner_lips=(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
    nose=(168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 64, 294, 48, 278),
    right_iris=range(468, 473),
    left_iris=range(473, 478),
)
"""Features of MediaPipe's mesh as closed or open lines. Eyes go from the outer corner over the upper lid; lips from the
right corner over the upper lip; the contour is the face oval from the top of the forehead towards the subject's left;
the first point of an iris is its centre.

Source: MediaPipe Face Mesh, canonical face model.
"""

MEDIAPIPE_EYELID_PAIRS = _table(
    [
        *[(398, 382), (384, 381), (385, 380), (386, 374), (387, 373), (388, 390), (466, 249)],
        *[(246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155)],
    ]
)
"""Upper and lower lid, above one another: seven pairs of the left eye, seven of the right.

Source: EMOCA v2, MediaPipe landmark losses, as intended there.
"""


def _sorted_apart(pairs: Int[ndarray, "_ 2"]) -> list[list[int]]:
    halves = [np.sort(half, axis=0) for half in np.split(pairs, 2)]
    return [list(map(int, pair)) for half in halves for pair in half]


MEDIAPIPE_EYELID_PAIRS_UPSTREAM = _table(_sorted_apart(MEDIAPIPE_EYELID_PAIRS))
"""The pairs that EMOCA v2's released code really compares: it sorts upper and lower points independently, so that only
four of the fourteen pairs lie above one another. For reproducing its numbers."""

MEDIAPIPE_LIP_PAIRS = _table(
    zip(
        (191, 80, 81, 82, 13, 312, 311, 310, 415),
        (95, 88, 178, 87, 14, 317, 402, 318, 324),
        strict=True,
    )
)
"""Upper and lower inner lip, above one another, from the right to the left corner.

Source: EMOCA v2, MediaPipe landmark losses.
"""

MEDIAPIPE_MOUTH_CORNER_PAIRS = _table([(78, 308), (61, 291)])
"""Right and left corner of the inner and of the outer lips.

Source: EMOCA v2, MediaPipe landmark losses.
"""

MEDIAPIPE_TO_IBUG68 = _table(
    [
        *(127, 234, 132, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 361, 454, 356),
        *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
        *(168, 197, 5, 4),
        *(240, 97, 2, 326, 460),
        *(33, 160, 158, 133, 153, 144),
        *(362, 385, 387, 263, 373, 380),
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
        *(78, 82, 13, 312, 308, 317, 14, 87),
    ]
)
"""The MediaPipe point that stands for each iBUG point.

Chosen once by measurement: of the points on the same line of the face (the jaw stays on the face oval, so that it
remains a silhouette), the one with the smallest median distance to a 68-point predictor trained on iBUG 300-W, over 405
near-frontal LFW faces; both sides alike. MediaPipe's oval runs at fixed places of the face: on a turned head the far
side of an iBUG contour follows the visible edge, and this one follows the cheek.
"""

_MEDIAPIPE_MIDLINE = (*range(3), *range(4, 7), *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
_MEDIAPIPE_IRIS_MIRROR = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)


def _mediapipe_mirror() -> Int[ndarray, "478"]:
    # The mesh numbers the right half in ascending order, then the left half (from 248) in the same order.
    mirror = np.arange(478)
    right = np.setdiff1d(np.arange(248), _MEDIAPIPE_MIDLINE)
    left = np.arange(248, 468)
    mirror[right], mirror[left] = left, right
    mirror[468:] = _MEDIAPIPE_IRIS_MIRROR
    return _table(mirror)


MEDIAPIPE_MIRROR = _mediapipe_mirror()
"""Point ``i`` of a mirrored face is point ``MEDIAPIPE_MIRROR[i]`` of the face; its first 468 entries serve
``mediapipe468``."""

# ------------------------------------------------------------------------------------------------------- functions

_MIRRORS: Mapping[str, Int[ndarray, " _"]] = MappingProxyType(
    {"ibug68": IBUG68_MIRROR, "mediapipe468": MEDIAPIPE_MIRROR[:468], "mediapipe478": MEDIAPIPE_MIRROR}
)


def mediapipe_to_ibug68(points: Points) -> Points:
    """The 68 iBUG points among MediaPipe's.

    Args:
        points: [..., 468, D] or [..., 478, D], NumPy or torch.

    Returns:
        [..., 68, D], of the same type.

    Example:
        >>> mediapipe_to_ibug68(np.zeros((478, 2))).shape
        (68, 2)
    """
    return points[..., MEDIAPIPE_TO_IBUG68, :]  # type: ignore[index]


def mirror_order(landmark_set: str) -> Int[ndarray, " L"]:
    """The permutation that renames the points of a face after its picture was mirrored.

    Flip the points' x first: ``mirrored = flipped[..., mirror_order(name), :]``.

    Raises:
        UnknownNameError: No such landmark set.
    """
    if landmark_set not in _MIRRORS:
        raise unknown_name("landmark set", landmark_set, _MIRRORS)
    return _MIRRORS[landmark_set]
