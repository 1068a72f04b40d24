"""Which files are photos. Whatever looks like a picture and is not taken is named."""

import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from glob import glob, has_magic
from pathlib import Path

from emoca_core.errors import EmocaError, ImageError
from emoca_core.files import open_regular
from emoca_core.limits import PHOTO_BYTES


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


PHOTO_SUFFIXES = _suffixes(
    "jpg jpeg jpe jfif mpo png apng webp heic heif hif avif bmp dib tif tiff gif ppm pgm pnm jp2 j2k jpx tga"
)
"""Suffixes that a folder is searched for. A file named directly may have any."""
RAW_SUFFIXES = _suffixes("dng cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 rwl pef srw x3f 3fr iiq erf kdc dcr mrw raw")
"""Of camera raw files, in which Pillow would find the small preview alone."""
_OTHER_SUFFIXES = _suffixes(
    "jxl jxr wdp psd psb xcf kra ai eps svg svgz exr hdr pfm dds ico icns pcx sgi pbm xbm xpm fits dcm emf wmf qoi"
)
_HEADERS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF.{4}WEBP|II\*\0|MM\0\*|.{4}ftyp(hei|hev|mif|msf|avif)|BM.{4}\0\0\0\0",
    re.DOTALL,
)
_SUFFIX_INSIDE = re.compile(r"\.(jpe?g|png|heic|webp)", re.IGNORECASE)

Tell = Callable[[Path, str], None]
"""Receives a path that was not taken, and the reason."""


def find_photos(
    inputs: str | Path | Iterable[str | Path],
    not_taken: Tell | None = None,
    suffixes: Collection[str] = PHOTO_SUFFIXES,
) -> list[Path]:
    """Photo files behind files, folders (searched recursively) and glob patterns, each once, in natural order.

    The order of the inputs is kept; what one folder or pattern holds is sorted so that ``2.jpg`` precedes ``10.jpg``.
    A file named directly is kept whatever its suffix, so that reading it can say what is wrong with it.

    Args:
        inputs: One or several paths or patterns; ``~`` is understood.
        not_taken: Told of every file in a folder that looks like a picture and is not among the photos, and of every
            folder that cannot be listed. By default one warning names them.
        suffixes: What is looked for in folders and patterns.

    Raises:
        ImageError: An input does not exist, cannot be listed, or holds no photos.
    """
    left: list[str] = []
    tell = not_taken or (lambda path, reason: left.append(f"{path} ({reason})"))
    found: dict[Path, None] = {}
    for one in [inputs] if isinstance(inputs, str | Path) else list(inputs):
        found |= dict.fromkeys(_behind(one, tell, suffixes))
    if left:
        warnings.warn(f"pictures not taken ({len(left)}): {', '.join(left)}", stacklevel=2)
    return list(found)


def photos_in(folder: Path, not_taken: Tell) -> list[Path]:
    """Photos anywhere below a folder, in natural order; see ``walk_files`` and ``find_photos``.

    Raises:
        OSError: The folder cannot be listed.
    """
    return _photos_among(walk_files(folder, not_taken), not_taken)


def walk_files(folder: Path, not_taken: Tell) -> list[Path]:
    """All files below a folder in natural order, but not those of hidden folders.

    Linked folders are followed. Every folder is entered once, real ones first, so loops of links end.

    Args:
        folder: Where to begin.
        not_taken: Told of folders that cannot be listed, and of hidden ones with pictures.

    Raises:
        OSError: The folder itself cannot be listed.
    """
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()
    real, linked = [folder], list[Path]()
    while real or linked:
        place = real.pop() if real else linked.pop(0)
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = place / entry.name
                    if not _is_folder(entry):
                        files.append(path)
                    elif entry.name.startswith("."):
                        _tell_hidden(path, not_taken)
                    else:
                        (linked if entry.is_symlink() else real).append(path)
        except OSError as error:
            if place == folder:
                raise
            not_taken(place, f"cannot be listed: {error.strerror}")
    return sorted(files, key=natural_key)


def natural_key(path: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key that orders the numbers in a name by their value."""
    path = Path(path)
    parts = [*re.split(r"(\d+)", str(path.with_suffix("")).casefold()), path.suffix.casefold()]
    key = [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]
    return (*key, (0, 0, str(path)))  # 1.jpg and 01.jpg still have an order


def _behind(one: str | Path, not_taken: Tell, suffixes: Collection[str]) -> list[Path]:
    path = Path(one)
    try:
        path = path.expanduser()
        if path.is_dir():
            return _in_folder(path, not_taken, suffixes)
        if path.exists() or path.is_symlink():
            return [path]
        matches = sorted(map(Path, glob(str(path), recursive=True)), key=natural_key) if has_magic(str(path)) else []
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{path}: cannot be looked for ({error.strerror}).") from None
    except (RuntimeError, ValueError) as error:  # ~nobody, a zero byte
        raise ImageError(f"{path}: cannot be looked for ({error}).") from None
    if not has_magic(str(path)):
        raise ImageError(f"{path}: no such file or folder.")
    if not (photos := _photos_among((match for match in matches if not match.is_dir()), not_taken, suffixes)):
        raise ImageError(f"{path}: no photo matches this pattern.")
    return photos


def _in_folder(path: Path, not_taken: Tell, suffixes: Collection[str]) -> list[Path]:
    left: list[str] = []

    def tell(other: Path, reason: str) -> None:
        left.append(other.name)
        not_taken(other, reason)

    try:
        photos = _photos_among(walk_files(path, tell), tell, suffixes)
    except OSError as error:
        raise ImageError(f"{path}: this folder cannot be listed ({error.strerror}). Check its permissions.") from None
    if not photos:
        others = f"; not taken: {', '.join(left[:5])}{', ...' * (len(left) > 5)}" if left else ""
        raise ImageError(f"{path}: no photos in this folder (looked for {', '.join(sorted(suffixes))}{others}).")
    return photos


def _photos_among(files: Iterable[Path], not_taken: Tell, suffixes: Collection[str] = PHOTO_SUFFIXES) -> list[Path]:
    photos = []
    for path in files:
        hidden, suffix = path.name.startswith("."), path.suffix.lower()
        if suffix in suffixes and not hidden:
            photos.append(path)
        elif suffix in RAW_SUFFIXES and not hidden:
            not_taken(path, "a camera raw file; export it as JPEG")
        elif suffix in _OTHER_SUFFIXES and not hidden:
            not_taken(path, "a format that is not searched for; export it as JPEG or PNG")
        elif (hidden or not suffix or _SUFFIX_INSIDE.search(path.name)) and _begins_like_a_picture(path):
            not_taken(path, "hidden by the dot before its name" if hidden else "its name does not end like a picture's")
    return photos


def _begins_like_a_picture(path: Path) -> bool:
    try:
        with open_regular(path, PHOTO_BYTES) as file:
            return _HEADERS.match(file.read(32)) is not None
    except (OSError, EmocaError):
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()  # follows links
    except OSError:  # a link to itself
        return False


def _tell_hidden(folder: Path, not_taken: Tell) -> None:
    """Say that a hidden folder is not entered, if it holds pictures."""
    names = (name for _, _, names in os.walk(folder) for name in names)
    if count := sum(Path(name).suffix.lower() in PHOTO_SUFFIXES for name in names):
        not_taken(folder, f"a hidden folder (pictures in it: {count})")
