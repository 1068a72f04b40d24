"""The dense mesh: one vertex a texel, outward triangles, nothing between the pieces of the unrolled mesh."""

import numpy as np
import pytest
import torch
import trimesh

from emoca_core.export.detail import displaced_mesh
from emoca_core.rendering.topology import MeshTopology
from emoca_core.rendering.uv_space import UvSpace
from emoca_plugins.renderers.zbuffer import ZBuffer

SIDE = 40
LOW, HIGH = 4, 36  # columns and rows of texels whose centres lie in [0.1, 0.9]
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


@pytest.fixture
def plates() -> tuple[UvSpace, torch.Tensor]:
    """Two plates that look along +z, 5 cm apart in depth, but side by side without a gap in the texture."""
    uv = np.concatenate([CORNERS * [0.4, 0.8] + [0.1, 0.1], CORNERS * [0.4, 0.8] + [0.5, 0.1]])
    vertices = np.column_stack([uv * 0.1, np.repeat([0, 0.05], 4)])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    topology = MeshTopology(faces, torch.tensor(uv).float(), faces)
    return UvSpace.of(ZBuffer(), topology, SIDE), torch.tensor(vertices).float()[None]


def test_one_vertex_for_each_texel_of_the_surface(plates, tmp_path):
    mesh = displaced_mesh(*plates, torch.zeros(1, 1, SIDE, SIDE))
    count = HIGH - LOW
    assert len(mesh.vertices) == count**2
    assert len(mesh.faces) == 2 * (count - 1) * (
        count - 2
    )  # two triangles a cell, without the cells between the plates
    loaded = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert (loaded.face_normals[:, 2] > 0.999).all()  # outwards
    np.testing.assert_allclose(mesh.uv * 0.1, mesh.vertices[:, :2], atol=1e-7)  # as the plates were laid out


def test_the_mask_bounds_the_displacement_but_not_the_fixed_one(plates):
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., :20, :] = 1  # v > 0.5
    mesh = displaced_mesh(*plates, torch.full((1, 1, SIDE, SIDE), 2e-3), mask, torch.full((SIDE, SIDE), 5e-4))
    expected = 0.05 * (mesh.uv[:, 0] > 0.5) + 2e-3 * (mesh.uv[:, 1] > 0.5) + 5e-4
    np.testing.assert_allclose(mesh.vertices[:, 2], expected, atol=1e-7)
