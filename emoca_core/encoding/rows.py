"""Rows of a manifest to rows of a table: the largest face of every image, and all that is known of it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int, Shaped
from numpy import ndarray

from emoca_core.datasets import Manifest
from emoca_core.datasets.encoded import CODE, UNITS
from emoca_core.errors import ImageError, RecipeError
from emoca_core.images.crops import SHARED_CROP, CropPolicy, choose_crop, crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import CapturedFace, EmotionBackbone, EmotionReading, FaceParameters
from emoca_core.method import Method
from emoca_core.reconstruction.capture import FoundFace, capture_faces
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.quality import judge

_KEPT = ("path", "split", "identity", "clip", "frame")
"""Columns of the manifest that tell the faces apart; its labels stay where they are."""
Columns = dict[str, Shaped[ndarray, "K ..."]]


@dataclass(frozen=True)
class RowEncoder:
    """A method, and whoever reads the emotion.

    Attributes:
        method: Finds faces and encodes them.
        emotion: Sees the photo by the shared crop; ``None`` leaves emotion out.
        crop: How faces are cut for the method.
        second_look: Look again at every face, as ``emoca reconstruct`` does: two more figures of quality.
        batch_size: Faces encoded at once.
    """

    method: Method
    emotion: EmotionBackbone | None = None
    crop: CropPolicy = "native"
    second_look: bool = False
    batch_size: int = 32

    def __call__(self, manifest: Manifest, rows: range) -> pa.Table:
        """One row for each row; those without a face have a ``status`` that says why, and nulls.

        Raises:
            RecipeError: The method has no landmarker.
            EmocaError: The method cannot encode a face.
        """
        status: list[str] = []
        present: list[int] = []
        found: list[Columns] = []
        units: dict[str, str] = {}
        batch: list[tuple[int, FoundFace]] = []

        def flush() -> None:
            if batch:
                columns, known = self._encode([face for _, face in batch])
                units.update(known)
                present.extend(at for at, _ in batch)
                found.append(columns)
                batch.clear()

        for at, row in enumerate(rows):
            try:
                face = self._find(manifest, row)
            except ImageError:
                status.append("unreadable")
                continue
            status.append("no_face" if face is None else "ok")
            if face is not None:
                batch.append((at, face))
            if len(batch) == self.batch_size:
                flush()
        flush()
        columns = {name: np.concatenate([one[name] for one in found]) for name in found[0]} if found else {}
        return _table(manifest, rows, status, np.array(present, np.int64), columns, units)

    def _find(self, manifest: Manifest, row: int) -> FoundFace | None:
        landmarker = self.method.landmarker
        if landmarker is None:
            raise RecipeError(f"recipe '{self.method.name}' has no landmarker, so it cannot find faces in photos")
        photo = read_photo(manifest.image_path(manifest[row]))
        detections = landmarker.detect(photo.pixels)[:1]
        if self.second_look:
            detections = landmarker.look_again(photo.pixels, detections)
        rule = choose_crop(self.crop, self.method.encoder.crop_rule)
        return next((FoundFace(photo, 0, one, rule(photo.pixels, one), rule.name) for one in detections), None)

    def _encode(self, faces: Sequence[FoundFace]) -> tuple[Columns, dict[str, str]]:
        captured = capture_faces(self.method, faces, Settings(crop=self.crop))
        code = FaceParameters.cat([face.parameters for face in captured])
        columns: Columns = {
            "score": np.array([face.detection.score for face in captured], np.float32),
            "box": np.array([face.detection.box for face in captured], np.float32),
            "landmarks": np.array([face.detection.landmarks["ibug68"].ravel() for face in captured], np.float32),
            "photo_size": np.array([face.photo.size for face in captured], np.int32),
            "crop_to_image": np.array([face.crop.crop_to_image.ravel() for face in captured], np.float64),
            **{CODE + name: block.float().numpy() for name, block in code.blocks().items()},
            **_cameras(captured),
            **_quality(captured),
            **self._emotion(faces),
        }
        return columns, {name: code.unit_of(name) for name in code.blocks()}

    @torch.no_grad()
    def _emotion(self, faces: Sequence[FoundFace]) -> Columns:
        if self.emotion is None:
            return {}
        found = [face.detection for face in faces]
        cropped = [SHARED_CROP(face.photo.pixels, face.detection) for face in faces]
        crops = crops_to_batch(cropped, found, [face.photo.size for face in faces])
        seen = self.emotion(crops.image.to(next(self.emotion.parameters()).device))
        read = EmotionReading(type(self.emotion).__name__, self.emotion.labels, seen)
        return {name: values.float().cpu().numpy() for name, values in read.columns().items()}


def _cameras(faces: Sequence[CapturedFace]) -> Columns:
    """Of the whole photo, in OpenCV's convention, and the landmarks that it sees; nothing for methods without one."""
    cameras = [face.camera for face in faces if face.camera is not None]
    if len(cameras) < len(faces):
        return {}
    return {
        "camera_model": np.array([camera.model for camera in cameras]),
        "K": np.array([camera.intrinsics.ravel() for camera in cameras], np.float64),
        "R": np.array([camera.rotation.ravel() for camera in cameras], np.float64),
        "t": np.array([camera.translation.ravel() for camera in cameras], np.float64),
        "fitted_landmarks": np.array([p.ravel() for face in faces if (p := face.landmarks) is not None], np.float32),
    }


def _quality(faces: Sequence[CapturedFace]) -> Columns:
    """Verdict, reasons and figures of ``emoca reconstruct``, without those that need the face's rig."""
    seen = [judge(face.detection, face.landmarks, face.parameters, face.photo.size) for face in faces]
    figures = [name for name in seen[0].figures if name not in ("score", "arkit_residual_mm")]
    return {
        "quality": np.array([one.verdict for one in seen]),
        "doubts": np.array(["; ".join(one.reasons) for one in seen]),
        **{f"quality.{name}": np.array([one.figures[name] for one in seen], np.float32) for name in figures},
    }


def _table(
    manifest: Manifest,
    rows: range,
    status: Sequence[str],
    present: Int[ndarray, "K"],
    known: Columns,
    units: dict[str, str],
) -> pa.Table:
    kept = manifest.table.slice(rows.start, len(rows)).select(_KEPT)
    columns = {"row": pa.array(rows, pa.int64())} | dict(zip(_KEPT, kept.columns, strict=True))
    columns["status"] = pa.array(status)
    columns |= {name: _column(values, present, len(rows)) for name, values in known.items()}
    return pa.table(columns).replace_schema_metadata({UNITS: json.dumps(units).encode()})


def _column(values: Shaped[ndarray, "K ..."], present: Int[ndarray, "K"], count: int) -> pa.Array:
    """Values of some rows, null in all others; vectors as lists of one length. Numbers that are not finite are null."""
    absent = np.ones(count, bool)
    absent[present] = False
    if values.dtype.kind == "U":
        texts = np.full(count, None, object)
        texts[present] = values
        return pa.array(texts, pa.string())
    full = np.zeros((count, *values.shape[1:]), values.dtype)
    full[present] = values
    if values.ndim == 1:
        return pa.array(full, mask=absent | ~np.isfinite(full))
    return pa.FixedSizeListArray.from_arrays(pa.array(full.ravel()), full.shape[1], mask=pa.array(absent))


def shards_of(count: int, size: int) -> Iterator[tuple[range, str]]:
    """Rows and file names of the shards of ``count`` rows."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count)), f"part-{start:09d}.parquet"
