"""What is read where it lies is what MediaPipe's own reader gives, and the reader stands in where it cannot be."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy import ndarray

from emoca_plugins.landmarkers import mediapipe_meshes
from emoca_plugins.landmarkers.mediapipe import MediaPipeLandmarker
from emoca_plugins.landmarkers.mediapipe_meshes import Mesh, meshes_in
from emoca_plugins.landmarkers.mediapipe_tasks import create_video_task


@pytest.fixture(scope="module")
def landmarker() -> MediaPipeLandmarker:
    return MediaPipeLandmarker()


@pytest.fixture(scope="module")
def window() -> ndarray:
    return np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:256, 96:352])


def both_ways(monkeypatch: pytest.MonkeyPatch, look: Callable[[], list[Mesh]]) -> tuple[list[Mesh], list[Mesh]]:
    """What is read where it lies, and what MediaPipe's reader gives; each must be used when it should."""
    reads = []
    reader = mediapipe_meshes._by_reader
    monkeypatch.setattr(mediapipe_meshes, "_by_reader", lambda result: reads.append(1) or reader(result))
    directly = look()
    assert not reads, "this release of MediaPipe keeps its results elsewhere: every frame takes a tenth longer"
    monkeypatch.setattr(mediapipe_meshes, "_layout", lambda: None)
    by_reader = look()
    assert reads
    return directly, by_reader


def test_photos_are_read_as_mediapipe_reads_them(landmarker, window, monkeypatch):
    task = landmarker._get_tasks().landmarker
    found, expected = both_ways(monkeypatch, lambda: meshes_in(window, task))
    same(found, expected)
    assert meshes_in(np.zeros_like(window), task) == []


def test_frames_are_read_as_mediapipe_reads_them(landmarker, window, monkeypatch):
    def look() -> list[Mesh]:
        task = create_video_task(landmarker._options)
        found = [meshes_in(window, task, 1000 * moment) for moment in range(1, 4)]
        task.close()
        return [mesh for meshes in found for mesh in meshes]

    found, expected = both_ways(monkeypatch, look)
    assert len(found) == 3
    same(found, expected)


def same(found: list[Mesh], expected: list[Mesh]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.points.shape == (478, 2) and one.points.dtype == np.float64
        np.testing.assert_array_equal(one.points, other.points)
        assert one.scores == other.scores and len(one.scores) == 52
        np.testing.assert_array_equal(one.pose, other.pose)


def test_results_that_lie_otherwise_are_left_to_the_reader(monkeypatch):
    """Points of double precision, or none at all: a release that is not known."""
    import ctypes

    class Point(ctypes.Structure):
        _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]

    layout = mediapipe_meshes._layout.__wrapped__
    for parts in ({}, {"landmark_c_lib": SimpleNamespace(MpNormalizedLandmarkC=Point)}):
        monkeypatch.setattr(
            mediapipe_meshes.importlib, "import_module", lambda name, parts=parts: SimpleNamespace(**parts)
        )
        assert layout() is None
