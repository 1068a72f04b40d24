"""Barycentric points against plain indexing, contour rows against the published rule."""

import math

import pytest
import torch

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.geometry.surface_points import barycentric_points, contour_row, dynamic_contour_points, head_yaw_degrees


def yaw_matrix(degrees):
    vectors = torch.zeros(len(degrees), 3, dtype=torch.float64)
    vectors[:, 1] = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return rotation_vector_to_matrix(vectors)


def random_surface(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn(batch, 12, 3, generator=generator, dtype=torch.float64)
    faces = torch.randint(0, 12, (9, 3), generator=generator)
    triangles = torch.randint(0, 9, (79, 5), generator=generator)
    weights = torch.softmax(torch.randn(79, 5, 3, generator=generator, dtype=torch.float64), -1)
    return vertices, faces, triangles, weights


def test_points_equal_plain_indexing_shared_and_per_item():
    vertices, faces, triangles, weights = random_surface()
    expected = torch.stack(
        [
            torch.stack([weights[i, k] @ vertices[i, faces[triangles[i, k]]] for k in range(triangles.shape[1])])
            for i in range(2)
        ]
    )
    torch.testing.assert_close(barycentric_points(vertices, faces, triangles[:2], weights[:2]), expected)
    torch.testing.assert_close(
        barycentric_points(vertices[:1], faces, triangles[0], weights[0]), expected[:1], msg="shared embedding"
    )


@pytest.mark.parametrize(
    ("degrees", "row"),
    [(0, 0), (0.4, 0), (1, 1), (38.6, 39), (39, 39), (70, 39), (-1, 40), (-38.7, 78), (-39, 78), (-80, 78)],
)
def test_contour_row_follows_flames_order(degrees, row):
    assert contour_row(yaw_matrix([degrees])).item() == row


def test_yaw_is_free_of_roll_and_keeps_its_sign():
    roll = rotation_vector_to_matrix(torch.tensor([[0.0, 0.0, 0.7]], dtype=torch.float64))
    torch.testing.assert_close(head_yaw_degrees(roll @ yaw_matrix([25.0])), torch.tensor([25.0], dtype=torch.float64))
    face_normal = yaw_matrix([25.0])[0, :, 2]
    assert face_normal[0] > 0
    assert math.isclose(face_normal[0].item(), math.sin(math.radians(25)))


def test_dynamic_contour_takes_each_items_row_and_has_gradients():
    vertices, faces, triangles, weights = random_surface()
    points = dynamic_contour_points(vertices.requires_grad_(), faces, yaw_matrix([7, -12]), triangles, weights)
    expected = barycentric_points(vertices, faces, triangles[[7, 51]], weights[[7, 51]])
    torch.testing.assert_close(points, expected)
    assert torch.autograd.gradcheck(
        lambda v: dynamic_contour_points(v, faces, yaw_matrix([7, -12]), triangles, weights), vertices
    )
