"""Photo files to RGB arrays. Every way in which a file can be bad is one clear line."""

import io
import re
import warnings
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.errors import ImageError, first_line
from emoca_core.files import read_regular
from emoca_core.images.photo_search import RAW_SUFFIXES
from emoca_core.interfaces import Photo
from emoca_core.limits import PHOTO_BYTES, PHOTO_PIXELS

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE = 16
"""Smallest side in pixels in which a face could be found."""

ALPHA_BACKGROUND = 128
"""Grey level that transparent photos are laid on: neither the dark nor the bright of a face."""

_ORIENTATION = 0x0112
_DEEP_MODES = {
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), "16-bit grey"),
    "I": "32-bit integer grey",
    "F": "float grey",
}
_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""Largest values of 8, 10, 12, 14 and 16 bits: cameras and scanners store fewer bits in 16."""
_HEIF = re.compile(rb"^.{4}ftyp(hei|hev|mif|msf)", re.DOTALL)
_HINTS = (
    (_HEIF, ": it is a damaged HEIC"),
    (re.compile(rb"^.{4}ftyp", re.DOTALL), ": it is a video; give it the name of one, as .mp4"),
    (re.compile(rb"^%PDF"), ": it is a PDF; export the picture first"),
    (re.compile(rb"^<(!doctype html|html)", re.IGNORECASE), ": it is a web page; download the picture itself"),
    (re.compile(rb"^(<\?xml.*)?<svg", re.DOTALL), ": it is a vector drawing; export it as PNG first"),
    (re.compile(rb"^version https://git-lfs"), ": it is a Git LFS pointer; run 'git lfs pull'"),
)


def read_photo(path: str | Path) -> Photo:
    """Read a photo of any common format as upright 8-bit RGB.

    EXIF rotation is applied; CMYK, palettes and grey become RGB; transparency is laid on mid-grey; 16-bit, 32-bit and
    float values are scaled to 8 bits by their white level; of several frames the first is taken. Whatever was done is
    in ``notes``.

    Raises:
        ImageError: The file cannot be used; one line that says why and what to do.
    """
    path = Path(path)
    content = _read_bytes(path)
    from PIL import Image, ImageOps, UnidentifiedImageError

    notes: list[str] = []
    try:
        # Pillow warns of large images and of odd metadata; the limits below and the errors say what matters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if _HEIF.search(content[:16]):
                _teach_heif()
            with Image.open(io.BytesIO(content)) as image:
                check_size(path, *image.size)
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    notes.append(f"first of {frames} frames")
                    image.seek(0)
                deep = image.mode not in _DEEP_MODES and any(";16" in str(tile[3]) for tile in image.tile)
                image.load()
                orientation = image.getexif().get(_ORIENTATION, 1)
                eight_bits = _deep_colour(content, image, notes) if deep else image
                if orientation != 1:
                    notes.append("rotated as its EXIF data says")
                    eight_bits.getexif()[_ORIENTATION] = orientation
                upright = ImageOps.exif_transpose(eight_bits)
                pixels = np.ascontiguousarray(to_rgb(upright, notes))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: it has too many pixels. Make it smaller first.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture in a format that can be read{_what_it_is(content)}.") from None
    except MemoryError:
        raise ImageError(f"{path}: not enough memory to decode it. Make it smaller first.") from None
    except (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, EOFError, TypeError, RuntimeError) as error:
        # What Pillow's decoders raise on damaged files is not narrower than this.
        reason = first_line(error)
        raise ImageError(f"{path}: damaged or incomplete picture ({reason}). Export or download it again.") from None
    return Photo(pixels, path, sha256(content).hexdigest(), tuple(notes))


@cache
def _teach_heif() -> None:
    """Let Pillow read HEIC, the format of phones."""
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)


def _read_bytes(path: Path) -> bytes:
    if path.suffix.lower() in RAW_SUFFIXES:
        raise ImageError(f"{path}: it is a camera raw file. Export it as JPEG first.")
    try:
        content = read_regular(path, PHOTO_BYTES, ImageError)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}). Check its name and permissions.") from None
    except ValueError as error:  # a zero byte in the name
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: cannot be read ({error}).") from None
    if not content:
        raise ImageError(f"{path}: the file is empty. Export or download it again.")
    return content


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse pictures that are too large to decode, or too small to show a face.

    Raises:
        ImageError: The size is out of bounds.
    """
    PHOTO_PIXELS.check(width * height, f"{path}: {width} x {height}", ImageError)
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"{path}: {width} x {height} pixels are too few to show a face (at least {MIN_SIDE} a side are needed)."
        )


def to_rgb(image: "Image.Image", notes: list[str]) -> UInt8[ndarray, "H W 3"]:
    """A decoded picture as 8-bit RGB, transparency laid on mid-grey; what was done is added to ``notes``."""
    if image.mode in _DEEP_MODES:
        image = _to_8_bit(image, notes)
    if image.has_transparency_data:
        layers = np.asarray(image.convert("RGBA"), dtype=np.uint16)
        color, alpha = layers[..., :3], layers[..., 3:]
        if (alpha < 255).any():
            notes.append(f"transparency laid on grey {ALPHA_BACKGROUND}")
        return ((color * alpha + ALPHA_BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)
    if image.mode not in ("RGB", "L", "1"):
        notes.append(f"converted from {image.mode}")
    return np.array(image.convert("RGB"))


def _to_8_bit(image: "Image.Image", notes: list[str]) -> "Image.Image":
    """Scale grey by the range that the values use: such files do not say what white is."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    white = _white_level(values, (1.0, 255.0, 65535.0) if image.mode == "F" else _WHITES)
    real = "" if white in (1.0, 65535.0) else f" with a white level of {white:g}"
    notes.append(f"{_DEEP_MODES[image.mode]}{real} scaled to 8 bits")
    return Image.fromarray(_scaled(values, white))


def _deep_colour(content: bytes, image: "Image.Image", notes: list[str]) -> "Image.Image":
    """Scale 16-bit colour. Pillow keeps the upper byte, which is right only where all 16 bits are used."""
    from PIL import Image

    colours = [band for band in image.getbands() if band != "A"]
    if max(int(np.asarray(image.getchannel(band)).max()) for band in colours) > _WHITES[-2] // 256:
        notes.append("16-bit colour scaled to 8 bits")
        return image
    import cv2

    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        raise ValueError("16-bit colour of fewer bits in a form that is not read: export it with 8 bits")
    white = _white_level(values[..., :3], _WHITES)
    notes.append(f"16-bit colour with a white level of {white:g} scaled to 8 bits")
    scaled = _scaled(values[..., 2::-1], white)
    if values.shape[2] == 4:
        alpha = values[..., 3:]
        scaled = np.concatenate([scaled, _scaled(alpha, _white_level(alpha, _WHITES))], axis=-1)
    return Image.fromarray(scaled)


def _white_level(values: ndarray, whites: Sequence[float]) -> float:
    """The least level of a list that no value exceeds; the largest value where all are exceeded."""
    largest = float(values.max(initial=0.0))
    return next((white for white in whites if largest <= white), largest)


def _scaled(values: ndarray, white: float) -> UInt8[ndarray, "..."]:
    return np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)


def _what_it_is(content: bytes) -> str:
    head = content[:512].lstrip()
    for pattern, hint in _HINTS:
        if pattern.search(head):
            return hint
    try:
        content[:4096].decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if b"\0" in content[:4096] else ": it is a text file"
