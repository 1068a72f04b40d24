"""Reading every image of a manifest before a training does, and finding those that it holds more than once."""

import itertools
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from emoca_core.datasets.manifest import Manifest, ManifestRow
from emoca_core.datasets.masks import read_mask
from emoca_core.datasets.rows import iterate_rows, known_face
from emoca_core.errors import ImageError
from emoca_core.images.photos import read_photo
from emoca_core.progress import progress_bar

WINDOW = 512
"""Images under way at a time: what is in memory does not grow with the manifest."""
_NAMED = 5
"""Rows that a message names."""
_DIGEST = 16
"""Bytes of a content's SHA-256 that are kept of every image."""


def check_images(manifest: Manifest, workers: int = 1) -> Iterator[tuple[ManifestRow, str | None, bytes]]:
    """Every row in order, the reason why its image, mask or box cannot be used, or ``None``, and a hash of the file.

    Args:
        manifest: The images.
        workers: Threads; decoding runs outside Python's lock.
    """

    def look(row: ManifestRow) -> tuple[str | None, bytes]:
        content = b""
        try:
            photo = read_photo(manifest.image_path(row))
            content = bytes.fromhex(photo.sha256)[:_DIGEST]
            known_face(row, photo.path, photo.size)
            if mask := manifest.mask_path(row):
                read_mask(mask, photo.size)
        except ImageError as error:
            return str(error), content
        return None, content

    rows = iterate_rows(manifest)
    progress = progress_bar(total=len(manifest), label="reading images", unit="image")
    with ThreadPoolExecutor(workers) as pool, progress:
        while window := list(itertools.islice(rows, WINDOW)):
            for row, (reason, content) in zip(window, pool.map(look, window), strict=True):
                progress.update()
                yield row, reason, content


def find_repeats(manifest: Manifest, contents: Sequence[bytes]) -> Iterator[str]:
    """A line for every picture that is in several splits, whatever its name, and for every face that is listed twice.

    Two rows of one picture are two faces where their boxes or landmarks differ.

    Args:
        manifest: The rows.
        contents: Hash of each row's file; empty where it cannot be read.
    """
    paths, splits = manifest.texts("path"), manifest.texts("split")

    def named(rows: Sequence[int]) -> str:
        places = [f"{paths[row]} (row {row + 1}, {splits[row] or 'no split'})" for row in rows[:_NAMED]]
        return ", ".join(places) + (f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else "")

    for rows in _alike(contents):
        if contents[rows[0]] and len({splits[row] for row in rows}) > 1:
            yield f"one picture in several splits: {named(rows)}"
    for rows in _alike(zip(map(os.path.normpath, map(str, paths)), splits, strict=True)):
        for same in _alike(str((manifest[row].box, manifest[row].landmarks)) for row in rows):
            yield f"one face listed several times: {named([rows[k] for k in same])}"


def _alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """Positions of the keys that occur more than once, together where they are equal."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return [positions for positions in found.values() if len(positions) > 1]
