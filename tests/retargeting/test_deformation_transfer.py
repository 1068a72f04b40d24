"""Deformation transfer against its own definition, solved densely, and on heads whose truth is known."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from emoca_core.errors import AssetFormatError
from emoca_core.retargeting.deformation_transfer import DeformationTransfer, read_pairs


@pytest.fixture(scope="module")
def ball():
    mesh = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)


def same(faces):
    return np.repeat(np.arange(len(faces))[:, None], 2, axis=1)


def bumps(vertices, count=3, size=0.02):
    return size * np.random.default_rng(4).normal(size=(count, *vertices.shape))


def frame_of(points):
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    return np.column_stack([points[1] - points[0], points[2] - points[0], normal / np.sqrt(np.linalg.norm(normal))])


def test_a_mesh_follows_itself_exactly(ball):
    vertices, faces = ball
    moved = bumps(vertices)
    transfer = DeformationTransfer(vertices, faces, vertices, faces, same(faces))
    np.testing.assert_allclose(transfer(moved), moved, atol=1e-9)


def test_what_turns_and_grows_as_a_whole_is_followed_by_another_form(ball):
    vertices, faces = ball
    other = vertices * [1.0, 1.4, 0.7] + [0.3, 0, 0]
    map_ = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix() * 1.3
    added = DeformationTransfer(vertices, faces, other, faces, same(faces))((vertices @ map_.T - vertices)[None])[0]
    shape = (other + added) - (other + added).mean(axis=0)
    np.testing.assert_allclose(shape, (other - other.mean(axis=0)) @ map_.T, atol=1e-9)


def test_it_is_the_least_squares_of_the_paper(ball):
    """Naive: every gradient as a function of all points, by the definition, solved densely."""
    vertices, faces = ball
    other, moved = vertices * [1, 1.3, 0.8], bumps(vertices, 1)
    pairs = same(faces)[::2]  # every second triangle has no partner
    added = DeformationTransfer(vertices, faces, other, faces, pairs)(moved)[0]
    wanted = {
        j: frame_of((vertices + moved[0])[faces[i]]) @ np.linalg.inv(frame_of(vertices[faces[i]])) for i, j in pairs
    }
    count, number = len(other), len(faces)

    def gradients(points):
        found = []
        for j, face in enumerate(faces):
            a, b, c = points[face]
            edges = np.column_stack([b - a, c - a, points[count + j] - a])
            found.append(edges @ np.linalg.inv(frame_of(other[face])))
        return np.array(found).transpose(0, 2, 1).reshape(-1, 3)

    size = count + number
    basis = np.stack([gradients(np.tile(row[:, None], 3))[:, 0] for row in np.eye(size)], axis=1)
    right = np.concatenate([wanted.get(j, np.eye(3)).T for j in range(number)])
    free = np.linalg.lstsq(basis, right, rcond=None)[0][:count]  # least norm: up to a shift of the whole
    np.testing.assert_allclose((other + added) - (other + added).mean(axis=0), free - free.mean(axis=0), atol=1e-8)


def test_pieces_go_with_their_partners(ball):
    vertices, faces = ball
    two, both = (
        np.concatenate([vertices, vertices + np.array([0.5, 0, 0])]),
        np.concatenate([faces, faces + len(vertices)]),
    )
    moved = np.zeros((1, *two.shape))
    moved[0, len(vertices) :] = [0, 0.1, 0]  # the second ball rises as a whole
    added = DeformationTransfer(two, both, 2 * two, both, same(both))(moved)[0]
    np.testing.assert_allclose(added[: len(vertices)], 0, atol=1e-9)
    np.testing.assert_allclose(
        added[len(vertices) :], np.tile([0, 0.2, 0], (len(vertices), 1)), atol=1e-9
    )  # twice as large


def test_a_head_of_another_person_smiles_as_its_own_model_does(method):
    import torch

    from emoca_core.interfaces import FaceParameters
    from emoca_core.vocabulary.arkit import ARKIT_NAMES

    head, names = method.face_model, ("mouthSmileLeft", "browInnerUp", "jawOpen")
    code = torch.zeros(4, 52)
    code[[1, 2, 3], [ARKIT_NAMES.index(name) for name in names]] = 1

    def posed(shape):
        with torch.no_grad():
            return head(FaceParameters(shape=shape.expand(4, -1), expression=code)).vertices.double().numpy()

    own = posed(torch.zeros(1, 100))
    theirs = posed(torch.randn(1, 100, generator=torch.Generator().manual_seed(0)))
    faces = head.faces.numpy()
    added = DeformationTransfer(own[0], faces, theirs[0], faces, same(faces))(own[1:] - own[0])
    true = theirs[1:] - theirs[0]
    away = np.linalg.norm(added - true, axis=2)
    moves = np.linalg.norm(true, axis=2) > 1e-3
    assert (away[moves].mean() / np.linalg.norm(true, axis=2)[moves].mean()) < 0.15  # the model's own is linear, too


@pytest.mark.parametrize("text", ["", "a,b\n", "1\n", "0,99\n", "99,0\n", "-1,0\n", "0,1\n2,1\n", "0,1,2\n", "0.5,1\n"])
def test_pairs_that_do_not_fit_are_one_line(tmp_path, text):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(AssetFormatError) as error:
        read_pairs(tmp_path / "p.csv", 9, 9)
    assert "\n" not in str(error.value)


def test_pairs_may_have_a_header(tmp_path):
    (tmp_path / "p.csv").write_text("source,target\n3,4\n5,6\n")
    assert read_pairs(tmp_path / "p.csv", 9, 9).tolist() == [[3, 4], [5, 6]]
