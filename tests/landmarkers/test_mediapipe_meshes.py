"""What is read where it lies is what MediaPipe's own reader gives, and the reader stands in where it cannot be."""

import ctypes
import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

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


class Double(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


class Doubles(ctypes.Structure):
    _fields_ = [("landmarks", ctypes.POINTER(Double)), ("landmarks_count", ctypes.c_uint32)]


def of_doubles(module: Any) -> SimpleNamespace:
    """Points of double precision."""
    fields = dict(module.MpFaceLandmarkerResultC._fields_) | {"face_landmarks": ctypes.POINTER(Doubles)}
    other = type("Other", (ctypes.Structure,), {"_fields_": [*fields.items()]})
    return SimpleNamespace(MpFaceLandmarkerResultC=other, _CTYPES_SIGNATURES=signatures(module, other))


def of_other_arguments(module: Any) -> SimpleNamespace:
    """A moment for photos as well."""
    result = module.MpFaceLandmarkerResultC
    calls = signatures(module, result)
    calls[0].argtypes.insert(3, ctypes.c_int64)
    return SimpleNamespace(MpFaceLandmarkerResultC=result, _CTYPES_SIGNATURES=calls)


def of_nothing(module: Any) -> SimpleNamespace:
    return SimpleNamespace()


def signatures(module: Any, result: Any) -> list[SimpleNamespace]:
    """Those of three functions, photos first, for another kind of result."""
    names = (mediapipe_meshes._OF_PHOTOS, mediapipe_meshes._OF_VIDEO, mediapipe_meshes._CLOSE)
    takes = {call.func_name: call.argtypes for call in module._CTYPES_SIGNATURES}
    known, new = ctypes.POINTER(module.MpFaceLandmarkerResultC), ctypes.POINTER(result)
    return [
        SimpleNamespace(func_name=name, argtypes=[new if one is known else one for one in takes[name]])
        for name in names
    ]


def as_it_is(module: Any) -> SimpleNamespace:
    result = module.MpFaceLandmarkerResultC
    return SimpleNamespace(MpFaceLandmarkerResultC=result, _CTYPES_SIGNATURES=signatures(module, result))


def layout_of(monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object]) -> object:
    monkeypatch.setattr(mediapipe_meshes, "importlib", SimpleNamespace(import_module=load))
    return mediapipe_meshes._layout.__wrapped__()


@pytest.mark.parametrize("other", [of_doubles, of_other_arguments, of_nothing])
def test_results_that_lie_otherwise_are_left_to_the_reader(monkeypatch, other):
    """A release that is not known."""
    module = importlib.import_module(mediapipe_meshes._MODULE)
    assert layout_of(monkeypatch, lambda name: as_it_is(module)) is not None
    assert layout_of(monkeypatch, lambda name: other(module)) is None


def test_a_release_without_the_module_is_left_to_the_reader(monkeypatch):
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    assert layout_of(monkeypatch, missing) is None


def test_a_task_without_the_functions_is_left_to_its_reader(window):
    """Whatever the module says."""
    seen = SimpleNamespace(face_landmarks=[], face_blendshapes=[], facial_transformation_matrixes=[])
    looked = []
    task = SimpleNamespace(detect=lambda picture: looked.append(picture) or seen)
    assert meshes_in(window, task) == [] and len(looked) == 1


def test_lists_of_unequal_length_are_not_read():
    """No memory behind the shorter one is."""
    layout = mediapipe_meshes._layout()
    assert layout is not None
    with pytest.raises(ValueError, match="unequal"):
        list(mediapipe_meshes._by_layout(layout.result(face_landmarks_count=1), layout))
