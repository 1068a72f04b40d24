"""Skinning against a naive twin that walks vertices and joints one by one."""

import numpy as np
import pytest
import torch

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.geometry.skinning import joint_transforms, linear_blend_skinning

PARENTS = (-1, 0, 1, 1, 1)


def naive_skinning(vertices, rotations, joints, parents, weights):
    """Straight from the SMPL paper: homogeneous 4x4 matrices, loops."""
    world = []
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    posed = np.zeros_like(vertices)
    for i, vertex in enumerate(vertices):
        for j in range(len(parents)):
            undo = np.eye(4)
            undo[:3, 3] = -joints[j]
            posed[i] += weights[i, j] * (world[j] @ undo @ np.append(vertex, 1))[:3]
    return posed


def random_problem(batch=3, count=17, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)  # noqa: E731
    weights = torch.softmax(normal(count, len(PARENTS)), -1)
    rotations = rotation_vector_to_matrix(normal(batch, len(PARENTS), 3))
    return normal(batch, count, 3), rotations, normal(batch, len(PARENTS), 3), PARENTS, weights


def test_equals_naive_twin():
    vertices, rotations, joints, parents, weights = random_problem()
    posed, _ = linear_blend_skinning(vertices, rotations, joints, parents, weights)
    for item in range(len(vertices)):
        expected = naive_skinning(
            vertices[item].numpy(), rotations[item].numpy(), joints[item].numpy(), parents, weights.numpy()
        )
        np.testing.assert_allclose(posed[item].numpy(), expected, atol=1e-12)  # float64 round-off


def test_identity_rotations_change_nothing():
    vertices, rotations, joints, parents, weights = random_problem()
    identity = torch.eye(3, dtype=vertices.dtype).expand_as(rotations)
    posed, transforms = linear_blend_skinning(vertices, identity, joints, parents, weights)
    torch.testing.assert_close(posed, vertices)
    torch.testing.assert_close(transforms, torch.eye(4, dtype=vertices.dtype).expand_as(transforms))


def test_root_joint_stays_and_children_follow_their_parents():
    _, rotations, joints, parents, _ = random_problem()
    transforms = joint_transforms(rotations, joints, parents)
    own = (transforms[..., :3, :3] @ joints[..., None])[..., 0] + transforms[..., :3, 3]
    torch.testing.assert_close(own[:, 0], joints[:, 0])
    for child, parent in enumerate(parents):
        if parent >= 0:
            by_parent = (transforms[:, parent, :3, :3] @ joints[:, child, :, None])[..., 0] + transforms[
                :, parent, :3, 3
            ]
            torch.testing.assert_close(own[:, child], by_parent)


def test_gradients():
    vertices, rotations, joints, parents, weights = random_problem(batch=2, count=4)
    inputs = [t.requires_grad_() for t in (vertices, rotations, joints)]
    assert torch.autograd.gradcheck(
        lambda v, r, j: linear_blend_skinning(v, r, j, parents, weights), inputs, check_undefined_grad=False
    )


@pytest.mark.parametrize("parents", [(-1, 0), (-1, 2, 0, 1, 1), (0, 0, 1, 1, 1)])
def test_bad_tree_is_refused(parents):
    vertices, rotations, joints, _, weights = random_problem()
    with pytest.raises(ValueError, match="parents must name an earlier joint"):
        linear_blend_skinning(vertices, rotations, joints, parents, weights)
