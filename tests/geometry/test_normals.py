"""Normals against NumPy loops and trimesh-like identities."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from emoca_core.geometry.normals import EPSILON, grid_faces, grid_normals, vertex_normals


def random_mesh(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
    faces = torch.stack([torch.randperm(12, generator=generator)[:3] for _ in range(20)])
    return vertices, faces


def naive_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    normals = np.zeros_like(vertices)
    for a, b, c in faces:
        cross = np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
        for corner in (a, b, c):
            normals[corner] += cross
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), EPSILON)


def test_against_a_loop() -> None:
    vertices, faces = random_mesh()
    expected = np.stack([naive_normals(item.numpy(), faces.numpy()) for item in vertices])
    assert_close(vertex_normals(vertices, faces), torch.from_numpy(expected), atol=1e-12, rtol=0)


def test_counter_clockwise_points_outwards() -> None:
    triangle = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 3, 0]]])
    assert_close(vertex_normals(triangle, torch.tensor([[0, 1, 2]])), torch.tensor([[[0.0, 0, 1]]]).expand(1, 3, 3))


def test_vertices_without_triangles_and_degenerate_ones_are_zero() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 1, 1], [2, 2, 2], [5, 5, 5]]])
    assert_close(vertex_normals(vertices, torch.tensor([[0, 1, 2]])), torch.zeros(1, 4, 3))


def test_tiny_triangles_are_divided_by_epsilon() -> None:
    # 0.1 mm legs: the cross product of 1e-8 m^2 is shorter than epsilon
    vertices = 1e-4 * torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    expected = torch.tensor([0, 0, 1e-8 / EPSILON]).expand(1, 3, 3)
    assert_close(vertex_normals(vertices, torch.tensor([[0, 1, 2]])), expected)


def test_gradient() -> None:
    vertices, faces = random_mesh(1)
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces), vertices.requires_grad_())


@pytest.mark.parametrize("margin", [(0, 0), (2, 1)])
def test_grid_is_a_mesh(margin: tuple[int, int]) -> None:
    points = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mesh = vertex_normals(points.flatten(2).transpose(1, 2), grid_faces(9, 7, margin))
    assert_close(grid_normals(points, margin), mesh.transpose(1, 2).reshape(points.shape), atol=1e-12, rtol=0)


def test_grid_of_an_unrolled_surface_points_outwards() -> None:
    # u to the right is +x, v upwards is +y: rows run downwards
    y, x = torch.meshgrid(torch.linspace(1, -1, 5), torch.linspace(-1, 1, 6), indexing="ij")
    normals = grid_normals(torch.stack([x, y, torch.zeros_like(x)])[None])
    assert_close(normals, torch.tensor([0.0, 0, 1])[None, :, None, None].expand(1, 3, 5, 6))


def test_number_of_grid_triangles() -> None:
    assert len(grid_faces(256, 256)) == 130_050  # the dense mesh of the published checkpoints


def test_grid_gradient() -> None:
    points = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(grid_normals, points.requires_grad_())
