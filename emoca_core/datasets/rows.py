"""Walking through manifests with flat memory, moving their relative paths, and the faces that they mark."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy import ndarray

from emoca_core.datasets.manifest import CHUNK, Manifest, ManifestRow
from emoca_core.errors import ImageError
from emoca_core.interfaces import Detection


def iterate_rows(manifest: Manifest) -> Iterator[ManifestRow]:
    """All rows in order, a chunk in memory at a time."""
    for batch in manifest.table.to_batches(max_chunksize=CHUNK):
        for values in batch.to_pylist():
            yield ManifestRow(**values)


def known_face(row: ManifestRow, photo: Path, size: tuple[int, int]) -> Detection | None:
    """The face that a row marks by landmarks or a box, or ``None``.

    Args:
        row: The row.
        photo: Its image, for the message.
        size: Height and width of the image.

    Raises:
        ImageError: What the row marks has no area, or lies outside the image.
    """
    points = None if row.landmarks is None else np.asarray(row.landmarks, np.float64).reshape(68, 2)
    marked: dict[str, ndarray] = {}
    if points is not None:
        marked["landmarks"] = np.concatenate([points.min(0), points.max(0)])
    if row.box is not None:
        marked["box"] = np.asarray(row.box, np.float64)
    for name, outline in marked.items():
        seen = np.minimum(outline[2:], size[::-1]) - np.maximum(outline[:2], 0)
        if (outline[2:] - outline[:2] < 1).any() or (seen <= 0).any():
            raise ImageError(f"{photo}: nothing in it is marked by the {name} of its row. Correct or leave them out.")
    if not marked:
        return None
    return Detection(
        marked["box" if "box" in marked else "landmarks"], 1.0, {} if points is None else {"ibug68": points}
    )


def relocated(rows: Iterable[ManifestRow], old: Path, new: Path) -> Iterator[ManifestRow]:
    """The same images, named from another folder, so that a manifest can be written there.

    Args:
        rows: Their relative paths start at ``old``.
        old: A folder.
        new: The folder of the manifest to be written. It need not exist.
    """
    prefix = _relative(old.resolve(), new.resolve())
    for row in rows:
        mask = None if row.mask is None else _moved(row.mask, prefix)
        yield replace(row, path=_moved(row.path, prefix), mask=mask)


def _moved(path: str, prefix: str) -> str:
    return path if os.path.isabs(path) else os.path.normpath(os.path.join(prefix, path))


def _relative(old: Path, new: Path) -> str:
    try:
        return os.path.relpath(old, new)
    except ValueError:  # on another drive there is no relative path
        return str(old)
