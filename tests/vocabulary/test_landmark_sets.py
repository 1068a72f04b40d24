"""The landmark tables against what makes them right: symmetry, geometry, and the published lists."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray

from emoca_core.errors import UnknownNameError
from emoca_core.vocabulary import landmark_sets as landmarks
from emoca_core.vocabulary.landmark_sets import (
    IBUG68,
    IBUG68_EYELID_PAIRS,
    IBUG68_LIP_PAIRS,
    IBUG68_MIRROR,
    IBUG68_MOUTH_CORNER_PAIRS,
    MEDIAPIPE,
    MEDIAPIPE_EYELID_PAIRS,
    MEDIAPIPE_EYELID_PAIRS_UPSTREAM,
    MEDIAPIPE_LIP_PAIRS,
    MEDIAPIPE_MIRROR,
    MEDIAPIPE_MOUTH_CORNER_PAIRS,
    MEDIAPIPE_TO_IBUG68,
    mediapipe_to_ibug68,
    mirror_order,
)


def test_features_cover_the_68_points_once() -> None:
    assert sorted(np.concatenate(list(IBUG68.values()))) == list(range(68))


@pytest.mark.parametrize("name", landmarks.LANDMARK_COUNT)
def test_mirror_twice_is_nothing(name: str) -> None:
    order = mirror_order(name)
    assert len(order) == landmarks.LANDMARK_COUNT[name]
    np.testing.assert_array_equal(order[order], np.arange(len(order)))


def test_unknown_set() -> None:
    with pytest.raises(UnknownNameError, match="ibug68"):
        mirror_order("ibug86")


@pytest.mark.parametrize("groups, mirror", [(IBUG68, IBUG68_MIRROR), (MEDIAPIPE, MEDIAPIPE_MIRROR)])
def test_mirror_swaps_left_and_right_features(groups: dict[str, ndarray], mirror: ndarray) -> None:
    for name, points in groups.items():
        other = name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        assert set(mirror[points]) == set(groups[other]), name


def test_conversion_commutes_with_mirroring() -> None:
    np.testing.assert_array_equal(MEDIAPIPE_MIRROR[MEDIAPIPE_TO_IBUG68], MEDIAPIPE_TO_IBUG68[IBUG68_MIRROR])
    assert len(set(MEDIAPIPE_TO_IBUG68)) == 68


def test_conversion_keeps_features() -> None:
    for name in ("contour", "right_brow", "left_brow", "right_eye", "left_eye", "outer_lips", "inner_lips"):
        assert set(MEDIAPIPE_TO_IBUG68[IBUG68[name]]) <= set(MEDIAPIPE[name]), name


@pytest.mark.parametrize("count", [468, 478])
def test_conversion_of_arrays_and_tensors(count: int) -> None:
    points = np.random.default_rng(0).normal(size=(2, count, 3))
    np.testing.assert_array_equal(mediapipe_to_ibug68(points), points[:, MEDIAPIPE_TO_IBUG68])
    tensor = torch.from_numpy(points).requires_grad_()
    assert mediapipe_to_ibug68(tensor).shape == (2, 68, 3)
    assert torch.autograd.grad(mediapipe_to_ibug68(tensor).sum(), tensor)[0].sum() == 2 * 68 * 3


def test_published_bug_is_what_it_is() -> None:
    """Sorting both lids apart leaves four of the fourteen pairs right (the other losses build on these)."""
    right = {tuple(pair) for pair in MEDIAPIPE_EYELID_PAIRS}
    upstream = {tuple(pair) for pair in MEDIAPIPE_EYELID_PAIRS_UPSTREAM}
    assert right & upstream == {(159, 145), (173, 155), (386, 374), (398, 382)}
    assert {a for a, _ in right} == {a for a, _ in upstream} and {b for _, b in right} == {b for _, b in upstream}


@pytest.fixture(scope="module")
def frontal_face() -> ndarray:
    """All 478 points of a frontal smiling face in pixels, upright."""
    data = pytest.importorskip("skimage.data")
    from emoca_plugins.landmarkers.mediapipe import MediaPipeLandmarker

    return MediaPipeLandmarker().detect(data.astronaut())[0].landmarks["mediapipe478"]


@pytest.mark.parametrize(
    "pairs",
    [MEDIAPIPE_EYELID_PAIRS, MEDIAPIPE_LIP_PAIRS],
    ids=["lids", "lips"],
)
def test_pairs_lie_above_one_another(frontal_face: ndarray, pairs: ndarray) -> None:
    upper, lower = frontal_face[pairs[:, 0]], frontal_face[pairs[:, 1]]
    eye = np.linalg.norm(frontal_face[33] - frontal_face[133])
    assert (lower[:, 1] > upper[:, 1]).all()
    assert np.abs(lower[:, 0] - upper[:, 0]).max() < 0.35 * eye


def test_ibug_pairs_lie_where_they_should(frontal_face: ndarray) -> None:
    points = mediapipe_to_ibug68(frontal_face)
    for upper, lower in (*IBUG68_EYELID_PAIRS, *IBUG68_LIP_PAIRS):
        assert points[upper, 1] < points[lower, 1]
    for right, left in IBUG68_MOUTH_CORNER_PAIRS:
        assert points[right, 0] < points[left, 0]
    for right, left in MEDIAPIPE_MOUTH_CORNER_PAIRS:
        assert frontal_face[right, 0] < frontal_face[left, 0]
    assert points[8, 1] == points[IBUG68["contour"], 1].max(), "the chin is lowest"
    assert (np.diff(points[1:16, 0]) > 0).all(), "below the ears the jaw runs from the subject's right to left"


def test_mirror_is_the_mirrored_detection(shared: Path) -> None:
    from emoca_core.images.photos import read_photo
    from emoca_plugins.landmarkers.mediapipe import MediaPipeLandmarker

    photo = read_photo(shared / "data" / "photos" / "obama.jpg").pixels
    landmarker = MediaPipeLandmarker()
    points = landmarker.detect(photo)[0].landmarks["mediapipe478"]
    flipped = landmarker.detect(np.ascontiguousarray(photo[:, ::-1]))[0].landmarks["mediapipe478"]
    back = (flipped * (-1, 1) + (photo.shape[1] - 1, 0))[MEDIAPIPE_MIRROR]
    # the network is not exactly symmetric: two per cent of the distance between the eyes; a wrong table is far more
    assert np.linalg.norm(back - points, axis=1).max() < 0.1 * np.linalg.norm(points[33] - points[263])
    assert np.linalg.norm(back - points, axis=1).mean() < 0.02 * np.linalg.norm(points[33] - points[263])
