"""Heads in profile: MediaPipe's detector sees them, its mesh refuses most, and some of what it refuses is right."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.images.warp import square_to_image
from emoca_core.interfaces import Detection
from emoca_plugins.landmarkers.face_search import Candidate, Pyramid
from emoca_plugins.landmarkers.mediapipe_meshes import meshes_in
from emoca_plugins.landmarkers.mediapipe_tasks import CROP_MARGIN, CROP_SIZE, faces_of

_MARGINS = (CROP_MARGIN, 1.6)
"""Sides of the crops that are tried, in units of the detector's box."""
_EYES = ((33, 133), (263, 362))
_NOSE, _MOUTH = (1,), (13, 14)
"""Points of the mesh whose middle is the right and the left eye, the tip of the nose, the mouth."""
_AGREES, _ELSEWHERE = 0.09, 0.25
"""How far mesh and detector may disagree, in units of the detector's box: where MediaPipe would refuse the mesh, and
where it takes one, which may sit on a cheek. Measured: docs/landmark-fit.md."""


def face_in_profile(task: Any, photo: Pyramid, head: Candidate) -> Detection | None:
    """The landmarks of a head in profile, if they lie where the detector saw nose, mouth and the nearer eye.

    Args:
        task: Of ``create_lenient_task``.
        photo: Where it is.
        head: What the detector found.
    """
    found = [(_disagreement(face, head), face) for face in _meshes(task, photo, head)]
    apart, face = min(found, key=lambda pair: pair[0], default=(np.inf, None))
    return face if apart <= _AGREES else None


def is_elsewhere(face: Detection, head: Candidate) -> bool:
    """Whether a head in profile was given a mesh that lies on another part of it."""
    return head.is_profile and _disagreement(face, head) > _ELSEWHERE


def _meshes(task: Any, photo: Pyramid, head: Candidate) -> Iterator[Detection]:
    """What the mesh makes of some crops; how a head in profile is tilted, eyes so close to each other hardly tell."""
    for roll in (head.roll, 0.0):
        for margin in _MARGINS:
            to_photo = square_to_image(head.centre, margin * head.side, CROP_SIZE, roll)
            yield from faces_of(meshes_in(photo.cut(to_photo, CROP_SIZE), task), to_photo, head.score, roll)


def _disagreement(face: Detection, head: Candidate) -> float:
    """Of nose, mouth and the eye that agrees better; nothing where the detector was not asked for them."""
    if head.marks is None:
        return 0.0
    mesh = face.landmarks["mediapipe478"]
    right, left, nose, mouth = (
        _apart(mesh, points, mark) for points, mark in zip((*_EYES, _NOSE, _MOUTH), head.marks, strict=True)
    )
    return max(min(right, left), nose, mouth) / head.side


def _apart(mesh: Float[ndarray, "478 2"], points: Sequence[int], mark: Float[ndarray, "2"]) -> float:
    return float(np.linalg.norm(mesh[list(points)].mean(axis=0) - mark))
