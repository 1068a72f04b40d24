"""Rotation maths against SciPy, and its gradients where the textbook formulas divide by zero."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emoca_core.geometry.rotations import matrix_to_quaternion, matrix_to_rotation_vector, rotation_vector_to_matrix


def random_vectors(count: int = 500, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    axes = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)
    angles = torch.cat([torch.logspace(-9, -1, count // 2), torch.linspace(0.1, math.pi - 1e-6, count - count // 2)])
    return axes * angles.double()[:, None]


def test_matrix_equals_scipy_at_every_angle():
    vectors = random_vectors()
    expected = Rotation.from_rotvec(vectors.numpy()).as_matrix()
    # float64 round-off of two different formulas
    np.testing.assert_allclose(rotation_vector_to_matrix(vectors).numpy(), expected, atol=2e-14)


def test_single_precision_stays_orthogonal():
    matrix = rotation_vector_to_matrix(random_vectors().float())
    identity = torch.eye(3).expand_as(matrix)
    # a few units in the last place of float32
    torch.testing.assert_close(matrix @ matrix.mT, identity, atol=1e-6, rtol=0)


def test_round_trip_up_to_half_turn():
    vectors = random_vectors()
    # near pi the angle is the arc cosine's ill-conditioned end: 1e-9 is what is left of 1e-16
    torch.testing.assert_close(
        matrix_to_rotation_vector(rotation_vector_to_matrix(vectors)), vectors, atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, -0.8, 0], [0, 0.6, -0.8]])
def test_exact_half_turns_give_a_vector_of_length_pi(axis):
    half_turn = torch.tensor(Rotation.from_rotvec(np.pi * np.array(axis)).as_matrix())
    vector = matrix_to_rotation_vector(half_turn)
    torch.testing.assert_close(vector.norm(), torch.tensor(math.pi, dtype=torch.float64))
    torch.testing.assert_close(rotation_vector_to_matrix(vector), half_turn, atol=1e-12, rtol=0)


def test_quaternion_equals_scipy():
    matrices = Rotation.random(200, random_state=3).as_matrix()
    expected = Rotation.from_matrix(matrices).as_quat(scalar_first=True, canonical=True)
    np.testing.assert_allclose(matrix_to_quaternion(torch.tensor(matrices)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-3, 0.00999, 0.01001, 1.0, 3.0])
def test_gradients_at_and_around_zero(scale):
    vector = torch.tensor([[0.3, -0.5, 0.81]], dtype=torch.float64) * scale
    assert torch.autograd.gradcheck(rotation_vector_to_matrix, vector.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda v: matrix_to_rotation_vector(rotation_vector_to_matrix(v)), vector.detach().requires_grad_()
    )


def test_second_derivatives_are_finite_at_zero():
    vector = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(rotation_vector_to_matrix, vector)


def test_batch_dimensions_are_kept():
    assert rotation_vector_to_matrix(torch.zeros(2, 5, 3)).shape == (2, 5, 3, 3)
    assert matrix_to_rotation_vector(torch.eye(3).expand(2, 5, 3, 3)).shape == (2, 5, 3)
