"""The face of every image of a manifest, found once and kept: all methods are probed on the same faces."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
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
        faces: Largest face of each image.
        unreadable: Rows whose image cannot be read, with the reason.
    """

    faces: Mapping[int, Detection]
    unreadable: Mapping[int, str]


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
    folder = cache_folder(
        "detections",
        {"images": manifest_hash(manifest), "landmarker": name, "params": landmarker.params.model_dump(mode="json")},
    )
    parts = parts_of(len(manifest), folder, PART)
    fill_parts(parts, lambda rows: _detect(manifest, landmarker, rows), _write_part, "finding faces")
    faces: dict[int, Detection] = {}
    unreadable: dict[int, str] = {}
    for part in parts:
        unreadable |= read_record(_reasons(part), _Reasons).root
        faces |= dict(_unpack(read_part(part.file)))
    return Detections(faces, unreadable)


def _detect(manifest: Manifest, landmarker: Landmarker, rows: range) -> Detections:
    found: dict[int, Detection] = {}
    unreadable: dict[int, str] = {}
    for row in rows:
        try:
            photo = read_photo(manifest.image_path(manifest[row]))
        except ImageError as error:
            unreadable[row] = str(error)
            continue
        if detections := landmarker.detect(photo.pixels):
            found[row] = detections[0]
    return Detections(found, unreadable)


def _write_part(part: Part, found: Detections) -> None:
    write_json(_reasons(part), dict(found.unreadable))
    write_tensors(part.file, _pack(found.faces))


def _reasons(part: Part) -> Path:
    """Why images of a part cannot be read; written first, so that it is there when the part is."""
    return part.file.with_suffix(".json")


def _pack(found: Mapping[int, Detection]) -> dict[str, ndarray]:
    rows = list(found)
    arrays: dict[str, ndarray] = {
        "rows": np.array(rows, np.int64),
        "score": np.array([found[r].score for r in rows], np.float32),
    }
    if not rows:
        return arrays
    arrays["box"] = np.stack([found[r].box for r in rows])
    sets = set.intersection(*(set(found[r].landmarks) for r in rows))
    for name in sorted(sets):
        arrays[f"landmarks.{name}"] = np.stack([found[r].landmarks[name] for r in rows])
    scores = [found[r].blendshapes for r in rows]
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
