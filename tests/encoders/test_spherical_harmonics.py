"""Light codes of the BFM methods against their published formula, and rotation of light."""

import numpy as np
import torch

from emoca_core.geometry.lighting import irradiance
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_plugins.encoders.spherical_harmonics import lighting_from_bfm, rotate_lighting


def published_shading(gamma: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Deep3DFace's formula, float64: gamma [27] channel-major, 0.8 added to the first band; normals [N, 3]."""
    a = (np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8))
    c = (1 / np.sqrt(4 * np.pi), np.sqrt(3) / np.sqrt(4 * np.pi), 3 * np.sqrt(5) / np.sqrt(12 * np.pi))
    x, y, z = normals.T
    bands = np.stack(
        [
            a[0] * c[0] * np.ones_like(x),
            -a[1] * c[1] * y,
            a[1] * c[1] * z,
            -a[1] * c[1] * x,
            a[2] * c[2] * x * y,
            -a[2] * c[2] * y * z,
            0.5 * a[2] * c[2] / np.sqrt(3) * (3 * z**2 - 1),
            -a[2] * c[2] * x * z,
            0.5 * a[2] * c[2] * (x**2 - y**2),
        ],
        axis=1,
    )
    light = gamma.reshape(3, 9).copy()
    light[:, 0] += 0.8
    return bands @ light.T


def random_normals(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(2, count, 3, dtype=torch.float64), dim=-1)


def test_same_light_on_random_normals() -> None:
    torch.manual_seed(0)
    gamma, normals = torch.randn(2, 27, dtype=torch.float64), random_normals(500)
    shading = irradiance(normals, lighting_from_bfm(gamma))
    for actual, g, n in zip(shading, gamma, normals, strict=True):
        np.testing.assert_allclose(actual, published_shading(g.numpy(), n.numpy()), rtol=0, atol=1e-12)


def test_zero_code_is_ambient_light() -> None:
    shading = irradiance(random_normals(10), lighting_from_bfm(torch.zeros(2, 27, dtype=torch.float64)))
    torch.testing.assert_close(shading, torch.full_like(shading, 0.8 * np.pi / np.sqrt(4 * np.pi)))


def test_rotated_light_on_rotated_normals() -> None:
    torch.manual_seed(1)
    lighting, normals = torch.randn(2, 9, 3, dtype=torch.float64), random_normals(200)
    rotation = rotation_vector_to_matrix(2 * torch.randn(2, 3, dtype=torch.float64))
    turned = irradiance(normals @ rotation.mT, rotate_lighting(lighting, rotation))
    torch.testing.assert_close(turned, irradiance(normals, lighting), rtol=0, atol=1e-12)


def test_conversions_have_exact_gradients() -> None:
    torch.manual_seed(2)
    gamma = torch.randn(2, 27, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    turn = lambda g, r: rotate_lighting(lighting_from_bfm(g), rotation_vector_to_matrix(r))  # noqa: E731
    assert torch.autograd.gradcheck(turn, (gamma, angles))
