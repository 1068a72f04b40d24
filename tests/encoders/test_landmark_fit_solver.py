"""The solver, the camera and the derivatives of landmark_fit against SciPy and automatic differentiation."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares, minimize

from emoca_core.geometry.rotations import matrix_to_rotation_vector, rotation_vector_to_matrix
from emoca_core.interfaces import FaceCrop
from emoca_plugins.encoders.landmark_fit.camera import (
    assumed_intrinsics,
    place,
    scaled_orthographic_rotation,
)
from emoca_plugins.encoders.landmark_fit.objective import right_jacobian
from emoca_plugins.encoders.landmark_fit.solver import Prior, Sharing, huber_loss, levenberg_marquardt


def _problem(items: int, unknowns: int, points: int):
    """r(x) = A x + 0.1 sin(3 A x) - b, with its exact Jacobian: curved, with a known independent solver."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(items, 2, points, unknowns, generator=generator)
    b = torch.randn(items, 2, points, generator=generator)

    def residuals(x):
        y = torch.einsum("bdnp,bp->bdn", a, x)
        return y + 0.1 * torch.sin(3 * y) - b

    def jacobian(x, weight):
        y = torch.einsum("bdnp,bp->bdn", a, x)
        return ((1 + 0.3 * torch.cos(3 * y))[..., None] * a).permute(0, 3, 1, 2) * weight[:, None, None]

    return residuals, jacobian


def _prior(items: int, unknowns: int, low=-math.inf, high=math.inf) -> Prior:
    full = torch.full((items, unknowns), 1.0)
    return Prior(0 * full, 0.5 * full, low * full, high * full)


def _own(items: int) -> Sharing:
    return Sharing.by_label(0, torch.arange(items))


def test_solution_inside_bounds_is_that_of_scipy():
    residuals, jacobian = _problem(3, 5, 12)
    prior = _prior(3, 5, -0.1, 0.15)
    x = levenberg_marquardt(
        torch.zeros(3, 5), residuals, jacobian, prior, _own(3), iterations=40, robust_limit=1e6, tolerance=0.0
    )
    for i in range(3):

        def rows(v, i=i):
            full = torch.zeros(3, 5)
            full[i] = torch.from_numpy(v).float()
            return np.concatenate([residuals(full)[i].flatten().double().numpy(), math.sqrt(0.5) * v])

        expected = least_squares(rows, np.zeros(5), bounds=(-0.1, 0.15), diff_step=1e-3, xtol=1e-12, ftol=1e-12).x
        # SciPy differentiates a single-precision function numerically: about 1e-3 of the box
        np.testing.assert_allclose(x[i].numpy(), expected, atol=2e-3)
    assert bool((x == -0.1).any() or (x == 0.15).any())  # the box matters in this problem


def test_shared_unknowns_minimise_the_robust_cost_of_the_whole_group():
    residuals, jacobian = _problem(3, 4, 10)
    sharing = Sharing.by_label(2, torch.tensor([7, 7, 3]))
    x = levenberg_marquardt(
        torch.zeros(3, 4), residuals, jacobian, _prior(3, 4), sharing, iterations=60, robust_limit=1.0, tolerance=0.0
    )
    assert torch.equal(x[0, :2], x[1, :2])
    assert not torch.equal(x[0, :2], x[2, :2])

    def cost(v):  # items 0 and 1: [shared 2, local 2, local 2]
        own = torch.tensor(np.stack([np.r_[v[:2], v[2:4]], np.r_[v[:2], v[4:6]], np.zeros(4)]), dtype=torch.float32)
        data = huber_loss(residuals(own).square().sum(1), 1.0)[:2].sum()
        return float(data) + 0.5 * float(np.square(v).sum())

    found = np.r_[x[0].numpy(), x[1, 2:].numpy()]
    best = minimize(cost, np.zeros(6), method="Nelder-Mead", options={"maxiter": 6000, "xatol": 1e-4, "fatol": 1e-6})
    assert cost(found) <= best.fun + 1e-3  # Nelder-Mead stops within about 1e-4 of the minimum


def test_an_outlier_hardly_moves_a_robust_fit():
    target = torch.zeros(1, 2, 20)
    target[0, :, 0] = 50.0

    def residuals(x):
        return x[:, :, None] - target

    def jacobian(x, weight):
        return torch.eye(2)[None, :, :, None] * weight[:, None, None]

    free = Prior(*(value * torch.ones(1, 2) for value in (0.0, 1e-6, -math.inf, math.inf)))
    run = {"iterations": 30, "tolerance": 0.0}
    robust = levenberg_marquardt(torch.zeros(1, 2), residuals, jacobian, free, _own(1), robust_limit=1.0, **run)
    plain = levenberg_marquardt(torch.zeros(1, 2), residuals, jacobian, free, _own(1), robust_limit=1e6, **run)
    assert plain.abs().max() == pytest.approx(2.5, rel=1e-3)  # the mean
    assert robust.abs().max() < 0.1


def test_a_start_that_is_not_finite_is_returned_as_it_is():
    residuals, jacobian = _problem(1, 3, 5)
    broken = levenberg_marquardt(
        torch.full((1, 3), torch.nan), residuals, jacobian, _prior(1, 3), _own(1), iterations=3, robust_limit=1.0
    )
    assert bool(broken.isnan().all())


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.05, 0.2, 2.0])
def test_right_jacobian_is_the_derivative_of_the_rotation(angle):
    vector = (angle * torch.nn.functional.normalize(torch.tensor([[1.0, -2.0, 0.5]]), dim=1)).double()
    point = torch.tensor([0.3, -0.1, 0.7], dtype=torch.float64)
    derivative = torch.autograd.functional.jacobian(lambda v: rotation_vector_to_matrix(v)[0] @ point, vector)[:, 0]
    cross = torch.linalg.cross(right_jacobian(vector)[0].mT, point.expand(3, 3))  # (J_r e_j) x q
    torch.testing.assert_close(rotation_vector_to_matrix(vector)[0] @ cross.mT, derivative, atol=2e-3, rtol=0)


def test_first_view_recovers_a_far_pose():
    generator = torch.Generator().manual_seed(1)
    points = 0.05 * torch.randn(4, 60, 3, generator=generator)
    true = torch.tensor([[0.1, 0.0, 0.0], [0.0, 1.2, 0.0], [0.3, -0.9, 0.4], [0.0, 0.1, 2.8]])
    turned = points @ rotation_vector_to_matrix(true).mT
    where = torch.tensor([0.3, -0.2, 20.0])
    in_camera = turned * torch.tensor([1.0, -1.0, -1.0]) + where
    rays = in_camera[..., :2] / in_camera[..., 2:]
    weights = torch.ones(4, 60)
    rotation, distance = scaled_orthographic_rotation(points, rays, weights)
    # the ray is 1 degree off the axis, and the points are 5 cm deep at 20 m: an affine camera leaves about 0.02 rad
    torch.testing.assert_close(matrix_to_rotation_vector(rotation), true, atol=0.03, rtol=0)
    translation = place(points @ rotation.mT, rays, weights, distance)
    torch.testing.assert_close(translation, where.expand(4, 3), rtol=0.01, atol=0.01)


def test_intrinsics_are_those_of_the_whole_photo():
    angle, scale = 0.4, 3.0
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    to_image = torch.eye(3)
    to_image[:2, :2], to_image[:2, 2] = scale * turn, torch.tensor([200.0, -30.0])
    crop = FaceCrop(torch.zeros(1, 3, 64, 64), crop_to_image=to_image[None], photo_size=torch.tensor([[600, 800]]))
    camera = assumed_intrinsics(crop, 2 * math.degrees(math.atan(0.5))).camera(torch.zeros(1, 3))
    in_photo = to_image @ camera.intrinsics_px((64, 64))[0]
    focal = 1000.0  # the diagonal of 600 x 800 at a field of view whose half has tangent 1/2
    assert torch.linalg.det(in_photo[:2, :2]).sqrt() == pytest.approx(focal, rel=1e-5)
    torch.testing.assert_close(in_photo[:2, 2], torch.tensor([399.5, 299.5]), atol=1e-2, rtol=0)


def test_without_its_place_a_crop_is_its_own_photo():
    intrinsics = assumed_intrinsics(FaceCrop(torch.zeros(2, 3, 32, 48)), 53.13)
    torch.testing.assert_close(intrinsics.centre, torch.zeros(2, 2))
    half_diagonal = math.hypot(32, 48) / 2 / math.tan(math.radians(53.13 / 2))
    torch.testing.assert_close(intrinsics.focal[0], torch.tensor([half_diagonal / 24, half_diagonal / 16]))
