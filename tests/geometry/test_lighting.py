"""Spherical harmonics against SciPy's, and the published constants; lamps against a loop."""

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y
from torch import Tensor
from torch.testing import assert_close
from white_light import white_light

from emoca_core.geometry.lighting import (
    LAMPS,
    SH_CONSTANTS,
    directional_irradiance,
    irradiance,
    irradiance_image,
    spherical_harmonics,
)

PUBLISHED = (0.2820948, *3 * (1.0233267,), *3 * (0.8580855,), 0.4290428, 0.2477079)
"""As DECA's code rounds them."""


def unit_normals(count: int = 50) -> Tensor:
    normals = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.nn.functional.normalize(normals, dim=-1)


def test_constants_are_the_published_ones() -> None:
    assert np.allclose(SH_CONSTANTS, PUBLISHED, atol=1e-7, rtol=0)  # seven decimals, some cut and not rounded


def test_order() -> None:
    x, y, z = 0.1, 0.2, 0.3  # not a unit vector: the polynomials are told apart
    bands = [1, x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    expected = torch.tensor(bands, dtype=torch.float64) * torch.tensor(PUBLISHED, dtype=torch.float64)
    assert_close(spherical_harmonics(torch.tensor([x, y, z], dtype=torch.float64)), expected, atol=1e-7, rtol=0)


def real_harmonic(degree: int, order: int, normals: np.ndarray) -> np.ndarray:
    """Real spherical harmonics without the Condon-Shortley phase, from SciPy's complex ones."""
    theta, phi = np.arccos(normals[:, 2]), np.arctan2(normals[:, 1], normals[:, 0])
    value = sph_harm_y(degree, abs(order), theta, phi) * (-1) ** abs(order)
    if order == 0:
        return value.real
    return math.sqrt(2) * (value.real if order > 0 else value.imag)


def test_against_scipy() -> None:
    # orthonormal harmonics times Lambert's kernel for their degree, but for the first, whose pi DECA leaves out
    normals = unit_normals()
    ours = spherical_harmonics(normals).numpy()
    kernel = {0: 1.0, 1: 2 * math.pi / 3, 2: math.pi / 4}
    orders = [(0, 0), (1, 1), (1, -1), (1, 0), (2, -2), (2, 1), (2, -1), (2, 2), (2, 0)]
    for band, (degree, order) in enumerate(orders):
        expected = kernel[degree] * real_harmonic(degree, order, normals.numpy())
        assert np.allclose(ours[:, band], expected, atol=1e-12), (degree, order)


def test_irradiance_against_a_loop() -> None:
    normals = unit_normals(12).reshape(2, 6, 3)
    lighting = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.zeros(2, 6, 3, dtype=torch.float64)
    basis = spherical_harmonics(normals)
    for item in range(2):
        for point in range(6):
            for band in range(9):
                expected[item, point] += basis[item, point, band] * lighting[item, band]
    assert_close(irradiance(normals, lighting), expected)
    image = irradiance_image(normals.transpose(1, 2).reshape(2, 3, 2, 3), lighting)
    assert_close(image.flatten(2).transpose(1, 2), expected)


def test_white_light_shows_the_albedo() -> None:
    normals = unit_normals(5)[None]
    assert_close(irradiance(normals, white_light(1, normals, 0.7)), torch.full_like(normals, 0.7))


def test_gradient() -> None:
    normals = unit_normals(4)[None].requires_grad_()
    lighting = torch.randn(1, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(irradiance, (normals, lighting))


def test_lamps_against_a_loop() -> None:
    normals = unit_normals(6)
    directions = torch.tensor(LAMPS, dtype=torch.float64)
    expected = [np.mean([1.7 * min(max(float(n @ d / d.norm()), 0), 1) for d in directions]) for n in normals]
    image = directional_irradiance(normals.T.reshape(1, 3, 2, 3), directions)
    assert image.flatten().numpy() == pytest.approx(expected, abs=1e-12)
