"""A folder of numbered pictures as a clip."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from emoca_core.errors import ImageError, ParamsError
from emoca_core.files import sha256_of
from emoca_core.images.photo_search import PHOTO_SUFFIXES
from emoca_core.images.photos import read_photo
from emoca_core.video.timed import Part, TimedClip

_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True, kw_only=True)
class FrameFolder(TimedClip):
    """Pictures whose names end in numbers; a missing number is a missing frame.

    Attributes:
        files: By frame number.
    """

    files: dict[int, Path] = field(repr=False, compare=False)

    def _decoded(self, wanted: Int[ndarray, "K"]) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
        for number in wanted.tolist():
            try:
                photo = read_photo(self.files[number])
            except (ImageError, KeyError):
                continue
            if photo.size == self.size:
                yield number, photo.pixels


def open_frames(folder: Path, part: Part, frame_rate: float) -> FrameFolder:
    """Open a folder of numbered pictures. The size is that of the first; others of another size are left out.

    Raises:
        ImageError: It holds no numbered pictures, or two of one number, or none can be read.
        ParamsError: A frame rate that is not positive.
        OSError: The folder cannot be listed.
    """
    if not 0 < frame_rate < float("inf"):
        raise ParamsError(f"frame_rate must be positive, got {frame_rate}")
    files = _by_number(folder)
    times = np.arange(max(files) + 1) / frame_rate
    digest = hashlib.sha256()
    for path in files.values():
        digest.update(f"{path.name}\0{sha256_of(path)}\n".encode("utf-8", "surrogateescape"))
    return FrameFolder(
        path=folder,
        sha256=digest.hexdigest(),
        size=_first_size(folder, files),
        frame_rate=frame_rate / part.every,
        length=len(numbers := part.numbers(folder, times)),
        has_sound=False,
        notes=(f"a folder of frames, taken as {frame_rate:g} a second",),
        times=times,
        numbers=numbers,
        files=files,
    )


def _by_number(folder: Path) -> dict[int, Path]:
    """Pictures by their number, the smallest of which becomes 0."""
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PHOTO_SUFFIXES or not (number := _NUMBER.search(path.stem)):
            continue
        if (other := files.setdefault(int(number[1]), path)) != path:
            raise ImageError(f"{folder}: {other.name} and {path.name} have the same number. Keep one clip a folder.")
    if not files:
        raise ImageError(f"{folder}: no pictures with numbers at the ends of their names, as 0001.png.")
    return {number - min(files): files[number] for number in sorted(files)}


def _first_size(folder: Path, files: dict[int, Path]) -> tuple[int, int]:
    for path in files.values():
        try:
            return read_photo(path).size
        except ImageError:
            continue
    raise ImageError(f"{folder}: none of its {len(files)} pictures can be read. Export them again.")
