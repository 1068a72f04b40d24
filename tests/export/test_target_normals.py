"""What targets do to normals, against whole meshes posed one by one."""

import numpy as np
import pytest

from emoca_core.export.mesh import unit_normals
from emoca_core.export.target_normals import MovedSurface

FACES = np.array([[0, 1, 2], [0, 2, 3], [2, 1, 4], [4, 5, 2], [6, 6, 5]])
"""The last has no area; vertex 7 belongs to none."""


def surface(seed: int, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a crumpled surface of a few centimetres, and targets that move what shall move."""
    random = np.random.default_rng(seed)
    vertices = random.normal(0, 0.03, (8, 3))
    return vertices, (random.normal(0, 0.01, (len(moves), 8, 3)) * moves[..., None]).astype(np.float32)


MOVES = np.zeros((4, 8), bool)
MOVES[0, [1, 4]] = MOVES[1] = MOVES[2, [0]] = True
"""Two vertices, all, one, and none."""


@pytest.mark.parametrize("seed", [0, 1])  # the second finds what the first has left behind
def test_turns_are_those_of_the_posed_meshes(seed):
    neutral, targets = surface(seed, MOVES)
    turns = MovedSurface.of(MOVES, FACES).turns(neutral, targets)
    at_rest, posed = unit_normals(neutral, FACES), unit_normals(neutral + targets, FACES)
    np.testing.assert_allclose(turns, posed - at_rest, atol=2e-6)  # single precision, and triangles of some square mm
    assert np.abs(turns[:3]).max(axis=(1, 2)).min() > 0.1, "nothing turns, so nothing was compared"
    assert not turns[3].any() and not turns[:, 7].any()


def test_a_triangle_is_turned_by_any_of_its_corners():
    surface_of = MovedSurface.of(np.eye(8, dtype=bool), FACES)
    turned = {(number // 8, number % 8) for number in surface_of.turning.tolist()}
    assert turned == {(moved, other) for face in FACES.tolist() for moved in face for other in face}


def test_other_triangles_are_another_surface():
    neutral, targets = surface(2, MOVES)
    faces = FACES[:4]  # those with an area
    one, other = (MovedSurface.of(MOVES, f).turns(neutral, targets) for f in (faces, faces[:, ::-1].copy()))
    np.testing.assert_allclose(one, -other, atol=1e-6)
