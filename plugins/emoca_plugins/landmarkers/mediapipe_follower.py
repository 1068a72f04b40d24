"""MediaPipe's video mode, one task for each face, behind the search that photos are searched with."""

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.images.warp import square_to_image
from emoca_core.images.window import cut_window, thinned
from emoca_core.interfaces import Detection, Follower
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS
from emoca_plugins.landmarkers.face_search import SURE, Pyramid
from emoca_plugins.landmarkers.mediapipe_meshes import Mesh, meshes_in
from emoca_plugins.landmarkers.mediapipe_tasks import (
    CROP_MARGIN,
    CROP_SIZE,
    Options,
    create_video_task,
    faces_of,
    native_log_kept_back,
)

Search = Callable[[Pyramid, Sequence[Detection], bool], list[Detection]]
"""Faces of a photo besides those that are known, largest first; thoroughly, or only at a glance."""
SecondLook = Callable[[Pyramid, Detection], float]
"""``Detection.movement`` of a face."""

_SEARCH_EVERY = 0.5
"""Seconds after which newcomers are looked for, and unsure faces are looked at again."""
_MISSED_EVERY = 0.2
"""Seconds between thorough searches while nobody is followed; at a glance, every frame is looked at."""
_STEP_MS = 10**6
"""So much time seems to pass between two frames that MediaPipe's low pass, which would make the landmarks late and
blinks shallow, lets everything through."""
_WANDERED, _GREW = 0.3, 1.35
"""How far a face may move in its window, in sizes of the face, and by which factor change its size."""
_UNSTEADY = 0.1
"""What moves so far at a second look is a wall or a letter (``Detection.movement``)."""
_JUMPED = 0.6
"""A face that moves farther from one frame to the next, in sizes of the face, is another one."""


_REPEATED = 0.12
"""Levels of 255 by which a window changes on average where a clip shows a frame twice: what compression leaves."""
_SOME = 3
"""One pixel of so many, along each axis, tells that."""


class MediaPipeFollower(Follower):
    """Follows every face in a window of its own, which stays where it is while the face stays in it.

    In a window MediaPipe looks where the face was in the frame before: no detector is run, and small, lying and large
    faces are the same to it. Whoever is lost is searched for as in a photo.
    """

    def __init__(self, options: Options, search: Search, second_look: SecondLook, faces: int) -> None:
        """Begin a clip.

        Args:
            options: What tasks are made from.
            search: Finds faces as in a photo.
            second_look: Tells faces from walls and letters.
            faces: At most so many are followed, the largest.
        """
        self._options, self._search, self._second_look, self._limit = options, search, second_look, faces
        self._followed: list[_FollowedFace] = []
        self._tasks: list[_VideoTask] = []
        self._idle: list[_VideoTask] = []
        self._searched = -np.inf
        self._close = weakref.finalize(self, _close, os.getpid(), self._tasks)

    def __exit__(self, *error: object) -> None:
        self._close()

    def detect(self, photo: UInt8[ndarray, "H W 3"], time: float) -> list[Detection]:
        seen: list[Detection] = []
        lost, due = False, time - self._searched >= _SEARCH_EVERY
        for face in list(self._followed):
            found = face.find(photo)
            if found is None or any(_same(found, other) for other in seen) or (due and not self._is_face(photo, found)):
                self._followed.remove(face)
                self._idle.append(face.task)
                lost = True
            else:
                seen.append(found)
        thorough = lost or due or (not seen and time - self._searched >= _MISSED_EVERY)
        if thorough:
            self._searched = time
        if len(seen) < self._limit and (thorough or not seen):
            found_now = self._search(Pyramid(photo), seen, thorough)[: self._limit - len(seen)]
            self._followed += [_FollowedFace(self._task(), one) for one in found_now if self._is_face(photo, one)]
            seen += found_now
        return sorted(seen, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))

    def _is_face(self, photo: UInt8[ndarray, "H W 3"], face: Detection) -> bool:
        """Whether it is worth following; where the detector was sure, it is."""
        return face.score >= SURE or self._second_look(Pyramid(photo), face) < _UNSTEADY

    def _task(self) -> "_VideoTask":
        if not self._idle:
            self._tasks.append(_VideoTask(create_video_task(self._options)))
            self._idle.append(self._tasks[-1])
        return self._idle.pop()


class _VideoTask:
    """A task with its clock."""

    def __init__(self, task: Any) -> None:
        self.task, self._now = task, 0

    def look(self, image: UInt8[ndarray, "S S 3"]) -> list[Mesh]:
        self._now += _STEP_MS
        return meshes_in(image, self.task, self._now)

    def forget(self) -> None:
        """Make it detect afresh: where nothing is to be seen, it loses what it followed."""
        self.look(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8))


class _FollowedFace:
    """One face, its task, and the window that the task sees."""

    def __init__(self, task: _VideoTask, face: Detection) -> None:
        self.task, self._last = task, face
        self._some: UInt8[ndarray, "s s 3"] | None = None
        self._open_window()

    def find(self, photo: UInt8[ndarray, "H W 3"]) -> Detection | None:
        """Where the face is in the next frame; ``None`` where it is lost."""
        import cv2

        window = cut_window(photo, self._to_photo, CROP_SIZE)
        some = thinned(window, _SOME)
        if self._some is not None and cv2.norm(some, self._some, cv2.NORM_L1) < _REPEATED * some.size:
            return self._last
        self._some = some
        found = faces_of(self.task.look(window), self._to_photo, self._last.score, self._roll)
        if not found or np.linalg.norm(_middle(found[0]) - _middle(self._last)) > _JUMPED * _side(self._last):
            return None
        self._last = found[0]
        away = np.linalg.norm(_middle(self._last) - self._centre) / self._side
        if away > _WANDERED or not 1 / _GREW < _side(self._last) / self._side < _GREW:
            self._open_window()
        return self._last

    def _open_window(self) -> None:
        right, left = self._last.landmarks["ibug68"][list(IBUG68_OUTER_EYE_CORNERS)]
        self._roll = float(np.arctan2(*(left - right)[::-1]))
        self._centre, self._side = _middle(self._last), _side(self._last)
        self._to_photo = square_to_image(self._centre, CROP_MARGIN * self._side, CROP_SIZE, self._roll)
        self._some = None
        self.task.forget()


def _middle(face: Detection) -> Float[ndarray, "2"]:
    middle: ndarray = (face.box[:2] + face.box[2:]) / 2
    return middle


def _side(face: Detection) -> float:
    return float(np.mean(face.box[2:] - face.box[:2]))


def _same(one: Detection, other: Detection) -> bool:
    return bool(np.linalg.norm(_middle(one) - _middle(other)) < 0.4 * _side(other))


def _close(process: int, tasks: Sequence[_VideoTask]) -> None:
    if process == os.getpid():
        with native_log_kept_back():
            for each in tasks:
                each.task.close()
