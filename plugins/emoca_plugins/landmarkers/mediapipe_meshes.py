"""What MediaPipe's landmarking tasks find, without the 500 Python objects that they make of each face."""

import ctypes
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

_MODULE = "mediapipe.tasks.python.vision.face_landmarker"
_OF_PHOTOS, _OF_VIDEO = "MpFaceLandmarkerDetectImage", "MpFaceLandmarkerDetectForVideo"
_CLOSE = "MpFaceLandmarkerCloseResult"
_LISTS = ("face_landmarks", "face_blendshapes", "facial_transformation_matrixes")
"""What a result holds of each face."""


@dataclass(frozen=True)
class Mesh:
    """One face in a picture.

    Attributes:
        points: x, y of the mesh, in units of the picture's width and height, of pixel edges.
        scores: Blendshape activations in [0, 1], by name.
        pose: Homogeneous transform of the canonical face model to MediaPipe's camera, centimetres.
    """

    points: Float[ndarray, "478 2"]
    scores: Mapping[str, float]
    pose: Float[ndarray, "4 4"]


def meshes_in(image: UInt8[ndarray, "H W 3"], task: Any, moment: int | None = None) -> list[Mesh]:
    """The faces that a landmarking task finds.

    MediaPipe's own reader makes an object of each point and each score, which takes a tenth of the time of a frame.
    Here the numbers are read where they lie; with releases that keep them elsewhere, by MediaPipe's reader.

    Args:
        image: RGB.
        task: For photos, or for video.
        moment: Milliseconds, which grow from call to call; for a task of the video mode.
    """
    picture = to_mediapipe(image)
    layout = _layout()
    if layout is None or not _can_be_called(task) or not hasattr(picture, "_image_ptr"):
        return list(_by_reader(task.detect(picture) if moment is None else task.detect_for_video(picture, moment)))
    result = layout.result()
    when = () if moment is None else (moment,)
    look = getattr(task._lib, _OF_PHOTOS if moment is None else _OF_VIDEO)
    look(task._handle, picture._image_ptr, None, *when, ctypes.byref(result))
    try:
        return list(_by_layout(result, layout))
    finally:
        getattr(task._lib, _CLOSE)(ctypes.byref(result))


def _can_be_called(task: Any) -> bool:
    functions = getattr(task, "_lib", None)
    return hasattr(task, "_handle") and all(hasattr(functions, name) for name in (_OF_PHOTOS, _OF_VIDEO, _CLOSE))


def to_mediapipe(image: UInt8[ndarray, "H W 3"]) -> Any:
    """An RGB picture as tasks take it."""
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


@dataclass(frozen=True)
class _Layout:
    """How results lie in memory.

    Attributes:
        result: Type of the whole.
        point: Of a point: x and y.
    """

    result: Any
    point: np.dtype[np.void]


@cache
def _layout() -> _Layout | None:
    """As MediaPipe's own reader knows it; ``None`` where it is another than that of release 1.2."""
    try:
        return _known_layout(importlib.import_module(_MODULE))
    except (ImportError, AttributeError, KeyError, IndexError):
        return None


def _known_layout(module: Any) -> _Layout | None:
    result = module.MpFaceLandmarkerResultC
    points, scores, pose = (_pointed(result, name) for name in _LISTS)
    point, score = _pointed(points, "landmarks"), _pointed(scores, "categories")
    read = {result: {f"{name}_count" for name in _LISTS}, points: {"landmarks_count"}, pose: {"to_numpy"}}
    read |= {scores: {"categories_count"}, score: {"category_name", "score"}}
    kinds = dict(point._fields_)
    if kinds["x"] is not ctypes.c_float or kinds["y"] is not ctypes.c_float or not _called_as_known(module, result):
        return None
    if not all(hasattr(part, name) for part, names in read.items() for name in names):
        return None
    places, size = [point.x.offset, point.y.offset], ctypes.sizeof(point)
    return _Layout(
        result, np.dtype({"names": ["x", "y"], "formats": ["f4", "f4"], "offsets": places, "itemsize": size})
    )


def _pointed(structure: Any, field: str) -> Any:
    """What a field of a structure points to."""
    return dict(structure._fields_)[field]._type_


def _called_as_known(module: Any, result: Any) -> bool:
    """Whether the functions take what ``meshes_in`` gives them; whatever the options are, it gives none."""
    takes = {function.func_name: list(function.argtypes) for function in module._CTYPES_SIGNATURES}
    task, picture, moment = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
    whole, message = ctypes.POINTER(result), ctypes.POINTER(ctypes.c_char_p)
    return (
        takes[_OF_PHOTOS] == [task, picture, takes[_OF_PHOTOS][2], whole, message]
        and takes[_OF_VIDEO] == [task, picture, takes[_OF_VIDEO][2], moment, whole, message]
        and takes[_CLOSE] == [whole]
    )


def _by_layout(result: Any, layout: _Layout) -> Iterator[Mesh]:
    """Copies, which stay when the result is closed."""
    if len({getattr(result, f"{name}_count") for name in _LISTS}) != 1:
        raise ValueError("MediaPipe found unequal numbers of meshes, of scores and of poses")
    for face in range(result.face_landmarks_count):
        points, scores = result.face_landmarks[face], result.face_blendshapes[face]
        count = points.landmarks_count
        memory = (ctypes.c_char * (count * layout.point.itemsize)).from_address(
            ctypes.addressof(points.landmarks.contents)
        )
        table = np.frombuffer(memory, layout.point)
        categories = [scores.categories[k] for k in range(scores.categories_count)]
        yield Mesh(
            np.stack([table["x"], table["y"]], axis=1, dtype=np.float64),
            {one.category_name.decode(): one.score for one in categories},
            np.array(result.facial_transformation_matrixes[face].to_numpy(), np.float64),
        )


def _by_reader(result: Any) -> Iterator[Mesh]:
    for points, scores, pose in zip(
        result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True
    ):
        yield Mesh(
            np.array([(p.x, p.y) for p in points]),
            {one.category_name: one.score for one in scores},
            np.asarray(pose, dtype=np.float64),
        )
