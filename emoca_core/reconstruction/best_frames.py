"""Which frames tell most of who a person is: sharp, and different from one another."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS

_CANDIDATES = 2000
"""Frames that are looked at, evenly spaced: more add nothing new."""
_SHARP = 0.5
"""Share of the candidates, the best by sharpness, size and score, among which frames are chosen."""


def best_frames(
    landmarks: Float[ndarray, "N 68 2"],
    sharpness: Float[ndarray, "N"],
    scores: Float[ndarray, "N"],
    count: int,
) -> Int[ndarray, "K"]:
    """Choose frames of one person: the best first, then always the one that differs most from all before.

    Faces differ by their 68 points in units of the distance of the outer eye corners: by how the head is turned, and
    by what the face does.

    Args:
        landmarks: Pixels.
        sharpness: Of the faces, any unit.
        scores: Of the landmarker; frames of 0 are never chosen.
        count: Choose at most so many.

    Returns:
        Their numbers, growing.
    """
    found = np.flatnonzero(scores > 0)
    found = found[np.linspace(0, len(found) - 1, min(len(found), _CANDIDATES)).astype(int)]
    corners = landmarks[found][:, IBUG68_OUTER_EYE_CORNERS]
    size = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1)
    quality = sharpness[found] * scores[found] * np.sqrt(size)
    order = np.argsort(-quality)[: max(count, round(_SHARP * len(found)))]
    points = landmarks[found[order]]
    shapes = ((points - points.mean(1, keepdims=True)) / size[order, None, None]).reshape(len(order), -1)
    chosen, distance = [0], np.full(len(order), np.inf)
    while len(chosen) < min(count, len(order)):
        distance = np.minimum(distance, np.linalg.norm(shapes - shapes[chosen[-1]], axis=1))
        distance[chosen[-1]] = -1
        chosen.append(int(distance.argmax()))
    return np.sort(found[order[chosen]])
