"""Animated GIF, WebP and PNG as clips."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray
from PIL import Image

from emoca_core.errors import ImageError, first_line
from emoca_core.files import open_regular, read_regular
from emoca_core.images.photos import check_size, to_rgb
from emoca_core.limits import PHOTO_BYTES
from emoca_core.video.timed import Part, TimedClip, mean_rate

NO_DURATION = 0.1
"""Seconds that a frame is shown which says 0, as browsers do."""
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, ArithmeticError, LookupError, EOFError, TypeError, RuntimeError),
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files is not narrower than this."""


@dataclass(frozen=True, kw_only=True)
class AnimatedPicture(TimedClip):
    """A picture of several frames, decoded by Pillow.

    Attributes:
        content: Of the file.
    """

    content: bytes = field(repr=False, compare=False)

    def _decoded(self, wanted: Int[ndarray, "K"]) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
        with Image.open(io.BytesIO(self.content)) as image:
            for number in wanted.tolist():
                try:
                    image.seek(number)
                    yield number, to_rgb(image, [])
                except _DAMAGE:
                    continue


def is_animated(path: Path) -> bool:
    """Whether a picture moves; of one that cannot be read, whoever reads it says why."""
    try:
        with _readable(path), open_regular(path, PHOTO_BYTES, ImageError) as file, Image.open(file) as image:
            return bool(getattr(image, "is_animated", False))
    except ImageError:
        return False


def open_animated(path: Path, part: Part) -> AnimatedPicture:
    """Open an animated picture. What is transparent is laid on grey, as in photos.

    Raises:
        ImageError: It is no picture, does not move, or is too large.
        OSError: It cannot be read.
    """
    content = read_regular(path, PHOTO_BYTES, ImageError)
    with _readable(path), Image.open(io.BytesIO(content)) as image:
        check_size(path, *image.size)
        if not getattr(image, "is_animated", False):
            raise ImageError(f"{path}: it is a still picture, no clip.")
        size, times = (image.height, image.width), _times(image)
    numbers = part.numbers(path, times)
    return AnimatedPicture(
        path=path,
        sha256=sha256(content).hexdigest(),
        size=size,
        frame_rate=mean_rate(times[numbers]),
        length=len(numbers),
        has_sound=False,
        times=times,
        numbers=numbers,
        content=content,
    )


def _times(image: Image.Image) -> ndarray:
    """When each frame begins, up to the first that is damaged."""
    shown = []
    for number in range(getattr(image, "n_frames", 1)):
        try:
            image.seek(number)
            image.load()
        except _DAMAGE:
            break
        shown.append(image.info.get("duration", 0) / 1000 or NO_DURATION)
    return np.cumsum([0.0, *shown[:-1]])


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which have a limit
            yield
    except ImageError:
        raise
    except _DAMAGE as error:
        reason = first_line(error)
        raise ImageError(f"{path}: damaged or incomplete picture ({reason}). Export it again.") from None
