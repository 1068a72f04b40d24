"""Cameras: projection, pixel matrix and intrinsics against each other and against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emoca_core.interfaces import DEPTH_OFFSET, PerspectiveCamera, WeakPerspectiveCamera

SIZES = [(224, 224), (120, 200), (7, 3)]  # height, width
TOLERANCE = 1e-12  # float64, a handful of operations on numbers near one


def points_in(batch: int, count: int = 20, seed: int = 0) -> torch.Tensor:
    """Points on a head-sized ball."""
    return 0.1 * torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weak(batch: int = 3) -> WeakPerspectiveCamera:
    code = torch.tensor([[8.0, 0.01, -0.02], [5.0, -0.03, 0.04], [9.5, 0.0, 0.0]], dtype=torch.float64)
    return WeakPerspectiveCamera.from_code(code[:batch])


def perspective(batch: int = 3) -> PerspectiveCamera:
    return PerspectiveCamera(
        focal=torch.tensor([[9.0, 9.5], [4.0, 4.0], [20.0, 10.0]], dtype=torch.float64)[:batch],
        centre=torch.tensor([[0.0, 0.0], [0.1, -0.2], [-0.3, 0.05]], dtype=torch.float64)[:batch],
        translation=torch.tensor([[0.0, 0.0, 1.0], [0.05, -0.02, 0.6], [-0.1, 0.1, 2.5]], dtype=torch.float64)[:batch],
    )


CAMERAS = pytest.mark.parametrize("camera", [weak(), perspective()], ids=["weak", "perspective"])


def to_pixels(ndc: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixel-centre coordinates by the definition of the conventions: x_ndc = (2 x_px + 1) / W - 1."""
    height, width = size
    return ((ndc[..., :2] + 1) * np.array([width, height]) - 1) / 2


def test_weak_perspective_by_definition():
    camera, points = weak(), points_in(3)
    s, t = camera.scale.numpy(), camera.translation.numpy()
    x, y, z = np.moveaxis(points.numpy(), -1, 0)
    expected = np.stack([s[:, None] * (x + t[:, :1]), -s[:, None] * (y + t[:, 1:]), 10 - s[:, None] * z], axis=-1)
    np.testing.assert_allclose(camera.project(points).numpy(), expected, atol=TOLERANCE)


def test_perspective_by_definition():
    camera, points = perspective(), points_in(3)
    in_camera = points.numpy() * [1, -1, -1] + camera.translation.numpy()[:, None]
    x, y, z = np.moveaxis(in_camera, -1, 0)
    f, c = camera.focal.numpy(), camera.centre.numpy()
    expected = np.stack([f[:, :1] * x / z + c[:, :1], f[:, 1:] * y / z + c[:, 1:], z], axis=-1)
    np.testing.assert_allclose(camera.project(points).numpy(), expected, atol=TOLERANCE)


@CAMERAS
def test_directions(camera):
    """+x of the model goes right in the image, +y up, and what comes nearer gets less depth."""
    origin, right, up, front = (
        camera.project(torch.tensor([[p]] * 3, dtype=torch.float64))[:, 0]
        for p in ([0, 0, 0], [0.05, 0, 0], [0, 0.05, 0], [0, 0, 0.05])
    )
    assert (right[:, 0] > origin[:, 0]).all()
    assert (up[:, 1] < origin[:, 1]).all()
    assert (front[:, 2] < origin[:, 2]).all()
    assert (origin[:, 2] > 0).all()


def test_depth_of_weak_perspective_is_positive_for_a_head():
    depth = weak().project(points_in(3, 1000))[..., 2]
    assert depth.min() > 0
    assert abs(depth.mean() - DEPTH_OFFSET) < 0.1


@CAMERAS
@pytest.mark.parametrize("size", SIZES)
def test_matrix_gives_the_pixels_of_the_projection(camera, size):
    points = points_in(3)
    homogeneous = np.concatenate([points.numpy(), np.ones((3, 20, 1))], axis=-1)
    projected = np.einsum("bij,bnj->bni", camera.matrix(size).numpy(), homogeneous)
    expected = to_pixels(camera.project(points).numpy(), size)
    np.testing.assert_allclose(projected[..., :2] / projected[..., 2:], expected, atol=1e-9)  # pixels


@pytest.mark.parametrize("size", SIZES)
def test_pixels_survive_the_way_through_ndc(size):
    focal = torch.tensor([1015.0, 700.0], dtype=torch.float64)
    centre = torch.tensor([[111.5, 111.5], [3.0, 60.25]], dtype=torch.float64)
    camera = PerspectiveCamera.from_pixels(
        focal, centre, torch.tensor([[0.0, 0.0, 10.0]] * 2, dtype=torch.float64), size
    )
    k = camera.intrinsics_px(size)
    np.testing.assert_allclose(k[:, 0, 0], focal, atol=1e-9)
    np.testing.assert_allclose(k[:, 1, 1], focal, atol=1e-9)
    np.testing.assert_allclose(k[:, :2, 2], centre, atol=1e-9)


def test_deep3dfacerecon_camera():
    """Focal length 1015 px at 224 px, 10 units away: published as 1015 * X / Z + 112, rows counted upwards."""
    size = (224, 224)
    camera = PerspectiveCamera.from_pixels(
        torch.tensor([1015.0], dtype=torch.float64),
        torch.tensor([[111.5, 111.5]], dtype=torch.float64),  # the middle, in pixel-centre coordinates
        torch.tensor([[0.0, 0.0, 10.0]], dtype=torch.float64),
        size,
    )
    points = points_in(1)
    x, y, z = np.moveaxis(points.numpy(), -1, 0)
    expected = np.stack([1015 * x / (10 - z) + 112 - 0.5, 224 - (1015 * y / (10 - z) + 112) - 0.5], axis=-1)
    np.testing.assert_allclose(to_pixels(camera.project(points).numpy(), size), expected, atol=1e-9)


def test_far_perspective_is_weak_perspective():
    """In the limit of a long lens from far away."""
    distance = 1e5
    far = PerspectiveCamera(
        focal=torch.full((1, 2), 8.0 * distance, dtype=torch.float64),
        centre=torch.tensor([[8.0 * 0.01, 8.0 * 0.02]], dtype=torch.float64),
        translation=torch.tensor([[0.0, 0.0, distance]], dtype=torch.float64),
    )
    near = WeakPerspectiveCamera.from_code(torch.tensor([[8.0, 0.01, -0.02]], dtype=torch.float64))
    points = points_in(1)
    # the rest of the perspective: a head's depth over the distance
    torch.testing.assert_close(far.project(points)[..., :2], near.project(points)[..., :2], atol=1e-5, rtol=0)


@CAMERAS
def test_projection_has_correct_gradients(camera):
    points = points_in(3, 4).requires_grad_()
    leaves = [tensor.clone().requires_grad_() for tensor in vars(camera).values()]
    assert torch.autograd.gradcheck(lambda p, *tensors: type(camera)(*tensors).project(p), (points, *leaves))


@CAMERAS
def test_map_and_code(camera):
    first = camera.map(lambda tensor: tensor[:1])
    torch.testing.assert_close(first.project(points_in(1)), camera.project(points_in(1).expand(3, -1, -1))[:1])
    assert first.code().shape == (1, camera.code().shape[1])
    assert camera.map(torch.Tensor.float).code().dtype == torch.float32
    if isinstance(camera, WeakPerspectiveCamera):
        assert torch.equal(WeakPerspectiveCamera.from_code(camera.code()).code(), camera.code())


@given(st.floats(0.1, 50), st.floats(-1, 1), st.floats(-1, 1), st.integers(1, 4000), st.integers(1, 4000))
def test_corners_of_the_image_are_minus_one_and_one(scale, tx, ty, height, width):
    """Whatever the camera and the shape of the image: NDC -1 is half a pixel before the first centre."""
    camera = WeakPerspectiveCamera.from_code(torch.tensor([[scale, tx, ty]], dtype=torch.float64))
    corners = torch.tensor([[[-1 / scale - tx, 1 / scale - ty, 0.0], [1 / scale - tx, -1 / scale - ty, 0.0]]]).double()
    homogeneous = torch.cat([corners, torch.ones(1, 2, 1, dtype=torch.float64)], dim=-1)
    pixels = (homogeneous @ camera.matrix((height, width)).mT)[0, :, :2]
    expected = torch.tensor([[-0.5, -0.5], [width - 0.5, height - 0.5]], dtype=torch.float64)
    # single precision is in the literals above: metres to 1e-7, times scale and image
    torch.testing.assert_close(pixels, expected, atol=1e-3 * max(1, scale / 10) * max(height, width) / 1000, rtol=1e-6)
