"""The photo's camera projects exactly where the crop's camera does, in OpenCV's and in glTF's convention."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emoca_core.export import camera_to_gltf, crop_camera_to_photo
from emoca_core.interfaces import Camera, PerspectiveCamera, WeakPerspectiveCamera

CROP, PHOTO = (224, 224), (900, 1400)
PIXELS = 1e-3  # the promise; float64 throughout leaves about 1e-10


def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.12, 0.12, (200, 3))


def similarity(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])


def perspective() -> PerspectiveCamera:
    return PerspectiveCamera(
        focal=torch.tensor([[9.0, 9.0]]),
        centre=torch.tensor([[0.1, -0.2]]),
        translation=torch.tensor([[0.02, -0.03, 1.1]]),
    )


def weak() -> WeakPerspectiveCamera:
    return WeakPerspectiveCamera(scale=torch.tensor([7.5]), translation=torch.tensor([[0.01, 0.02]]))


def through_the_crop(camera: Camera, crop_to_image: np.ndarray) -> np.ndarray:
    """The definition: project into the crop's NDC, to crop pixels, to photo pixels."""
    ndc = camera.map(torch.Tensor.double).project(torch.from_numpy(points())[None])[0].numpy()
    size = np.array(CROP[::-1])
    crop_px = ((ndc[:, :2] + 1) * size - 1) / 2
    return (np.column_stack([crop_px, np.ones(len(crop_px))]) @ crop_to_image.T)[:, :2]


def through_gltf(exported, photo_size: tuple[int, int]) -> np.ndarray:
    """Clip space as in the appendix of the glTF specification, then the photo's window in the frame."""
    world = np.column_stack([points(), np.ones(200)])
    eye = world @ np.linalg.inv(exported.matrix).T
    lens = exported.camera[exported.camera["type"]]
    if exported.camera["type"] == "perspective":
        half = math.tan(lens["yfov"] / 2)
        clip = np.column_stack([eye[:, 0] / (lens["aspectRatio"] * half), eye[:, 1] / half]) / -eye[:, 2:3]
    else:
        clip = np.column_stack([eye[:, 0] / lens["xmag"], eye[:, 1] / lens["ymag"]])
    assert (eye[:, 2] < -lens["znear"]).all()
    frame = np.array(exported.frame_size)
    return (clip * [1, -1] + 1) / 2 * frame - 0.5 - exported.photo_offset


@pytest.mark.parametrize("camera", [perspective(), weak()], ids=["perspective", "weak"])
@pytest.mark.parametrize("degrees", [0, 17, 90, -135, 180])
def test_full_frame_reprojection_is_exact(camera, degrees):
    crop_to_image = similarity(degrees, 2.7, (310.5, 505.25))
    expected = through_the_crop(camera, crop_to_image)
    exported = crop_camera_to_photo(camera, CROP, crop_to_image, PHOTO)
    assert np.abs(exported.project(points()) - expected).max() < PIXELS
    gltf = camera_to_gltf(exported)
    assert np.abs(through_gltf(gltf, PHOTO) - expected).max() < PIXELS


@pytest.mark.parametrize("camera", [perspective(), weak()], ids=["perspective", "weak"])
def test_parts_are_proper(camera):
    exported = crop_camera_to_photo(camera, CROP, similarity(30, 0.4, (1000, -20)), PHOTO)
    rotation = exported.rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert exported.intrinsics[0, 0] == pytest.approx(exported.intrinsics[1, 1], rel=1e-6)  # similarity, square pixels
    assert abs(exported.intrinsics[0, 1]) < 1e-6 * exported.intrinsics[0, 0]
    frame = camera_to_gltf(exported)
    assert frame.frame_size[0] >= PHOTO[1] - 1e-9 and frame.frame_size[1] >= PHOTO[0] - 1e-9
    assert min(frame.photo_offset) > -1e-9


def test_camera_through_the_middle_of_the_photo_needs_no_larger_frame():
    """A principal point in the middle of the photo gives the photo itself as the frame."""
    camera = PerspectiveCamera.from_pixels(
        torch.tensor([1500.0]),
        torch.tensor([[(PHOTO[1] - 1) / 2, (PHOTO[0] - 1) / 2]]),
        torch.tensor([[0, 0, 1.0]]),
        PHOTO,
    )
    frame = camera_to_gltf(crop_camera_to_photo(camera, PHOTO, np.eye(3), PHOTO))
    assert frame.frame_size == pytest.approx((PHOTO[1], PHOTO[0]))
    assert frame.photo_offset == pytest.approx((0, 0), abs=1e-4)
    assert frame.camera["perspective"]["yfov"] == pytest.approx(2 * math.atan(PHOTO[0] / 3000))
    np.testing.assert_allclose(frame.matrix, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], atol=1e-9)


def test_orthographic_frame_is_the_photo():
    frame = camera_to_gltf(crop_camera_to_photo(weak(), CROP, similarity(25, 1.5, (40, 50)), PHOTO))
    assert frame.frame_size == pytest.approx((PHOTO[1], PHOTO[0]))


def test_long_focal_equivalent_keeps_its_documented_error():
    exported = crop_camera_to_photo(weak(), CROP, similarity(20, 1.5, (40, 50)), PHOTO)
    far = exported.long_focal_equivalent()
    origin = exported.project(np.zeros((1, 3)))
    reach = np.linalg.norm(exported.project(points()) - origin, axis=1)
    error = np.linalg.norm(far.project(points()) - exported.project(points()), axis=1)
    depth = np.abs(far.depth(points()) - 10)
    assert (error <= depth / (10 - depth) * reach + 1e-9).all()
    assert error.max() > 0.1  # so the bound is about something
    in_plane = points() * [1, 1, 0]
    np.testing.assert_allclose(far.project(in_plane), exported.project(in_plane), atol=1e-9)
    already_perspective = crop_camera_to_photo(perspective(), CROP, np.eye(3), PHOTO)
    assert already_perspective.long_focal_equivalent() is already_perspective


def test_an_oblong_crop_with_square_pixels():
    camera = PerspectiveCamera.from_pixels(
        torch.tensor([900.0]), torch.tensor([[100.0, 80.0]]), torch.ones(1, 3), (150, 220)
    )
    crop_to_image = similarity(40, 2.0, (12, 34))
    exported = crop_camera_to_photo(camera, (150, 220), crop_to_image, PHOTO)
    flat = camera.map(torch.Tensor.double).matrix((150, 220))[0].numpy()
    homogeneous = np.column_stack([points(), np.ones(200)]) @ (crop_to_image @ flat).T
    expected = homogeneous[:, :2] / homogeneous[:, 2:]
    assert np.abs(exported.project(points()) - expected).max() < PIXELS
    assert np.abs(through_gltf(camera_to_gltf(exported), PHOTO) - expected).max() < PIXELS
    assert exported.intrinsics[0, 0] == pytest.approx(1800, rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.05, 20),
    x=st.floats(-3000, 3000),
    y=st.floats(-3000, 3000),
    stretch=st.floats(0.5, 2),
)
def test_any_affine_crop_reprojects(degrees, scale, x, y, stretch):
    """A stretched and turned crop skews the pixel grid: K holds that, glTF cannot and says so."""
    crop_to_image = similarity(degrees, scale, (x, y)) @ np.diag([stretch, 1, 1])
    exported = crop_camera_to_photo(perspective(), CROP, crop_to_image, PHOTO)
    expected = through_the_crop(perspective(), crop_to_image)
    assert np.abs(exported.project(points()) - expected).max() < PIXELS
    if (gltf := camera_to_gltf(exported)) is not None:
        slack = 1e-5 * np.abs(expected - exported.intrinsics[:2, 2]).max()  # what counts as rounding noise of the skew
        assert np.abs(through_gltf(gltf, PHOTO) - expected).max() < PIXELS + slack


@pytest.mark.parametrize(
    ("camera", "crop_to_image", "words"),
    [
        (perspective(), np.diag([-1.0, 1, 1]), "mirrored"),
        (perspective(), np.array([[1, 0, 0], [0, 1, 0], [0.001, 0, 1]]), "affine"),
        (weak().map(lambda t: t.repeat(2, *[1] * (t.ndim - 1))), np.eye(3), "batch of 2"),
        (weak().map(lambda t: t * float("nan")), np.eye(3), "degenerate"),
    ],
)
def test_what_has_no_camera_is_refused(camera, crop_to_image, words):
    with pytest.raises(ValueError, match=words):
        crop_camera_to_photo(camera, CROP, crop_to_image, PHOTO)
