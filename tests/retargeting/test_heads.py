"""How heads are seen turned."""

import numpy as np
from scipy.spatial.transform import Rotation

from emoca_core.interfaces import PhotoCamera
from emoca_core.retargeting.heads import camera_to_sight, to_sight


def test_the_line_of_sight_becomes_the_axis_by_the_smallest_rotation():
    places = np.random.default_rng(0).normal(size=(50, 3)) * [0.5, 0.5, 0.2] + [0, 0, 1]
    lines = places * [1, -1, -1] / np.linalg.norm(places, axis=1, keepdims=True)
    turns = to_sight(places)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", turns, lines), np.tile([0, 0, -1.0], (50, 1)), atol=1e-12)
    angles = Rotation.from_matrix(turns).magnitude()
    np.testing.assert_allclose(np.cos(angles), -lines[:, 2], atol=1e-12)  # no more than needed
    np.testing.assert_allclose(np.linalg.det(turns), 1)


def test_parallel_lines_need_none():
    parts = (np.eye(3), np.eye(3), np.array([0.3, 0.2, 1.0]), (9, 9))
    assert (camera_to_sight(PhotoCamera("orthographic", *parts)) == np.eye(3)).all()
    assert np.abs(camera_to_sight(PhotoCamera("perspective", *parts)) - np.eye(3)).max() > 0.1
    assert (camera_to_sight(None) == np.eye(3)).all()
