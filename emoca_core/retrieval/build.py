"""From photos to an index: find the faces, encode them, write the folder. The slow parts are kept in the cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.datasets import Manifest, ManifestRow
from emoca_core.datasets.manifest import SCHEMA
from emoca_core.datasets.rows import relocated
from emoca_core.errors import EmocaError, ParamsError
from emoca_core.images.crops import SHARED_CROP, CropPolicy
from emoca_core.images.photo_search import find_photos
from emoca_core.interfaces import BLOCKS, Detection
from emoca_core.probe.codes import BackboneSource, CodeSource, RecipeSource, extract_codes
from emoca_core.probe.detections import Detections, detect_every_face, detect_faces
from emoca_core.probe.sources import find_sources
from emoca_core.registry import get_registry
from emoca_core.retrieval.index import Counts, Index, check_out, remove_old, write_index
from emoca_core.train.world import go_on_alone

MANIFESTS = (".csv", ".parquet")
EXPRESSION_BLOCKS = ("expression", "jaw_pose", "eye_pose", "eyelids")
"""Of a face code, what people mean by an expression: neither who it is nor where the head turns."""


@dataclass(frozen=True)
class Built:
    """A new index, and what to tell of it.

    Attributes:
        index: In processes other than the main one ``None``.
        unreadable: Reason of every image that could not be read.
    """

    index: Index | None
    unreadable: tuple[str, ...]


def build_index(
    photos: str | Path | Sequence[str | Path],
    by: str,
    out: str | Path,
    *,
    split: str | None = None,
    blocks: Sequence[str] = (),
    crop: CropPolicy = "shared",
    landmarker: str = "mediapipe",
    batch_size: int = 32,
    device: torch.device | None = None,
    overwrite: bool = False,
) -> Built:
    """Encode every face of a manifest, or of photos, and write the index.

    Of a manifest's images the largest face counts, as in ``emoca benchmark``; of photos and folders all faces do.

    Args:
        photos: A manifest (.csv, .parquet); or photos, folders, patterns.
        by: ``emotion:BACKBONE`` or ``codes:METHOD``.
        out: The new folder.
        split: Only the rows of this split.
        blocks: Of a face code; by default those of ``EXPRESSION_BLOCKS`` that the method predicts.
        crop: How faces are cut for methods that have a rule of their own.
        landmarker: Finds the faces.
        batch_size: Faces encoded at once.
        device: Where networks run; the CPU by default.
        overwrite: Replace an index that is there.

    Raises:
        UnknownNameError: A backbone, method or split that does not exist.
        EmocaError: Files are missing, or no face was found.
        OutputError: ``out`` is in the way.

    Example: ``build_index("photos", by="emotion:open_emotion", out="faces.index").index``
    """
    out = Path(out)
    check_out(out, overwrite)
    source = find_source(by, crop, device, blocks)
    manifest, detections, images = _faces(photos, split, landmarker)
    unreadable = tuple(detections.unreadable.values())
    if not detections.faces:
        raise EmocaError(
            f"no face in {images} image{'s' * (images != 1)}{f', {len(unreadable)} unreadable' if unreadable else ''}"
        )
    codes = extract_codes(source, manifest, detections, batch_size)
    rows = np.flatnonzero(np.isfinite(codes).all(1)) if codes.shape[1] else np.zeros(0, np.int64)
    if not len(rows):
        raise EmocaError(f"{by} has no code for any of the {len(detections.faces)} faces")
    if not go_on_alone():
        return Built(None, unreadable)
    seen = len({manifest[row].path for row in detections.faces})
    counts = Counts(
        images=images,
        faces=len(rows),
        unreadable=len(unreadable),
        without_face=images - seen - len(unreadable),
        without_code=len(detections.faces) - len(rows),
    )
    remove_old(out)
    described = relocated(_described(manifest, detections, rows), manifest.folder, out)
    return Built(write_index(out, by, source, landmarker, counts, codes[rows], described), unreadable)


def find_source(
    by: str, crop: CropPolicy = "shared", device: torch.device | None = None, blocks: Sequence[str] = ()
) -> CodeSource:
    """What ``emotion:BACKBONE`` or ``codes:METHOD`` means.

    Raises:
        ParamsError: Of another form, a name of the other sort, or blocks that the method has not.
        UnknownNameError: No such backbone or method.
        EmocaError: A file or package is missing.
    """
    sort, _, name = by.partition(":")
    if sort not in ("emotion", "codes") or not name:
        raise ParamsError(f"'{by}': expected emotion:BACKBONE or codes:METHOD, e.g. emotion:open_emotion")
    found, missing = find_sources([name], crop, device)
    if missing:
        raise EmocaError(f"{name} cannot run here: {missing[0].reason}")
    source = found[0]
    if isinstance(source, RecipeSource) and sort == "codes":
        return replace(source, blocks=_blocks(source, tuple(blocks)))
    if isinstance(source, BackboneSource) and sort == "emotion" and not blocks:
        return source
    if isinstance(source, BackboneSource) and blocks:
        raise ParamsError(f"{name} is an emotion backbone: it has features and no blocks")
    other = "codes" if isinstance(source, RecipeSource) else "emotion"
    raise ParamsError(f"{name} is no {'emotion backbone' if sort == 'emotion' else 'method'}: write {other}:{name}")


def _blocks(source: RecipeSource, asked: tuple[str, ...]) -> tuple[str, ...]:
    has = tuple(block for block in BLOCKS if block in {*source.encoder.blocks, *source.blocks})
    blocks = asked or tuple(block for block in EXPRESSION_BLOCKS if block in has) or source.blocks
    if odd := [block for block in blocks if block not in has]:
        raise ParamsError(f"{source.name} has no block '{odd[0]}'; it has: {', '.join(has)}")
    return blocks


def _faces(
    photos: str | Path | Sequence[str | Path], split: str | None, landmarker: str
) -> tuple[Manifest, Detections, int]:
    """A row for each face or image, the faces by row, and the number of images."""
    finder = get_registry().build("landmarker", landmarker)
    if isinstance(photos, str | Path) and Path(photos).suffix.lower() in MANIFESTS:
        manifest = Manifest.open(photos)
        manifest = manifest.of_split(split) if split else manifest
        return manifest, detect_faces(manifest, finder, landmarker), len(manifest)
    if split:
        raise ParamsError(f"photos have no splits: '{split}' needs a manifest")
    rows = [{"path": str(path.absolute())} for path in find_photos(photos)]
    images = Manifest(pa.Table.from_pylist(rows, SCHEMA), Path())
    return *detect_every_face(images, finder, landmarker), len(images)


def _described(manifest: Manifest, detections: Detections, rows: Int[ndarray, "K"]) -> Iterator[ManifestRow]:
    for row in rows.tolist():
        box = square_of(detections.faces[row]).tolist()
        yield replace(manifest[row], box=box, landmarks=None, mask=None)


def square_of(face: Detection) -> Float[ndarray, "4"]:
    """The square of the shared crop, x0 y0 x1 y1 in photo pixels."""
    centre, side = SHARED_CROP.square(face)
    return np.concatenate([centre - side / 2, centre + side / 2]).astype(np.float64)
