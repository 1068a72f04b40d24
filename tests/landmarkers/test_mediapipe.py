"""MediaPipe's landmarker behind the search: several, small, lying and frame-filling faces, and none."""

import os
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray
from PIL import Image, ImageDraw

from emoca_core.images.photo_search import find_photos
from emoca_core.images.photos import read_photo
from emoca_core.images.warp import rotation
from emoca_core.interfaces import Detection, FaceParameters, PerspectiveCamera
from emoca_core.registry import get_registry
from emoca_core.rendering.face import render_face
from emoca_core.testing import check_component
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.landmarkers import face_search, profiles
from emoca_plugins.landmarkers.face_search import Candidate, Pyramid
from emoca_plugins.landmarkers.mediapipe import MediaPipeLandmarker
from emoca_plugins.renderers.zbuffer import ZBuffer

EYES = (33, 263)


@pytest.fixture(scope="module")
def landmarker() -> MediaPipeLandmarker:
    return MediaPipeLandmarker()


@pytest.fixture(scope="module")
def portrait() -> ndarray:
    """A public-domain photo of an astronaut with one face, 91 of 512 pixels wide, as packaged in scikit-image."""
    return pytest.importorskip("skimage.data").astronaut()


def error(points: ndarray, expected: ndarray) -> float:
    """Mean distance in units of the distance between the outer corners of the eyes."""
    return float(np.linalg.norm(points - expected, axis=1).mean() / np.linalg.norm(np.subtract(*expected[list(EYES)])))


def test_one_face(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    (face,) = landmarker.detect(portrait)
    points = face.landmarks["mediapipe478"]
    assert points.shape == (478, 2) and face.landmarks["ibug68"].shape == (68, 2)
    np.testing.assert_allclose(face.box, [*points.min(0), *points.max(0)])
    assert 170 < face.box[0] < face.box[2] < 280 and 60 < face.box[1] < face.box[3] < 190
    assert 0.5 < face.score <= 1
    assert face.blendshapes is not None and face.blendshapes.shape == (52,)
    smile = [face.blendshapes[ARKIT_NAMES.index(f"mouthSmile{side}")] for side in ("Left", "Right")]
    assert min(smile) > 0.6 and face.blendshapes[ARKIT_NAMES.index("tongueOut")] == 0
    assert face.head_pose is not None
    turn = face.head_pose[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-3)
    assert face.head_pose[2, 3] < 0, "the face is before a camera that looks along -z"


def test_points_are_in_opencv_pixels(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    """The plain task on the same picture, without our search, crop and way back."""
    from emoca_plugins.landmarkers.mediapipe_meshes import to_mediapipe

    window = np.ascontiguousarray(portrait[:256, 96:352])
    task = landmarker._get_tasks().landmarker
    plain = np.array([(p.x, p.y) for p in task.detect(to_mediapipe(window)).face_landmarks[0]]) * 256 - 0.5 + (96, 0)
    points = landmarker.detect(portrait)[0].landmarks["mediapipe478"]
    assert error(points, plain) < 0.02
    assert np.abs((points - plain).mean(0)).max() < 0.7, "pixels: no systematic shift"


@pytest.mark.parametrize("degrees", [-30, 90, 135, 180, -135])
def test_lying_faces(landmarker: MediaPipeLandmarker, portrait: ndarray, degrees: int) -> None:
    """Turned clockwise about the face: the same points, turned; the head pose tells by how much."""
    middle = np.array([224.0, 120.0])
    (upright,) = landmarker.detect(portrait)
    image = Image.fromarray(portrait).rotate(-degrees, Image.Resampling.BICUBIC, center=tuple(middle + 0.5))
    (face,) = landmarker.detect(np.asarray(image))
    expected = (upright.landmarks["mediapipe478"] - middle) @ rotation(np.deg2rad(degrees)).T + middle
    assert error(face.landmarks["mediapipe478"], expected) < 0.04
    assert face.head_pose is not None and upright.head_pose is not None
    turn = face.head_pose[:3, :3] @ upright.head_pose[:3, :3].T
    seen = np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0]))  # y is up: clockwise is negative
    assert abs((seen + degrees + 180) % 360 - 180) < 5


def test_small_faces_and_several(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    """Three faces, 40, 60 and 100 pixels wide, in a large photo, largest first."""
    photo = np.full((1400, 1800, 3), 120, np.uint8)
    places = [(100, 800, 560), (900, 100, 340), (1500, 1150, 225)]
    for left, top, side in places:
        photo[top : top + side, left : left + side] = Image.fromarray(portrait).resize((side, side))
    (reference,) = landmarker.detect(portrait)
    faces = landmarker.detect(photo)
    assert len(faces) == 3
    for face, (left, top, side) in zip(faces, places, strict=True):
        expected = (reference.landmarks["mediapipe478"] + 0.5) * side / 512 - 0.5 + (left, top)
        assert error(face.landmarks["mediapipe478"], expected) < 0.06


def test_face_that_fills_the_frame(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    (reference,) = landmarker.detect(portrait)
    x0, y0, x1, y1 = reference.box.round().astype(int)
    (face,) = landmarker.detect(np.ascontiguousarray(portrait[y0:y1, x0:x1]))
    assert error(face.landmarks["mediapipe478"] + (x0, y0), reference.landmarks["mediapipe478"]) < 0.06


@pytest.mark.parametrize("fill", [lambda rng: 0, lambda rng: 255, lambda rng: rng.integers(0, 256, (300, 400, 3))])
def test_no_face_is_an_empty_list(landmarker: MediaPipeLandmarker, fill: Callable[..., ndarray]) -> None:
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[:] = fill(np.random.default_rng(0))
    assert landmarker.detect(photo) == []


def test_landmarks_of_faces_stay_at_a_second_look(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    (face,) = landmarker.detect(portrait)
    assert face.movement is None
    (again,) = landmarker.look_again(portrait, [face])
    assert again.movement is not None and 0 < again.movement < 0.02
    assert again.landmarks is face.landmarks
    coins = np.stack([pytest.importorskip("skimage.data").coins()] * 3, axis=-1)  # worn heads, 20 pixels wide
    found = landmarker.detect(coins)
    assert len(found) > 3
    for coin in landmarker.look_again(coins, found):
        assert coin.movement is not None and coin.movement > 0.05


def test_a_second_opinion_tells_covered_faces(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    """A mask from the nose down, of cloth that is no skin; the landmarks are found all the same, and stay."""
    (face,) = landmarker.look_again(portrait, landmarker.detect(portrait))
    assert face.second_opinion is not None and face.second_opinion > 3
    points = face.landmarks["mediapipe478"]
    cloth = Image.fromarray(portrait)
    outline = [tuple(points[i]) for i in (195, 117, 132, 172, 150, 176, 152, 400, 379, 397, 361, 346)]
    ImageDraw.Draw(cloth).polygon(outline, fill=(120, 160, 190))
    (masked,) = landmarker.look_again(np.asarray(cloth), landmarker.detect(np.asarray(cloth)))
    assert masked.second_opinion is not None and masked.second_opinion < 0
    assert masked.score > 0.75 and masked.movement is not None and masked.movement < 0.05


def test_without_a_second_detector_there_is_no_second_opinion(
    landmarker: MediaPipeLandmarker, portrait: ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("cv2.CascadeClassifier")  # OpenCV 5 has it among its contributed modules
    (face,) = landmarker.look_again(portrait, landmarker.detect(portrait))
    assert face.movement is not None and face.second_opinion is None


def turned_head(degrees: float) -> tuple[ndarray, ndarray]:
    """A picture of the open head before grey, and its 68 landmarks, pixels."""
    head, lighting = OpenHead(), torch.zeros(1, 9, 3)
    lighting[:, 0], lighting[:, 2] = 2.6, 0.3
    code = FaceParameters(global_pose=torch.tensor([[0.0, np.deg2rad(degrees), 0.0]], dtype=torch.float32))
    camera = PerspectiveCamera(torch.full((1, 2), 2.8), torch.zeros(1, 2), torch.tensor([[0.0, 0.01, 1.0]]))
    geometry = head(code)
    view = render_face(ZBuffer(), head, geometry, camera, head.albedo(code), lighting, (384, 384))
    picture = (view.image * view.mask + 0.6 * (1 - view.mask)).clamp(0, 1)[0].permute(1, 2, 0)
    points = (camera.project(geometry.landmarks["ibug68"])[0, :, :2] + 1) * 192 - 0.5
    return (255 * picture).to(torch.uint8).numpy(), points.numpy()


@pytest.mark.parametrize("degrees", [75, -80])
def test_a_head_in_profile_is_measured_where_mesh_and_detector_agree(
    landmarker: MediaPipeLandmarker, degrees: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, points = turned_head(degrees)
    (face,) = landmarker.detect(photo)
    inner = slice(17, None)  # the two mean other things by the outline of a turned head
    off = np.linalg.norm(face.landmarks["ibug68"][inner] - points[inner], axis=1).mean()
    assert off < 0.08 * np.ptp(points, axis=0).max()
    (again,) = landmarker.look_again(photo, [face])
    assert again.movement == np.inf, "doubtful: MediaPipe itself takes it for no face"
    monkeypatch.setattr("emoca_plugins.landmarkers.mediapipe.face_in_profile", lambda *_: None)
    assert landmarker.detect(photo) == [], "the mesh alone was refused"


def test_a_head_in_profile_is_named_where_no_face_is_found(landmarker: MediaPipeLandmarker) -> None:
    """The open head turned by 95 degrees; then nothing but grey."""
    photo, points = turned_head(95)
    assert landmarker.detect(photo) == []
    said = re.fullmatch(r"no face found; at \((\d+), (\d+)\) .* turned too far .*", landmarker.explain_no_face(photo))
    assert said and np.hypot(*(np.array([int(said[1]), int(said[2])]) - points.mean(0))) < 60
    grey = np.full_like(photo, 120)
    assert landmarker.explain_no_face(grey) == "no face found (a profile beyond about 80 degrees is not found)"


def test_nobody_is_found_inside_a_head_in_profile(landmarker: MediaPipeLandmarker, monkeypatch) -> None:
    """Turned copies of a photo in which a sure head was seen show ears and cheeks that pass for faces."""
    photo, _ = turned_head(95)
    (head,) = landmarker._upright(Pyramid(photo), True)
    assert head.is_profile
    confirmed: list[Candidate] = []
    monkeypatch.setattr(face_search, "turned_views", lambda _: [None])
    cheek = replace(head, centre=head.centre + 5, roll=np.pi / 2, eye_distance=0.4)
    elsewhere = replace(cheek, centre=head.centre + 3 * head.side)
    own = landmarker._candidates
    monkeypatch.setattr(landmarker, "_candidates", lambda view: [cheek, elsewhere] if view is None else own(view))
    monkeypatch.setattr(landmarker, "_straightened", lambda _, candidates: candidates)
    monkeypatch.setattr(landmarker, "_upright", lambda *_: [head])
    monkeypatch.setattr(landmarker, "_faces", lambda _, candidates: confirmed.extend(candidates) or [])
    landmarker.detect(photo)
    assert confirmed == [head, elsewhere]


def test_a_mesh_on_the_cheek_of_a_profile_is_no_face() -> None:
    mesh = np.zeros((478, 2))
    mesh[[33, 133]], mesh[[263, 362]], mesh[1], mesh[[13, 14]] = (50, 40), (48, 40), (30, 60), (38, 80)
    face = Detection(np.array([0, 0, 100, 100.0]), 0.9, {"mediapipe478": mesh})
    marks = np.array([[50, 40], [10, 40], [30, 60], [38, 80.0]])  # the other eye is a guess: the nearer one counts
    head = Candidate(np.array([50, 50.0]), 100.0, 0.0, 0.9, 0.1, marks)
    assert not profiles.is_elsewhere(face, head)
    there = replace(face, landmarks={"mediapipe478": mesh + np.array([40, 0])})
    assert profiles.is_elsewhere(there, head)
    assert not profiles.is_elsewhere(there, replace(head, eye_distance=0.4)), "faces from the front are left alone"
    assert not profiles.is_elsewhere(there, replace(head, marks=None)), "a second look has no marks to compare with"


@pytest.mark.parametrize("size", [(16, 16), (16, 2000), (2000, 16)])
def test_odd_sizes(landmarker: MediaPipeLandmarker, size: tuple[int, int]) -> None:
    assert landmarker.detect(np.full((*size, 3), 90, np.uint8)) == []


def test_params(portrait: ndarray) -> None:
    photo = np.concatenate([portrait, portrait], axis=1)
    make = MediaPipeLandmarker.Params
    assert len(MediaPipeLandmarker(make(max_faces=1)).detect(photo)) == 1
    small = np.full((1024, 1024, 3), 120, np.uint8)
    small[400:680, 400:680] = Image.fromarray(portrait).resize((280, 280))
    assert MediaPipeLandmarker(make(search=False)).detect(small) == []
    assert len(MediaPipeLandmarker(make()).detect(small)) == 1


def test_the_registry_builds_it() -> None:
    landmarker = get_registry().build("landmarker", "mediapipe", {"max_faces": 2})
    assert isinstance(landmarker, MediaPipeLandmarker) and landmarker.asset_paths


def test_contract(portrait: ndarray) -> None:
    check_component("landmarker", "mediapipe", sample=np.concatenate([portrait[:, ::-1], portrait], axis=1))


def test_threads_and_pickles(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    expected = landmarker.detect(portrait)[0].landmarks["mediapipe478"]
    copy = pickle.loads(pickle.dumps(landmarker))
    assert copy.params == landmarker.params
    with ThreadPoolExecutor(2) as pool:
        for faces in pool.map(copy.detect, [portrait] * 4):
            np.testing.assert_array_equal(faces[0].landmarks["mediapipe478"], expected)


def test_does_not_write_on_its_input(landmarker: MediaPipeLandmarker, portrait: ndarray) -> None:
    photo = portrait.copy()
    photo.setflags(write=False)
    landmarker.detect(photo[:, ::-1])
    np.testing.assert_array_equal(photo, portrait)


def test_terminal_stays_clean(portrait: ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    MediaPipeLandmarker().detect(portrait)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"later messages of others arrive")
    assert capfd.readouterr().err == "later messages of others arrive"


@pytest.mark.slow
def test_real_photos(shared: Path, landmarker: MediaPipeLandmarker) -> None:
    expected = {
        "multi_face": 5,
        "no_face": 0,
        "sample1": 3,
        "sample2": 3,
        "sample3": 3,
        "sample4": 4,
        "sample5": 5,
        "sample6": 4,
    }
    for path in find_photos(shared / "data" / "photos"):
        faces = landmarker.detect(read_photo(path).pixels)
        assert len(faces) == expected.get(path.stem, 1), path.name
