"""The steps of a reconstruction, without files: photo to detected faces to captured faces."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from emoca_core.errors import ImageError, RecipeError
from emoca_core.images.crops import CropPolicy, choose_crop, crops_to_batch
from emoca_core.images.photo_search import find_photos
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import CapturedFace, CroppedFace, CropRecord, Detection, FaceCrop, Photo
from emoca_core.method import Method
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.captured import ReconstructedFace

Face = TypeVar("Face")


@dataclass(frozen=True)
class FoundFace:
    """One detected face, cut out.

    Attributes:
        photo: Where it is.
        index: Its number in the photo; 0 is the largest.
        detection: What the landmarker found.
        cropped: The crop.
        rule: Name of the crop rule.
    """

    photo: Photo
    index: int
    detection: Detection
    cropped: CroppedFace
    rule: str


@dataclass(frozen=True)
class FoundFaces:
    """What a photo shows.

    Attributes:
        faces: Those that are taken, largest first.
        left_out: Scores of faces below ``min_score``.
    """

    faces: Sequence[FoundFace]
    left_out: Sequence[float]


def reconstruct(method: Method, photos: str | Path | Iterable[str | Path], **settings: Any) -> list[CapturedFace]:
    """Reconstruct every face of some photos.

    Args:
        method: What ``emoca_core.load_method`` returned.
        photos: Files, folders or glob patterns.
        **settings: Fields of ``Settings``: ``crop``, ``same_person``, ``batch_size``, ``min_score``.

    Returns:
        The faces in the order of the photos, the largest face of a photo first. Photos without a face add none.

    Raises:
        ImageError: A photo cannot be read, or there is none.
        RecipeError: The method has no landmarker.
    """
    chosen = Settings(**settings)
    found = (face for path in find_photos(photos) for face in find_faces(method, read_photo(path), chosen).faces)
    size = None if chosen.same_person else chosen.batch_size
    return [face for batch in batched(found, size) for face in capture_faces(method, batch, chosen)]


def find_faces(method: Method, photo: Photo, settings: Settings) -> FoundFaces:
    """Detect the faces of a photo and cut them out: all of them, or the largest where all photos show one person.

    Raises:
        RecipeError: The method has no landmarker.
        UnknownNameError: No such crop policy.
    """
    if method.landmarker is None:
        raise RecipeError(f"recipe '{method.name}' has no landmarker, so it cannot find faces in photos")
    rule = choose_crop(settings.crop, method.encoder.crop_rule)
    detections = method.landmarker.detect(photo.pixels)
    left_out = [one.score for one in detections if one.score < settings.min_score]
    taken = [one for one in detections if one.score >= settings.min_score]
    taken = method.landmarker.look_again(photo.pixels, taken[:1] if settings.same_person else taken)
    faces = [
        FoundFace(photo, index, detection, rule(photo.pixels, detection), rule.name)
        for index, detection in enumerate(taken)
    ]
    return FoundFaces(faces, left_out)


def capture_faces(method: Method, faces: Sequence[FoundFace], settings: Settings) -> list[ReconstructedFace]:
    """Encode one batch of faces, and pose their meshes."""
    if not faces:
        return []
    batch = _batch(faces)
    if settings.same_person:
        batch = replace(batch, identity=torch.zeros(len(faces), dtype=torch.int64))
    with torch.no_grad():
        crop = batch.map(lambda tensor: tensor.to(method.device))
        glance = method.encoder.glance(crop) if method.encoder.glance_size else None
        parameters = method.encode(replace(crop, glance=glance))
        geometry = method.face_model(parameters).map(torch.Tensor.cpu)
        displacement = method.detail.decode(parameters).cpu() if method.detail else None
    parameters = parameters.map(torch.Tensor.cpu)
    return [
        ReconstructedFace(
            method=method,
            photo=face.photo,
            index=face.index,
            detection=face.detection,
            crop=CropRecord(settings.crop, face.rule, batch.size, face.cropped.crop_to_image),
            parameters=parameters.map(lambda tensor, row=row: tensor[row : row + 1]),  # type: ignore[misc]
            geometry=geometry.map(lambda tensor, row=row: tensor[row : row + 1]),
            displacement=None if displacement is None else displacement[row : row + 1],
            glance=None if glance is None else glance[row : row + 1].cpu(),
        )
        for row, face in enumerate(faces)
    ]


def crops_of(method: Method, photos: str | Path | Iterable[str | Path], crop: CropPolicy = "native") -> FaceCrop:
    """All faces of some photos as the encoder sees them, in one batch.

    Raises:
        ImageError: A photo cannot be read, there is none, or none shows a face.
        RecipeError: The method has no landmarker.
    """
    settings = Settings(crop=crop)
    faces = [face for path in find_photos(photos) for face in find_faces(method, read_photo(path), settings).faces]
    if not faces:
        raise ImageError("these photos show no face: give photos of faces")
    return _batch(faces)


def _batch(faces: Sequence[FoundFace]) -> FaceCrop:
    batch = crops_to_batch(
        [face.cropped for face in faces], [face.detection for face in faces], [face.photo.size for face in faces]
    )
    return replace(batch, keys=tuple(str(face.photo.path) for face in faces))


def batched(faces: Iterable[Face], size: int | None) -> Iterator[list[Face]]:
    """Lists of at most ``size`` faces, lazily; one list of all for ``None``."""
    faces = iter(faces)
    while batch := list(islice(faces, size)):
        yield batch
