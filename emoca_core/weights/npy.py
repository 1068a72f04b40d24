"""NumPy's files, with sizes compared with the bytes that are there."""

import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import ASSET_BYTES
from emoca_core.weights.archives import open_archive

_LONGEST_HEADER = 10_000  # NumPy's own limit, looked at before the header is read


def npy_header(file: io.BufferedIOBase, size: int, what: object) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array; the file is then at its values.

    Args:
        file: At the beginning of the array.
        size: Bytes of header and values together.
        what: Name of the array, for messages.

    Raises:
        AssetFormatError: No npy file, or its values are fewer or more than its shape says.
    """
    try:
        version = np.lib.format.read_magic(file)
        width = 2 if version == (1, 0) else 4
        length = int.from_bytes(file.read(width), "little")
        if length > _LONGEST_HEADER:
            raise AssetFormatError(f"{what}: a header of {length} bytes describes no plain array")
        header = io.BytesIO(length.to_bytes(width, "little") + file.read(length))
        read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(header)
    except (ValueError, TypeError, SyntaxError, OverflowError, MemoryError, RecursionError, EOFError) as error:
        if isinstance(error, AssetFormatError):
            raise
        raise AssetFormatError(f"{what} is not an intact npy file: {error}") from None
    if dtype.hasobject:
        return tuple(shape), dtype
    there = size - 6 - 2 - width - length
    if dtype.names or dtype.kind not in "biufcSU" or not dtype.itemsize or any(n < 0 for n in shape):
        raise AssetFormatError(f"{what}: {dtype} of {shape} is no array of numbers")
    if math.prod(shape) * dtype.itemsize != there:
        raise AssetFormatError(f"{what}: {shape} {dtype} need {math.prod(shape) * dtype.itemsize} bytes, not {there}")
    return tuple(shape), dtype


class Npz:
    """The arrays of an npz file by name, each read when it is asked for.

    Attributes:
        shapes: Shape of each.
    """

    def __init__(self, path: Path) -> None:
        """Look at the headers.

        Raises:
            AssetFormatError: No npz file of plain arrays, or a bomb.
        """
        self._path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        with open_regular(path, ASSET_BYTES, AssetFormatError) as file, open_archive(file, path) as archive:
            for info in archive.infolist():
                with _member(archive, info, path) as member:
                    shape, _ = npy_header(member, info.file_size, f"{path}: '{info.filename}'")
                self.shapes[info.filename.removesuffix(".npy")] = shape

    def __getitem__(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            AssetFormatError: It is damaged.
        """
        with open_regular(self._path, ASSET_BYTES, AssetFormatError) as file, open_archive(file, self._path) as archive:
            info = archive.getinfo(f"{name}.npy")
            with _member(archive, info, self._path) as member:
                if npy_header(member, info.file_size, f"{self._path}: '{name}'")[1].hasobject:
                    raise AssetFormatError(f"{self._path} is not an npz file of plain arrays: '{name}' holds objects")
            with _member(archive, info, self._path) as member:
                try:
                    return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
                except (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
                    raise AssetFormatError(f"{self._path}: '{name}' is damaged: {error}") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> io.BufferedIOBase:
    try:
        member = archive.open(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise AssetFormatError(f"{path} is damaged: {error}") from None
    assert isinstance(member, zipfile.ZipExtFile)
    return member
