"""Cut faces in one file that is mapped into memory, so that a training decodes no picture twice."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.files import atomic_write
from emoca_core.progress import progress_bar


@dataclass(frozen=True)
class Cut:
    """A face cut from a photo.

    Attributes:
        pixels: RGB.
        to_crop: Pixels of the photo to those of the cut.
        photo_size: Height and width of the photo.
    """

    pixels: UInt8[ndarray, "S S 3"]
    to_crop: Float[ndarray, "3 3"]
    photo_size: tuple[int, int]


class KeptCuts:
    """Cuts by number, from a file."""

    def __init__(self, path: Path) -> None:
        """Map the file into memory."""
        self.table = np.load(path, mmap_mode="r")

    def __getitem__(self, index: int) -> Cut:
        row = self.table[index]
        height, width = row["photo_size"].tolist()
        return Cut(row["pixels"], row["to_crop"], (height, width))


def kept_cuts(cuts: Iterator[Cut], count: int, description: Iterable[object], size: int) -> KeptCuts:
    """All cuts of a set, from the cache folder; made first where they are not there.

    Args:
        cuts: Makes them.
        count: How many.
        description: What the cuts depend on: another one means another file.
        size: Side of the cuts, pixels.

    Raises:
        OSError: The disk is full.
    """
    key = hashlib.sha256()
    for part in description:
        key.update(repr(part).encode())
    path = Path(platformdirs.user_cache_dir("emoca")) / "cuts" / f"{key.hexdigest()}.npy"
    if not path.exists():
        kind = np.dtype([("pixels", "u1", (size, size, 3)), ("to_crop", "f8", (3, 3)), ("photo_size", "i8", (2,))])
        with atomic_write(path) as temporary:
            table = np.lib.format.open_memmap(temporary, "w+", kind, (count,))
            for index, cut in enumerate(progress_bar(cuts, total=count, label="decoding", unit="face")):
                table[index] = cut.pixels, cut.to_crop, cut.photo_size
            table.flush()
            del table
    return KeptCuts(path)
