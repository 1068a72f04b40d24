"""MediaPipe's tasks: how they are made, what they are given, what they say."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.images.warp import transform_points
from emoca_core.interfaces import Detection
from emoca_core.late_imports import imported_when_used
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import mediapipe_to_ibug68
from emoca_plugins.landmarkers.mediapipe_meshes import Mesh, to_mediapipe
from emoca_plugins.landmarkers.model_bundle import DETECTOR, read_member

CROP_SIZE = 384
"""Side of the upright crop that landmarks are read from: MediaPipe's mesh network sees 256 pixels of its middle."""
CROP_MARGIN = 2.0
"""Its side in units of the detector's box."""

_FACES_IN_CROP = 2
_STRICT_PRESENCE = 0.95
"""Where the detector is less than sure, the landmarks must be: walls and cloth reach presence 0.8 but not this."""
_NOT_OURS = ("matplotlib", "matplotlib.pyplot", "cv2", "sounddevice")
"""What MediaPipe imports for drawing and for audio: most of the time that its own import takes."""


@dataclass(frozen=True)
class Options:
    """What tasks are made from.

    Attributes:
        bundle: MediaPipe's face_landmarker.task.
        min_score: Least confidence of the detector and of the landmarks' presence.
        usage_statistics: Let MediaPipe send its usage statistics to Google.
    """

    bundle: Path
    min_score: float
    usage_statistics: bool


@dataclass(frozen=True)
class Tasks:
    """The tasks for photos, of one process."""

    process: int
    detector: Any
    landmarker: Any
    strict_landmarker: Any

    @classmethod
    def create(cls, options: Options) -> "Tasks":
        """Load the networks."""
        vision = _vision()
        with native_log_kept_back():
            detector = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(
                    base_options=_base_options(read_member(options.bundle, DETECTOR), options.usage_statistics),
                    min_detection_confidence=options.min_score,
                )
            )
            strict = max(options.min_score, _STRICT_PRESENCE)
            landmarkers = (_landmarker(options, min_face_presence_confidence=p) for p in (options.min_score, strict))
            tasks = cls(os.getpid(), detector, *landmarkers)
            blank = to_mediapipe(np.zeros((64, 64, 3), np.uint8))
            for task in (tasks.detector, tasks.landmarker, tasks.strict_landmarker):
                task.detect(blank)  # what they log, they log at the first picture
        return tasks

    def close(self) -> None:
        """Let go of the networks, in the process that made them."""
        close_quietly(self.process, self.detector, self.landmarker, self.strict_landmarker)


def close_quietly(process: int, *tasks: Any) -> None:
    """Let go of tasks, in the process that made them."""
    if process == os.getpid():
        with native_log_kept_back():
            for task in tasks:
                task.close()


def create_video_task(options: Options) -> Any:
    """A task that follows one face: it detects it once, and then looks where it was.

    Source: ``RunningMode.VIDEO`` of MediaPipe's Face Landmarker.
    """
    with native_log_kept_back():
        return _landmarker(options, num_faces=1, running_mode=_vision().RunningMode.VIDEO)


def create_lenient_task(options: Options) -> Any:
    """A task that gives the mesh of whatever it is shown: of heads in profile, which the others do not take for faces.

    Whoever asks has to tell the right ones from the wrong.
    """
    with native_log_kept_back():
        task = _landmarker(options, min_face_presence_confidence=0.0)
        task.detect(to_mediapipe(np.zeros((64, 64, 3), np.uint8)))  # what it logs, it logs at the first picture
    return task


def faces_of(meshes: Sequence[Mesh], to_photo: Float[ndarray, "3 3"], score: float, roll: float) -> list[Detection]:
    """What a landmarking task found in a square crop of ``CROP_SIZE``.

    Args:
        meshes: Its result.
        to_photo: Pixel-centre transform, crop to photo.
        score: Confidence in [0, 1].
        roll: How far the crop was turned, radians.
    """
    faces = []
    for mesh in meshes:
        points = transform_points(to_photo, mesh.points * CROP_SIZE - 0.5)
        found = Detection(
            box=np.concatenate([points.min(0), points.max(0)]),
            score=score,
            landmarks={"mediapipe478": points, "ibug68": mediapipe_to_ibug68(points)},
            blendshapes=_arkit(mesh.scores),
            head_pose=_turned_back(mesh.pose, roll),
        )
        faces.append(found)
    return faces


def _vision() -> Any:
    with imported_when_used(*_NOT_OURS):
        from mediapipe.tasks.python import vision
    return vision


def _landmarker(options: Options, **more: Any) -> Any:
    vision = _vision()
    chosen = {"num_faces": _FACES_IN_CROP, "min_face_presence_confidence": options.min_score} | more
    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=_base_options(options.bundle.read_bytes(), options.usage_statistics),
            min_face_detection_confidence=options.min_score,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
            **chosen,
        )
    )


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


def _arkit(scores: Mapping[str, float]) -> Float[ndarray, "52"]:
    return np.array([scores.get(name, 0.0) for name in ARKIT_NAMES])  # MediaPipe does not know tongueOut


def _turned_back(matrix: Float[ndarray, "4 4"], roll: float) -> Float[ndarray, "4 4"]:
    """The head pose in the photo from that in a crop that was cut turned by ``roll``."""
    turn = np.eye(4)
    cos, sin = np.cos(roll), np.sin(roll)
    turn[:2, :2] = [[cos, sin], [-sin, cos]]  # clockwise, with y up
    pose: ndarray = turn @ matrix
    return pose


@contextmanager
def native_log_kept_back() -> Iterator[None]:
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
