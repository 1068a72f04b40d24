"""Interpolation and its gradients: against NumPy, in float64, across UV seams, and kernel against kernel."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from emoca_core.geometry.ndc import pixel_centres

from .scenes import Scene, make_scene, zbuffer

SIZE = (40, 52)


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_interpolation(
    vertices: np.ndarray, faces: np.ndarray, triangles: np.ndarray, values: np.ndarray, value_faces: np.ndarray
) -> np.ndarray:
    """Barycentric interpolation by solving for the weights, one pixel at a time, in float64."""
    height, width = triangles.shape
    image = np.zeros((values.shape[1], height, width))
    for row, column in zip(*np.nonzero(triangles >= 0), strict=True):
        triangle = triangles[row, column]
        pixel = [-1 + (2 * column + 1) / width, -1 + (2 * row + 1) / height, 1]
        corners = np.stack([vertices[faces[triangle], 0], vertices[faces[triangle], 1], np.ones(3)])
        image[:, row, column] = np.linalg.solve(corners, pixel) @ values[value_faces[triangle]]
    return image


@pytest.mark.parametrize("kernel", ["numba", "torch"])
@pytest.mark.parametrize("seams", [False, True])
def test_against_linear_algebra(scene: Scene, kernel: str, seams: bool) -> None:
    topology = scene.topology
    corners = topology.uv_faces if seams else topology.faces
    values = random_values(2, int(corners.max()) + 1, 5)
    renderer = zbuffer(kernel)
    fragments = renderer.rasterize(scene.projected, topology.faces, SIZE)
    image = renderer.interpolate(fragments, values, corners if seams else None)
    for item in range(2):
        expected = naive_interpolation(
            fragments.vertices[item].double().numpy(),
            topology.faces.numpy(),
            fragments.triangles[item].numpy(),
            values[item].double().numpy(),
            corners.numpy(),
        )
        # PyTorch3D's epsilon scales weights by 1 - 1e-8 / (twice the area): 1e-3 for the smallest slivers here
        assert np.abs(image[item].numpy() - expected).mean() < 1e-5
        assert np.abs(image[item].numpy() - expected).max() < 2e-2


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_positions_interpolate_to_pixel_centres(scene: Scene, kernel: str) -> None:
    renderer = zbuffer(kernel)
    fragments = renderer.rasterize(scene.projected, scene.topology.faces, SIZE)
    image = renderer.interpolate(fragments, fragments.vertices)
    expected = pixel_centres(SIZE).permute(2, 0, 1) * fragments.mask
    error = (image[:, :2] - expected).abs()
    assert error.median() < 1e-6
    assert error.max() < 1e-3  # slivers: PyTorch3D's epsilon
    seen = fragments.triangles >= 0
    assert_close(image[:, 2][seen], fragments.depth[seen], rtol=1e-3, atol=0)


def test_kernels_agree_forward_and_backward() -> None:
    scene = make_scene(3, 30, 40)
    results = []
    for kernel in ("numba", "torch"):
        vertices = scene.projected.requires_grad_()
        values = random_values(3, len(scene.topology.uv), 7).requires_grad_()
        renderer = zbuffer(kernel)
        fragments = renderer.rasterize(vertices, scene.topology.faces, SIZE)
        image = renderer.interpolate(fragments, values, scene.topology.uv_faces)
        image.backward(random_values(*image.shape, seed=1))
        results.append((image.detach(), vertices.grad, values.grad))
    for fast, reference in zip(*results, strict=True):
        # float32 sums in another order; slivers amplify the last bits
        assert (fast - reference).norm() < 1e-4 * reference.norm()
    assert results[0][1][..., 2].abs().max() == 0  # depth decides visibility only: no gradient


def test_gradcheck_in_float64() -> None:
    scene = make_scene(2, 5, 7)
    renderer = zbuffer("auto")
    fixed = renderer.rasterize(scene.projected.double(), scene.topology.faces, (7, 9))
    values = random_values(2, len(scene.topology.uv), 2).double().requires_grad_()

    def interpolate(vertices: Tensor, values: Tensor) -> Tensor:
        # visibility stays as it is, as DECA's semantics have it
        fragments = type(fixed)(vertices, fixed.faces, fixed.triangles, fixed.depth, fixed.native)
        return renderer.interpolate(fragments, values, scene.topology.uv_faces)

    vertices = scene.projected.double().requires_grad_()
    assert torch.autograd.gradcheck(interpolate, (vertices, values), eps=1e-7, atol=1e-5, fast_mode=True)
    assert torch.autograd.gradgradcheck(interpolate, (vertices, values), eps=1e-7, atol=1e-4, fast_mode=True)


def test_fused_gradient_against_float64() -> None:
    scene = make_scene(2, 8, 10)
    results = []
    for dtype in (torch.float32, torch.float64):
        renderer = zbuffer("auto")
        seen = renderer.rasterize(scene.projected, scene.topology.faces, SIZE)
        vertices = scene.projected.to(dtype).requires_grad_()
        values = random_values(2, scene.vertices.shape[1], 3).to(dtype).requires_grad_()
        fragments = type(seen)(vertices, seen.faces, seen.triangles, seen.depth, seen.native)
        renderer.interpolate(fragments, values).square().sum().backward()
        results.append((vertices.grad.double(), values.grad.double()))
    for single, double in zip(*results, strict=True):
        assert (single - double).norm() < 1e-4 * double.norm()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_image_in_bands_gives_the_same_gradient(threads: int) -> None:
    scene = make_scene(1)
    before = torch.get_num_threads()
    gradients = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            vertices = scene.projected.requires_grad_()
            values = random_values(1, scene.vertices.shape[1], 3).requires_grad_()
            renderer = zbuffer("numba")
            image = renderer.interpolate(renderer.rasterize(vertices, scene.topology.faces, (41, 40)), values)
            image.backward(random_values(*image.shape, seed=1))
            gradients.append((image.detach(), vertices.grad, values.grad))
    finally:
        torch.set_num_threads(before)
    for one, many in zip(*gradients, strict=True):
        assert_close(one, many, rtol=1e-4, atol=1e-4)  # sums of float32 in another order


def test_only_what_is_asked_for_gets_a_gradient(scene: Scene) -> None:
    renderer = zbuffer("numba")
    values = random_values(2, scene.vertices.shape[1], 3)
    vertices = scene.projected.requires_grad_()
    renderer.interpolate(renderer.rasterize(vertices, scene.topology.faces, SIZE), values).sum().backward()
    assert vertices.grad is not None
    assert values.grad is None
    values.requires_grad_()
    renderer.interpolate(renderer.rasterize(vertices.detach(), scene.topology.faces, SIZE), values).sum().backward()
    assert values.grad.abs().sum() > 0


def test_gradient_of_a_broadcast_sum(scene: Scene) -> None:
    # .sum() sends an expanded gradient of stride zero into the kernel
    renderer = zbuffer("numba")
    values = random_values(2, scene.vertices.shape[1], 2).requires_grad_()
    fragments = renderer.rasterize(scene.projected, scene.topology.faces, SIZE)
    renderer.interpolate(fragments, values).sum().backward()
    # the weights of a pixel sum to one, up to PyTorch3D's epsilon
    assert values.grad[..., 0].sum() == pytest.approx(float(fragments.mask.sum()), rel=1e-3)


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_nan_stays_where_it_is_seen(scene: Scene, kernel: str) -> None:
    values = random_values(2, scene.vertices.shape[1], 2)
    renderer = zbuffer(kernel)
    fragments = renderer.rasterize(scene.projected, scene.topology.faces, SIZE)
    touched = int(scene.topology.faces[fragments.triangles[0].max()][0])
    clean = renderer.interpolate(fragments, values)
    values[0, touched, 1] = float("nan")
    image = renderer.interpolate(fragments, values)
    around = (scene.topology.faces == touched).any(1).nonzero().flatten()
    expected = torch.isin(fragments.triangles[0].long(), around)
    assert torch.equal(image[0, 1].isnan(), expected)
    assert expected.any()
    image[0, 1][expected] = clean[0, 1][expected]
    assert torch.equal(image, clean)


@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_small_negative_area_does_not_cancel_the_epsilon(kernel: str) -> None:
    # twice the area is close to -1e-8: PyTorch3D's formula divides by zero there
    corner, leg = torch.tensor([1 / 8 - 1e-5, 1 / 8 - 1e-5]), 1.02e-4
    legs = torch.tensor([[0.0, 0.0], [0.0, leg], [leg, 0.0]])
    for order in ([0, 1, 2], [0, 2, 1]):
        vertices = torch.nn.functional.pad(corner + legs[order], (0, 1), value=3.0)[None]
        renderer = zbuffer(kernel)
        fragments = renderer.rasterize(vertices, torch.tensor([[0, 1, 2]]), (8, 8))
        assert fragments.mask.sum() == 1
        assert renderer.interpolate(fragments, torch.ones(1, 3, 1)).max() < 2


def test_attributes_of_the_wrong_count_are_refused(scene: Scene) -> None:
    renderer = zbuffer("numba")
    fragments = renderer.rasterize(scene.projected, scene.topology.faces, SIZE)
    with pytest.raises(ValueError, match="triangles refer to vertices"):
        renderer.interpolate(fragments, torch.ones(2, 5, 1))
