"""The faces of the images of a manifest, found once and kept: all methods are probed on the same faces."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa
from numpy import ndarray
from pydantic import RootModel

from emoca_core.datasets import Manifest
from emoca_core.errors import ImageError
from emoca_core.files import write_json
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import Detection, Landmarker
from emoca_core.parsing import read_record
from emoca_core.probe.processes import PART, Part, fill_parts, parts_of, read_part
from emoca_core.weights.write_tensors import write_tensors


@dataclass(frozen=True)
class Detections:
    """Detected faces by row; rows without a face are absent.

    Attributes:
        faces: The face of each row.
        unreadable: Rows whose image cannot be read, with the reason.
        key: Tells these faces apart from others of the same images; empty for the largest ones.
    """

    faces: Mapping[int, Detection]
    unreadable: Mapping[int, str]
    key: str = ""


_Found = tuple[Sequence[tuple[int, Detection]], Mapping[int, str]]
"""Faces with their rows, and unreadable rows."""


class _Reasons(RootModel[dict[int, str]]):
    """Rows whose image cannot be read, with the reason."""


def cache_folder(kind: str, description: Mapping[str, object]) -> Path:
    """Where results that depend on nothing but ``description`` are kept."""
    key = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:32]
    return Path(platformdirs.user_cache_dir("emoca")) / kind / key


def manifest_hash(manifest: Manifest) -> str:
    """SHA-256 of the images' paths and sizes: another set of images gives another hash."""
    digest = hashlib.sha256()
    for name in manifest.texts("path"):
        try:
            size = os.path.getsize(manifest.folder / str(name))
        except OSError:  # reading it says what is wrong
            size = -1
        digest.update(f"{name}\t{size}\n".encode())
    return digest.hexdigest()


def detect_faces(manifest: Manifest, landmarker: Landmarker, name: str) -> Detections:
    """Find the largest face of every image; parts that are in the cache are read from there.

    Args:
        manifest: The images.
        landmarker: Finds faces.
        name: Of the landmarker, for the cache's key.
    """
    faces, unreadable, _ = _found_in(manifest, landmarker, name, {}, most=1)
    return Detections(dict(faces), unreadable)


def detect_every_face(manifest: Manifest, landmarker: Landmarker, name: str) -> tuple[Manifest, Detections]:
    """As ``detect_faces``, but every face of every image.

    Returns:
        A manifest with a row for each face, largest first within an image, and the face of each row. Rows that
        ``unreadable`` names are those of the manifest that was given.
    """
    faces, unreadable, key = _found_in(manifest, landmarker, name, {"faces": "all"}, most=None)
    table = manifest.table.take(pa.array([row for row, _ in faces], pa.int64()))
    return Manifest(table, manifest.folder), Detections(dict(enumerate(face for _, face in faces)), unreadable, key)


def _found_in(
    manifest: Manifest, landmarker: Landmarker, name: str, facts: Mapping[str, object], most: int | None
) -> tuple[list[tuple[int, Detection]], dict[int, str], str]:
    """Faces with their rows, unreadable rows, and the key of both in the cache."""
    params = landmarker.params.model_dump(mode="json")
    folder = cache_folder(
        "detections", {"images": manifest_hash(manifest), "landmarker": name, "params": params, **facts}
    )
    parts = parts_of(len(manifest), folder, PART)
    fill_parts(parts, lambda rows: _detect(manifest, landmarker, rows, most), _write_part, "finding faces")
    faces: list[tuple[int, Detection]] = []
    unreadable: dict[int, str] = {}
    for part in parts:
        unreadable |= read_record(_reasons(part), _Reasons).root
        faces += _unpack(read_part(part.file))
    return faces, unreadable, folder.name


def _detect(manifest: Manifest, landmarker: Landmarker, rows: range, most: int | None) -> _Found:
    found: list[tuple[int, Detection]] = []
    unreadable: dict[int, str] = {}
    for row in rows:
        try:
            photo = read_photo(manifest.image_path(manifest[row]))
        except ImageError as error:
            unreadable[row] = str(error)
            continue
        found += [(row, face) for face in landmarker.detect(photo.pixels)[:most]]
    return found, unreadable


def _write_part(part: Part, found: _Found) -> None:
    faces, unreadable = found
    write_json(_reasons(part), dict(unreadable))
    write_tensors(part.file, _pack(faces))


def _reasons(part: Part) -> Path:
    """Why images of a part cannot be read; written first, so that it is there when the part is."""
    return part.file.with_suffix(".json")


def _pack(found: Sequence[tuple[int, Detection]]) -> dict[str, ndarray]:
    faces = [face for _, face in found]
    arrays: dict[str, ndarray] = {
        "rows": np.array([row for row, _ in found], np.int64),
        "score": np.array([face.score for face in faces], np.float32),
    }
    if not faces:
        return arrays
    arrays["box"] = np.stack([face.box for face in faces])
    sets = set.intersection(*(set(face.landmarks) for face in faces))
    for name in sorted(sets):
        arrays[f"landmarks.{name}"] = np.stack([face.landmarks[name] for face in faces])
    scores = [face.blendshapes for face in faces]
    if all(s is not None for s in scores):
        arrays["blendshapes"] = np.stack([s for s in scores if s is not None])
    return arrays


def _unpack(arrays: Mapping[str, ndarray]) -> list[tuple[int, Detection]]:
    names = [name for name in arrays if name.startswith("landmarks.")]
    return [
        (
            int(row),
            Detection(
                box=arrays["box"][i],
                score=float(arrays["score"][i]),
                landmarks={name.removeprefix("landmarks."): arrays[name][i] for name in names},
                blendshapes=arrays["blendshapes"][i] if "blendshapes" in arrays else None,
            ),
        )
        for i, row in enumerate(arrays["rows"])
    ]
