"""The pictures of a study: a photo around one face, and the grey mesh of a method through the same window."""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from emoca_core.errors import ImageError, RecipeError
from emoca_core.export.overlay import PANEL, Window, grey_picture
from emoca_core.images.crops import SHARED_CROP
from emoca_core.images.warp import square_to_image
from emoca_core.interfaces import Detection, FaceMesh, FaceParameters, Photo, PhotoCamera
from emoca_core.method import Method
from emoca_core.reconstruction import Settings
from emoca_core.reconstruction.capture import FoundFace, find_faces
from emoca_core.reconstruction.captured import ReconstructedFace
from emoca_core.vocabulary.arkit import emotion_prototypes

MARGIN = 1.35
"""Side of the window in sides of the shared crop: people see the whole head, as they would in life."""
_QUALITY = 93
_OVERLAP = 0.3
"""Least intersection over union of the boxes of one face, as two landmarkers see it."""
_PRACTICE = ("happy", "surprise", "anger", "sad")
_PRACTICE_INTENSITY = 0.9
_DISTANCE, _FOCAL = 1.2, 4.2
"""Of the camera before the practice head: metres, and panels."""


def find_face(method: Method, photo: Photo, like: Detection | None = None) -> FoundFace:
    """The largest face of a photo, or that which another landmarker has found.

    Raises:
        ImageError: The method finds none.
    """
    faces = find_faces(method, photo, Settings()).faces
    if not faces:
        assert method.landmarker is not None
        raise ImageError(f"{photo.path}: {method.landmarker.explain_no_face(photo.pixels)}")
    if like is None:
        return faces[0]
    best = max(faces, key=lambda face: overlap(_box(face.detection), _box(like)))
    if overlap(_box(best.detection), _box(like)) < _OVERLAP:
        raise ImageError(f"{photo.path}: {method.name} does not find the face that the first method found")
    return best


def window_of(detection: Detection) -> Window:
    """What participants see of a photo; the same for all methods."""
    centre, side = SHARED_CROP.square(detection)
    return Window(square_to_image(centre, max(2.0, MARGIN * side), PANEL))


def draw_face(face: ReconstructedFace, window: Window) -> Image.Image:
    """The grey mesh of a face.

    Raises:
        RecipeError: The method has no camera, so that nobody knows from where to look.
    """
    picture = face.grey_picture(window)
    if picture is None:
        raise RecipeError(f"{face.recipe} estimates no camera: its faces cannot be shown from the photo's view")
    return picture


def draw_practice(method: Method) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of some emotions on the average head of a method whose face model has ARKit names."""
    model, prototypes = method.face_model, emotion_prototypes()
    window = Window(np.eye(3))
    for name in _PRACTICE:
        prototype = prototypes[name].scaled(_PRACTICE_INTENSITY)
        names = list(model.expression_names)
        expression = torch.zeros(1, len(names), device=method.device)
        for shape, value in prototype.activations.items():
            expression[0, names.index(shape)] = value
        expression[0, names.index("jawOpen")] += prototype.jaw_open
        average = torch.zeros(1, model.blocks["shape"], device=method.device)
        parameters = FaceParameters(shape=average, expression=expression, units={"expression": "activation"})
        with torch.no_grad():
            geometry = model(parameters)
        vertices = geometry.vertices[0].cpu().double().numpy()
        mesh = FaceMesh(vertices, model.faces.cpu().numpy())
        camera = _camera_before(geometry.landmarks["ibug68"][0].cpu().double().numpy())
        yield name, grey_picture(mesh, camera, window, method.renderer, method.device)


def jpeg_bytes(picture: Image.Image) -> bytes:
    """A picture as JPEG without coarser colours: photos and meshes go the same way."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def overlap(one: Float[ndarray, "4"], other: Float[ndarray, "4"]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.prod(np.clip(high - low, 0, None)))
    total = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - common
    return common / total if total > 0 else 0.0


def _box(detection: Detection) -> Float[ndarray, "4"]:
    points = detection.landmarks["ibug68"]
    return np.concatenate([points.min(0), points.max(0)])


def _camera_before(landmarks: Float[ndarray, "68 3"]) -> PhotoCamera:
    """A pinhole camera straight before a face, whose picture is one panel."""
    middle = (landmarks.min(0) + landmarks.max(0)) / 2
    intrinsics = np.array([[_FOCAL * PANEL, 0, PANEL / 2 - 0.5], [0, _FOCAL * PANEL, 0.56 * PANEL], [0, 0, 1.0]])
    rotation = np.diag([1.0, -1.0, -1.0])
    camera = PhotoCamera("perspective", intrinsics, rotation, np.zeros(3), (PANEL, PANEL))
    return replace(camera, translation=np.array([0, 0, _DISTANCE]) - rotation @ middle)
