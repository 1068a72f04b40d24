"""Photo files to RGB arrays. Every way in which a file can be bad is one clear line."""

import io
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from emoca_core.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".ppm", ".pgm"}
)
"""Suffixes that a folder is searched for. A file named directly may have any."""

MAX_PIXELS = 100_000_000
"""Largest photo that is read (10,000 x 10,000), so that a small file cannot fill the memory."""

MAX_BYTES = 512 * 2**20
"""Largest file that is read."""

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
_HINTS = (
    (re.compile(rb"^.{4}ftyp(hei|hev|mif|msf)", re.DOTALL), ": it is HEIC; convert it to JPEG or PNG first"),
    (re.compile(rb"^.{4}ftyp", re.DOTALL), ": it is a video"),
    (re.compile(rb"^%PDF"), ": it is a PDF; export the picture first"),
    (re.compile(rb"^<(!doctype html|html)", re.IGNORECASE), ": it is a web page; download the picture itself"),
    (re.compile(rb"^(<\?xml.*)?<svg", re.DOTALL), ": it is a vector drawing; export it as PNG first"),
    (re.compile(rb"^version https://git-lfs"), ": it is a Git LFS pointer; run 'git lfs pull'"),
)


@dataclass(frozen=True)
class Photo:
    """One photo, upright, 8 bits, RGB.

    Attributes:
        pixels: RGB.
        path: Where it came from.
        sha256: Of the file.
        notes: What was done to it on the way, for the record: rotation, transparency, depth, first of several frames.
    """

    pixels: UInt8[ndarray, "H W 3"]
    path: Path
    sha256: str
    notes: tuple[str, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_photo(path: str | Path) -> Photo:
    """Read a photo of any common format as upright 8-bit RGB.

    EXIF rotation is applied; CMYK, palettes and grey become RGB; transparency is laid on mid-grey; 16-bit, 32-bit and
    float values are scaled to 8 bits; of several frames the first is taken. Whatever was done is in ``notes``.

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
            with Image.open(io.BytesIO(content)) as image:
                _check_size(path, *image.size)
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    notes.append(f"first of {frames} frames")
                    image.seek(0)
                image.load()
                if image.getexif().get(_ORIENTATION, 1) != 1:
                    notes.append("rotated as its EXIF data says")
                upright = ImageOps.exif_transpose(image)
                pixels = np.ascontiguousarray(_to_rgb(upright, notes))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: more pixels than {MAX_PIXELS:,}. Make it smaller first.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture in a format that can be read{_what_it_is(content)}.") from None
    except MemoryError:
        raise ImageError(f"{path}: not enough memory to decode it. Make it smaller first.") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, ZeroDivisionError) as error:
        # What Pillow's decoders raise on damaged files is not narrower than this.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{path}: damaged or incomplete picture ({reason}). Export or download it again.") from None
    return Photo(pixels, path, sha256(content).hexdigest(), tuple(notes))


def find_photos(inputs: str | Path | Iterable[str | Path], suffixes: Iterable[str] = PHOTO_SUFFIXES) -> list[Path]:
    """Photo files behind files, folders (searched recursively) and glob patterns, each once, in natural order.

    The order of the inputs is kept; what one folder or pattern holds is sorted so that ``2.jpg`` precedes ``10.jpg``.
    A file named directly is kept whatever its suffix, so that reading it can say what is wrong with it.

    Args:
        inputs: One or several paths or patterns; ``~`` is understood.
        suffixes: Suffixes of photos in folders, in lower case.

    Raises:
        ImageError: An input does not exist, cannot be listed, or holds no photos.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    wanted = frozenset(suffixes)
    found: dict[Path, None] = {}
    for one in named:
        found |= dict.fromkeys(_behind(Path(one).expanduser(), wanted))
    return list(found)


def natural_key(path: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key that orders the numbers in a name by their value."""
    path = Path(path)
    parts = [*re.split(r"(\d+)", str(path.with_suffix("")).casefold()), path.suffix.casefold()]
    key = [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]
    return (*key, (0, 0, str(path)))  # 1.jpg and 01.jpg still have an order


def _behind(path: Path, suffixes: frozenset[str]) -> Sequence[Path]:
    if path.is_dir():
        photos = [p for p in _walk(path) if p.suffix.lower() in suffixes]
        if not photos:
            raise ImageError(f"{path}: no photos in this folder (looked for {', '.join(sorted(suffixes))}).")
        return photos
    if path.exists() or path.is_symlink():
        return [path]
    if has_magic(str(path)):
        matches = sorted((Path(p) for p in glob(str(path), recursive=True)), key=natural_key)
        photos = [p for p in matches if p.is_file() and p.suffix.lower() in suffixes]
        if photos:
            return photos
        raise ImageError(f"{path}: no photo matches this pattern.")
    raise ImageError(f"{path}: no such file or folder.")


def _walk(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:  # unreadable folders below the one asked for are passed over
            raise ImageError(f"{folder}: this folder cannot be listed ({error.strerror}). Check its permissions.")

    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files, key=natural_key)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path}: this is a folder, not a photo.")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path}: not a regular file.")  # a pipe or a device would never end
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{path}: larger than {MAX_BYTES // 2**20} MiB. Export a smaller copy.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from None
    if not content:
        raise ImageError(f"{path}: the file is empty. Export or download it again.")
    return content


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path}: {width} x {height} pixels are more than the limit of {MAX_PIXELS:,}. Make it smaller first."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"{path}: {width} x {height} pixels are too few to show a face (at least {MIN_SIDE} a side are needed)."
        )


def _to_rgb(image: "Image.Image", notes: list[str]) -> UInt8[ndarray, "H W 3"]:
    if image.mode in _DEEP_MODES:
        notes.append(f"{_DEEP_MODES[image.mode]} scaled to 8 bits")
        image = _to_8_bit(image)
    if image.has_transparency_data:
        layers = np.asarray(image.convert("RGBA"), dtype=np.uint16)
        color, alpha = layers[..., :3], layers[..., 3:]
        if (alpha < 255).any():
            notes.append(f"transparency laid on grey {ALPHA_BACKGROUND}")
        return ((color * alpha + ALPHA_BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)
    if image.mode not in ("RGB", "L", "1"):
        notes.append(f"converted from {image.mode}")
    return np.array(image.convert("RGB"))


def _to_8_bit(image: "Image.Image") -> "Image.Image":
    """Scale by the range that the values use: such files do not say what white is."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        largest = float(values.max(initial=0.0))
        whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        white = next((white for white in whites if largest <= white), largest)
    return Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))


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
