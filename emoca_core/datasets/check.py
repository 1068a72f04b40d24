"""Reading every image of a manifest before a training does."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tqdm.auto import tqdm

from emoca_core.datasets.manifest import Manifest, ManifestRow
from emoca_core.datasets.masks import read_mask
from emoca_core.datasets.rows import iterate_rows
from emoca_core.errors import ImageError
from emoca_core.images.photos import read_photo

WINDOW = 512
"""Images under way at a time: what is in memory does not grow with the manifest."""


def check_images(manifest: Manifest, workers: int = 1) -> Iterator[tuple[ManifestRow, str | None]]:
    """Every row in order, with the reason why its image cannot be used, or ``None``.

    Args:
        manifest: The images.
        workers: Threads; decoding runs outside Python's lock.
    """

    def problem(row: ManifestRow) -> str | None:
        try:
            photo = read_photo(manifest.image_path(row)).pixels
            if mask := manifest.mask_path(row):
                read_mask(mask, photo.shape[:2])
        except ImageError as error:
            return str(error)
        return None

    rows = iterate_rows(manifest)
    progress = tqdm(total=len(manifest), desc="reading images", unit="image", disable=None)
    with ThreadPoolExecutor(workers) as pool, progress:
        while window := list(itertools.islice(rows, WINDOW)):
            for row, reason in zip(window, pool.map(problem, window), strict=True):
                progress.update()
                yield row, reason
