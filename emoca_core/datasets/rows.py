"""Walking through manifests with flat memory, and moving their relative paths."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from emoca_core.datasets.manifest import CHUNK, Manifest, ManifestRow


def iterate_rows(manifest: Manifest) -> Iterator[ManifestRow]:
    """All rows in order, a chunk in memory at a time."""
    for batch in manifest.table.to_batches(max_chunksize=CHUNK):
        for values in batch.to_pylist():
            yield ManifestRow(**values)


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
