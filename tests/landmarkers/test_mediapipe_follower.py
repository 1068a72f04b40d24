"""Following faces through a clip: as good as photo by photo, one place for each face, and back when it is lost."""

from dataclasses import replace

import numpy as np
import pytest
from numpy import ndarray
from PIL import Image

from emoca_core.images.warp import rotation
from emoca_core.interfaces import Detection
from emoca_plugins.landmarkers.mediapipe import MediaPipeLandmarker

EYES = (33, 263)


@pytest.fixture(scope="module")
def landmarker() -> MediaPipeLandmarker:
    return MediaPipeLandmarker()


@pytest.fixture(scope="module")
def portrait() -> ndarray:
    return pytest.importorskip("skimage.data").astronaut()


def moved(portrait: ndarray, x: float, y: float, degrees: float = 0.0, scale: float = 1.0) -> ndarray:
    """The astronaut's face turned and scaled, its middle at (x, y) of a grey frame of 640 x 480."""
    turn = np.deg2rad(degrees)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    data = np.column_stack([back, np.array([224.0, 120.0]) - back @ np.array([x, y])])
    return np.asarray(
        Image.fromarray(portrait).transform(
            (640, 480), Image.Transform.AFFINE, data.ravel(), Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)
        )
    )


def error(one: Detection, other: Detection) -> float:
    points, expected = (each.landmarks["mediapipe478"] for each in (one, other))
    return float(np.linalg.norm(points - expected, axis=1).mean() / np.linalg.norm(np.subtract(*expected[list(EYES)])))


def follow(landmarker: MediaPipeLandmarker, frames: list[ndarray], faces: int | None = None) -> list[list[Detection]]:
    with landmarker.follow(faces) as follower:
        return [follower.detect(frame, number / 25) for number, frame in enumerate(frames)]


@pytest.mark.parametrize("degrees", [0.0, 80.0, 180.0])
def test_a_moving_face_is_where_a_photo_has_it(landmarker, portrait, degrees):
    """It wanders through the frame, turns and grows: the window has to go along; lying and hanging faces too."""
    frames = [moved(portrait, 150 + 14 * k, 220 - 3 * k, degrees + 2 * k, 1 + 0.03 * k) for k in range(24)]
    found = follow(landmarker, frames)
    assert [len(faces) for faces in found] == [1] * 24
    (upright,) = landmarker.detect(portrait)
    for k, (face,) in enumerate(found):
        turned = (upright.landmarks["mediapipe478"] - (224, 120)) @ rotation(np.deg2rad(degrees + 2 * k)).T
        known = replace(upright, landmarks={"mediapipe478": turned * (1 + 0.03 * k) + (150 + 14 * k, 220 - 3 * k)})
        assert error(face, known) < 0.035
    for k in (0, 1, 9):
        (photo,) = landmarker.detect(frames[k])
        (face,) = found[k]
        assert error(face, photo) < 0.04
        assert face.blendshapes is not None and photo.blendshapes is not None
        assert np.abs(face.blendshapes - photo.blendshapes).mean() < 0.05
        assert face.head_pose is not None and photo.head_pose is not None
        turn = face.head_pose[:3, :3] @ photo.head_pose[:3, :3].T
        assert np.rad2deg(np.arccos(min(1.0, (np.trace(turn) - 1) / 2))) < 10, (
            "its camera looks at the middle of the window"
        )
        np.testing.assert_allclose(
            face.box, [*face.landmarks["mediapipe478"].min(0), *face.landmarks["mediapipe478"].max(0)]
        )


def test_nothing_is_late(landmarker, portrait):
    """A face that stands, jumps a little and stands: there is no low pass that would bring it there by and by."""
    frames = [moved(portrait, 300 + (20 if k >= 6 else 0), 240) for k in range(9)]
    found = [faces[0].landmarks["mediapipe478"].mean(0)[0] for faces in follow(landmarker, frames)]
    assert found[6] - found[5] == pytest.approx(20, abs=1.5)
    assert found[8] - found[6] == pytest.approx(0, abs=1.5)


def test_two_faces_and_a_newcomer(landmarker, portrait):
    left, right = moved(portrait, 150, 240), moved(portrait, 480, 240, scale=1.2)
    both = np.concatenate([left[:, :320], right[:, 320:]], axis=1)
    frames = [left] * 3 + [both] * 16
    found = follow(landmarker, frames)
    assert [len(faces) for faces in found[:3]] == [1] * 3
    assert [len(faces) for faces in found[-4:]] == [2] * 4, "looked for twice a second"
    large, small = found[-1]
    assert large.box[0] > 320 > small.box[2], "largest first"
    assert [len(faces) for faces in follow(landmarker, frames[3:], faces=1)] == [1] * 16


def test_a_lost_face_comes_back_at_once(landmarker, portrait):
    """Away, elsewhere, and never two on one face."""
    empty = np.full((480, 640, 3), 128, np.uint8)
    there, here = moved(portrait, 150, 240), moved(portrait, 500, 200, 30)
    found = follow(landmarker, [there, there, empty, empty, here, here, there])
    assert [len(faces) for faces in found] == [1, 1, 0, 0, 1, 1, 1]
    for k, frame in ((4, here), (5, here), (6, there)):
        assert error(found[k][0], landmarker.detect(frame)[0]) < 0.03


def test_the_same_clip_gives_the_same_faces(landmarker, portrait):
    frames = [moved(portrait, 200 + 5 * k, 240, k) for k in range(6)]
    first, second = follow(landmarker, frames), follow(landmarker, frames)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0].landmarks["mediapipe478"], other[0].landmarks["mediapipe478"])


@pytest.mark.parametrize("size", [(1, 1), (480, 3)])
def test_odd_frames_are_no_error(landmarker, size):
    frames = [np.full((*size, 3), 128, np.uint8)] * 2
    assert follow(landmarker, frames) == [[], []]


def test_a_frame_that_is_shown_twice_has_the_same_landmarks(landmarker, portrait):
    """But for what compression does to it; the next one has others."""
    frame = moved(portrait, 300, 240)
    again = frame.copy()
    again[::16, ::16] ^= 1
    first, second, third = follow(landmarker, [frame, frame, again, moved(portrait, 302, 240)])[1:]
    np.testing.assert_array_equal(first[0].landmarks["mediapipe478"], second[0].landmarks["mediapipe478"])
    assert third[0].landmarks["mediapipe478"].mean(0)[0] - second[0].landmarks["mediapipe478"].mean(0)[0] > 1
