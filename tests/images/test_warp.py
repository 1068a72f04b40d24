"""Resampling against OpenCV, scikit-image, Pillow, and points that must stay where they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray
from PIL import Image

from emoca_core.images.crops import transform_points, warp
from emoca_core.images.similarity import scaled_orthographic, similarity
from emoca_core.images.warp import cut, resize_to_image, rotation, square_to_image, to_uint8


@pytest.fixture(scope="module")
def photo() -> ndarray:
    """Noise with detail of a few pixels: half a pixel of misplacement shows."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((240, 160), Image.Resampling.BICUBIC))


def turned(side: float = 70.0, roll: float = 0.4) -> ndarray:
    return square_to_image(np.array([100.0, 80.0]), side, 64, roll)


@pytest.mark.parametrize("border", ["constant", "replicate"])
def test_bilinear_is_opencv(photo: ndarray, border: str) -> None:
    cv2 = pytest.importorskip("cv2")
    modes = {"constant": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE}
    to_image = turned(side=240)  # reaches beyond the photo
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(photo.astype(np.float32), to_image[:2], (64, 64), flags=flags, borderMode=modes[border])
    # OpenCV rounds coordinates to 1/32 pixel: up to 1/64 of the steepest slope (a few dozen levels per pixel)
    difference = np.abs(warp(photo, to_image, 64, border=border) - expected)
    assert difference.max() < 3 and difference.mean() < 0.3


@pytest.mark.parametrize("order", [1, 3])
def test_orders_are_those_of_scikit_image(photo: ndarray, order: int) -> None:
    transform = pytest.importorskip("skimage.transform")
    expected = transform.warp(photo / 255.0, turned(), output_shape=(64, 64), order=order) * 255
    # skimage clips what the cubic overshoots to the range of the photo
    np.testing.assert_allclose(warp(photo, turned(), 64, order).clip(0, 255), expected, atol=1e-3)


def test_resize_to_image_is_opencv(photo: ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    region = cut(photo, 10, 20, 130, 140)
    ours = to_uint8(warp(photo, resize_to_image(10, 20, 130, 140, 48), 48))
    assert np.abs(ours.astype(int) - cv2.resize(region, (48, 48))).max() <= 1


def test_only_the_region_under_the_crop_matters(photo: ndarray) -> None:
    """A large photo costs no more, and changes nothing."""
    large = np.zeros((1000, 1200, 3), np.uint8)
    large[400:560, 500:740] = photo
    shifted = turned()
    shifted[:2, 2] += (500, 400)
    for order in (1, 3):
        np.testing.assert_allclose(warp(large, shifted, 64, order), warp(photo, turned(), 64, order), atol=1e-3)


def test_antialias_averages() -> None:
    """A chequerboard far finer than the crop is grey, and stays in place."""
    board = np.indices((256, 256)).sum(0) % 2 * np.uint8(255)
    photo = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    to_image = square_to_image(np.array([127.5, 127.5]), 256, 32)
    assert np.ptp(warp(photo, to_image, 32)) > 50 or np.ptp(warp(photo, to_image, 32)) == 0
    np.testing.assert_allclose(warp(photo, to_image, 32, antialias=True), 127.5, atol=1)

    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None].repeat(256, 0), 3, axis=2)
    columns = transform_points(to_image, np.c_[np.arange(32.0), np.full(32, 16.0)])[:, 0]
    np.testing.assert_allclose(warp(ramp, to_image, 32, antialias=True)[16, 1:-1, 0], columns[1:-1], atol=0.6)


def test_crop_beside_the_photo_is_black(photo: ndarray) -> None:
    to_image = square_to_image(np.array([5000.0, -5000.0]), 100, 32)
    assert not warp(photo, to_image, 32).any()
    assert not cut(photo, 1000, 1000, 1010, 1010).any()


def test_square_corners() -> None:
    centre, side = np.array([50.0, 40.0]), 20.0
    edges = square_to_image(centre, side, 10)
    np.testing.assert_allclose(transform_points(edges, np.array([[-0.5, -0.5], [9.5, 9.5]])), [[40, 30], [60, 50]])
    centres = square_to_image(centre, side, 10, corners=True)
    np.testing.assert_allclose(transform_points(centres, np.array([[0.0, 0.0], [9.0, 9.0]])), [[40, 30], [60, 50]])


@given(st.floats(-3, 3), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_recovers_a_similarity(angle: float, scale: float, x: float, y: float) -> None:
    points = np.array([[0.0, 0.0], [10.0, 1.0], [3.0, 8.0], [-4.0, 2.0]])
    target = points @ (scale * rotation(angle)).T + (x, y)
    found = similarity(points, target)
    np.testing.assert_allclose(found[:2, :2], scale * rotation(angle), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found[:2, 2], (x, y), rtol=1e-7, atol=1e-8)


def test_similarity_is_scikit_image_and_never_mirrors() -> None:
    transform = pytest.importorskip("skimage.transform")
    source, target = np.random.default_rng(0).normal(size=(2, 6, 2))
    expected = transform.SimilarityTransform.from_estimate(source, target)
    np.testing.assert_allclose(similarity(source, target), expected.params, rtol=1e-9, atol=1e-12)
    mirrored = similarity(source, source * (-1, 1))
    assert np.linalg.det(mirrored[:2, :2]) > 0
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.ones((3, 2)), target[:3])


def test_scaled_orthographic_recovers_a_camera() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5, 3))
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    scale, place = scaled_orthographic(points, 7 * points @ axes.T + (3, -2))
    assert scale == pytest.approx(7)
    np.testing.assert_allclose(place, (3, -2))
