"""What a landmarker promises."""

from dataclasses import replace

import numpy as np

from emoca_core.interfaces import Detection, Landmarker
from emoca_core.testing.common import Subject


def check(subject: Subject[Landmarker]) -> None:
    """Well-formed, repeatable detections, largest first; a photo without a face, or of one pixel, is no error."""
    landmarker = subject.component
    grey = np.full((120, 160, 3), 128, np.uint8)
    photos = {"a grey photo": grey, "one pixel": grey[:1, :1].copy(), "a narrow photo": grey[:, :3].copy()}
    if subject.sample is not None:
        photos["the sample photo"] = subject.sample
    for what, photo in photos.items():
        before = photo.copy()
        faces = landmarker.detect(photo)
        subject.require(np.array_equal(photo, before), f"{what}: must not change the photo")
        subject.require(isinstance(faces, list), f"{what}: must return a list, empty when there is no face")
        for face in faces:
            _check_detection(subject, face, photo.shape[:2], what)
        areas = [_area(face) for face in faces]
        subject.require(areas == sorted(areas, reverse=True), f"{what}: the largest face must come first")
        subject.require_same(landmarker.detect(photo), faces, 0.0, f"{what}: must give the same result twice")
        again = [replace(face, movement=None, second_opinion=None) for face in landmarker.look_again(photo, faces)]
        subject.require_same(again, faces, 0.0, f"{what}: look_again may only say movement and second_opinion")
        subject.require(landmarker.explain_no_face(photo).strip(), f"{what}: explain_no_face must say something")
    if subject.sample is not None:
        subject.require(faces, "must find the face of the sample photo")


def _check_detection(subject: Subject[Landmarker], face: object, size: tuple[int, ...], what: str) -> None:
    subject.require(isinstance(face, Detection), f"{what}: must return Detection objects")
    assert isinstance(face, Detection)
    x0, y0, x1, y1 = face.box
    subject.require(x0 < x1 and y0 < y1, f"{what}: the box must be x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    subject.require(0 <= face.score <= 1, f"{what}: the score {face.score} is not in [0, 1]")
    subject.require("ibug68" in face.landmarks, f"{what}: the 68 iBUG landmarks must always be there")
    subject.require(face.landmarks["ibug68"].shape == (68, 2), f"{what}: ibug68 must be 68 points")
    for name, points in face.landmarks.items():
        subject.require(np.isfinite(points).all(), f"{what}: {name} must be finite")
        reach = 2 * max(size)  # faces may be cut by the border, and points are then estimated outside
        subject.require(np.abs(points).max() <= reach, f"{what}: {name} must be in pixels of the photo")
    _check_sides(subject, face.landmarks["ibug68"], what)
    scores = face.blendshapes
    subject.require(
        scores is None or (scores.shape == (52,) and scores.min() >= 0 and scores.max() <= 1),
        f"{what}: blendshapes must be 52 activations in [0, 1]",
    )


def _check_sides(subject: Subject[Landmarker], points: np.ndarray, what: str) -> None:
    """Whatever the roll of the head: seen from the right eye, the left one is anticlockwise of the mouth."""
    right, left, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0)
    across, down = left - right, mouth - right
    turn = across[0] * down[1] - across[1] * down[0]
    subject.require(turn > 0, f"{what}: left and right are exchanged; points 36-41 are the subject's right eye")


def _area(face: Detection) -> float:
    x0, y0, x1, y1 = face.box
    return float((x1 - x0) * (y1 - y0))
