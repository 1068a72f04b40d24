"""Photos with labels to face crops with labels and landmarks: parallel, and able to go on after a stop.

Rows are worked off in parts. A finished part leaves its rows and failures in ``progress/``, and the same call skips it.
When all parts are there, ``manifest.parquet`` and ``failures.csv`` are written from them.
"""

import csv
import hashlib
import itertools
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from pydantic import BaseModel, RootModel

from emoca_core.claims import Claim
from emoca_core.datasets.manifest import CHUNK, Manifest, ManifestRow, write_manifest
from emoca_core.datasets.masks import read_mask, warp_mask
from emoca_core.datasets.rows import known_face, relocated
from emoca_core.errors import ImageError, OutputError
from emoca_core.files import atomic_write, path_below, plain_name, write_json
from emoca_core.images.crops import transform_points
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import CroppedFace, CropRule, Detection, Landmarker
from emoca_core.parsing import read_record
from emoca_core.progress import progress_bar

PART = 64
"""Rows of a part: what an interruption can cost each process."""
MANIFEST, FAILURES, PROGRESS, FACES = "manifest.parquet", "failures.csv", "progress", "faces"
MASKS = "masks"
_JPEG_QUALITY = 95
_PER_FOLDER = 1000


@dataclass(frozen=True)
class PreprocessSettings:
    """What is done with every photo.

    Attributes:
        crop: How faces are cut; ``None`` leaves the images where they are and only adds landmarks and boxes.
        landmarks: ``keep`` uses those of the manifest where there are any, ``detect`` finds all anew, ``marked`` keeps
            them too and takes a row without any mark for one without a face.
        format: Of the crops.
    """

    crop: CropRule | None
    landmarks: Literal["detect", "keep", "marked"] = "detect"
    format: Literal["png", "jpg"] = "png"


@dataclass(frozen=True)
class PreprocessReport:
    """What came out."""

    manifest: Path
    done: int
    failed: int


@dataclass(frozen=True)
class _Job:
    """Everything a process needs; it is sent there once."""

    settings: PreprocessSettings
    landmarker: Landmarker
    source: Path
    out: Path


def preprocess(
    manifest: Manifest, out: Path, landmarker: Landmarker, settings: PreprocessSettings, workers: int = 1
) -> PreprocessReport:
    """Find, cut and mark the face of every row.

    Of several faces in a photo the one that covers the row's box (or landmarks) best is taken; without either, the
    largest.

    Args:
        manifest: The photos.
        out: Receives ``faces/``, ``manifest.parquet`` and ``failures.csv``.
        landmarker: Finds faces. It is pickled where there are several workers.
        settings: What is done.
        workers: Processes.

    Raises:
        OutputError: The folder was begun with another manifest or other settings, or another process fills it.
    """
    out.mkdir(parents=True, exist_ok=True)
    claim = Claim.take(out)
    if claim is None:
        raise OutputError(f"another process is filling {out}: wait for it, or choose another folder")
    with claim:
        return _fill(manifest, out, landmarker, settings, workers)


def _fill(
    manifest: Manifest, out: Path, landmarker: Landmarker, settings: PreprocessSettings, workers: int
) -> PreprocessReport:
    _begin(out, manifest, landmarker, settings)
    job = _Job(settings, landmarker, manifest.folder.resolve(), out.resolve())
    todo = [start for start in range(0, len(manifest), PART) if not _part(out, start).exists()]
    with progress_bar(total=len(manifest), label="cutting faces", unit="image") as progress:
        progress.update(len(manifest) - sum(min(PART, len(manifest) - start) for start in todo))
        for count in _work(job, manifest, todo, workers):
            progress.update(count)
    return _collect(out, len(manifest))


class _Begun(BaseModel, extra="allow"):
    """``progress/settings.json``."""

    rows: str


class _Failures(RootModel[list[tuple[int, str, str]]]):
    """Row, path and reason of the images of a part that failed."""


def _begin(out: Path, manifest: Manifest, landmarker: Landmarker, settings: PreprocessSettings) -> None:
    """Note what the folder is made of, or make sure that it is still the same."""
    rows = hashlib.sha256()
    for batch in manifest.table.to_batches(max_chunksize=CHUNK):
        rows.update(batch.serialize())
    description = {
        "rows": rows.hexdigest(),
        "images": str(manifest.folder.resolve()),
        "landmarker": type(landmarker).__name__,
        "landmarker_params": landmarker.params.model_dump(mode="json"),
        **asdict(settings),
    }
    now = json.loads(json.dumps(description, sort_keys=True, default=str))
    file = path_below(out, PROGRESS, "settings.json")
    if not file.exists():
        write_json(file, now)
        return
    before = read_record(file, _Begun).model_dump()
    if changed := ", ".join(sorted(key for key in {*now, *before} if now.get(key) != before.get(key))):
        raise OutputError(f"{out} was begun with other settings (changed: {changed}). Choose another folder.")


def _work(job: _Job, manifest: Manifest, todo: list[int], workers: int) -> Iterator[int]:
    """Work off parts, and tell the size of each finished one."""
    if workers <= 1:
        for start in todo:
            yield _process(job, start, _rows(manifest, start))
        return
    context = multiprocessing.get_context("spawn")  # landmarkers hold threads, which do not survive a fork
    with ProcessPoolExecutor(workers, context, _take_job, (job,)) as pool:
        starts, running = iter(todo), set[Future[int]]()
        try:
            while True:
                # a few parts ahead, so that a million rows are not queued at once
                ahead = list(itertools.islice(starts, 2 * workers - len(running)))
                running |= {pool.submit(_process_here, start, _rows(manifest, start)) for start in ahead}
                if not running:
                    return
                done = next(as_completed(running))
                running.remove(done)
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


_here: list[_Job] = []
"""The job of a worker process."""


def _take_job(job: _Job) -> None:
    _here[:] = [job]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Workers of a process that was killed would wait for its next part for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _process_here(start: int, rows: list[ManifestRow]) -> int:
    return _process(_here[0], start, rows)


def _rows(manifest: Manifest, start: int) -> list[ManifestRow]:
    return [ManifestRow(**values) for values in manifest.table.slice(start, PART).to_pylist()]


def _process(job: _Job, start: int, rows: list[ManifestRow]) -> int:
    good: list[ManifestRow] = []
    failures: list[tuple[int, str, str]] = []
    for number, row in enumerate(rows, start):
        try:
            good.append(_face(job, number, row))
        except ImageError as error:
            failures.append((number, row.path, str(error)))
    moved = relocated(good, job.source, job.out) if job.settings.crop is None else iter(good)
    file = _part(job.out, start)
    write_json(file.with_suffix(".json"), failures)
    write_manifest(moved, file)  # last: it marks the part as done
    return len(rows)


def _face(job: _Job, number: int, row: ManifestRow) -> ManifestRow:
    path = job.source / row.path
    photo = read_photo(path).pixels
    detection = _detection(job, photo, row)
    if detection is None:
        raise ImageError(f"{path}: no face was found.")
    landmarks, box = detection.landmarks["ibug68"], detection.box
    if job.settings.crop is None:
        return _marked(row, row.path, landmarks, box)
    try:
        face = job.settings.crop(photo, detection)
    except (ArithmeticError, ValueError, LookupError) as error:  # points that are no face
        raise ImageError(f"{path}: cannot be cut by its landmarks ({error}).") from None
    to_crop = face.image_to_crop
    stem = plain_name(f"{number:08d}_{Path(row.path).stem}")
    names = FACES, f"{number // _PER_FOLDER:05d}", f"{stem}.{job.settings.format}"
    with atomic_write(path_below(job.out, *names)) as temporary:
        Image.fromarray(face.image).save(temporary, quality=_JPEG_QUALITY)  # PNG has none
    if row.mask is not None:
        row = replace(row, mask=_cut_mask(job, row, photo.shape[:2], face, (MASKS, names[1], f"{stem}.png")))
    corners = transform_points(to_crop, np.asarray(box, np.float64)[[[0, 1], [2, 1], [2, 3], [0, 3]]])
    return _marked(
        row, "/".join(names), transform_points(to_crop, landmarks), np.concatenate([corners.min(0), corners.max(0)])
    )


def _cut_mask(job: _Job, row: ManifestRow, photo_size: tuple[int, int], face: CroppedFace, names: Sequence[str]) -> str:
    """Cut the segmentation as the face was cut, and return its path."""
    skin = warp_mask(read_mask(job.source / str(row.mask), photo_size), face.crop_to_image, face.image.shape[:2])
    with atomic_write(path_below(job.out, *names)) as temporary:
        Image.fromarray(skin.astype(np.uint8) * 255).save(temporary, format="PNG")
    return "/".join(names)


def _marked(row: ManifestRow, path: str, landmarks: Float[ndarray, "68 2"], box: Float[ndarray, "4"]) -> ManifestRow:
    return replace(row, path=path, box=box.tolist(), landmarks=landmarks.reshape(-1).tolist())


def _detection(job: _Job, photo: UInt8[ndarray, "H W 3"], row: ManifestRow) -> Detection | None:
    known = known_face(row, job.source / row.path, photo.shape[:2])
    if known is not None and known.landmarks and job.settings.landmarks != "detect":
        return known
    if known is None and job.settings.landmarks == "marked":
        return None
    faces = job.landmarker.detect(photo)
    if known is None or not faces:
        return faces[0] if faces else None
    best = max(faces, key=lambda face: _overlap(face.box, known.box))
    return best if _overlap(best.box, known.box) > 0 else None


def _overlap(one: Float[ndarray, "4"], other: Float[ndarray, "4"]) -> float:
    """Intersection over union of two boxes."""
    inside = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return float(inside / max((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - inside, 1e-12))


def _part(out: Path, start: int) -> Path:
    return path_below(out, PROGRESS, f"{start:09d}.parquet")


def _collect(out: Path, count: int) -> PreprocessReport:
    parts = [_part(out, start) for start in range(0, count, PART)]
    done = write_manifest(_all_rows(parts), out / MANIFEST)
    failed = 0
    with atomic_write(out / FAILURES) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "path", "reason"))
        for part in parts:
            failures = read_record(part.with_suffix(".json"), _Failures).root
            writer.writerows(failures)
            failed += len(failures)
    return PreprocessReport(out / MANIFEST, done, failed)


def _all_rows(parts: list[Path]) -> Iterator[ManifestRow]:
    for part in parts:
        try:
            rows = pq.read_table(part).to_pylist()
        except pa.ArrowInvalid:
            raise OutputError(f"{part} is damaged: remove it, and the same command makes it again") from None
        yield from (ManifestRow(**values) for values in rows)
