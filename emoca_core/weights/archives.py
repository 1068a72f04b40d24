"""Zip archives within limits: how many members, and how much they grow when they are unpacked."""

import io
import struct
import zipfile
from pathlib import Path

from emoca_core.errors import AssetFormatError
from emoca_core.limits import ASSET_BYTES, HEADER_BYTES, MEMBERS, UNPACKED_FREE, UNPACKED_RATIO

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


def open_archive(file: io.BufferedIOBase, path: Path) -> zipfile.ZipFile:
    """Open an archive whose directory and members are not larger than they may be; the file stays open.

    Raises:
        AssetFormatError: It is no intact archive, or a bomb.
    """
    try:
        HEADER_BYTES.check(_directory_size(file), f"{path}: the directory of the archive", AssetFormatError)
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, EOFError, NotImplementedError) as error:
        if isinstance(error, AssetFormatError):
            raise
        raise AssetFormatError(f"{path} is damaged: {error}") from None
    MEMBERS.check(len(archive.infolist()), path, AssetFormatError)
    check_unpacked(sum(info.file_size for info in archive.infolist()), file.seek(0, 2), path)
    return archive


def check_unpacked(size: int, packed: int, path: object) -> None:
    """Refuse what grows more than real data does, from ``packed`` bytes to ``size``.

    Raises:
        AssetFormatError: It is a bomb.
    """
    ASSET_BYTES.check(size, path, AssetFormatError)
    if size > UNPACKED_FREE:
        UNPACKED_RATIO.check(size // max(packed, 1), path, AssetFormatError)


def _directory_size(file: io.BufferedIOBase) -> int:
    """Bytes of the central directory, which lists the members at the end of the file."""
    size = file.seek(0, 2)
    start = max(size - 2**16 - 22, 0)
    file.seek(start)
    tail = file.read()
    if (end := tail.rfind(_END)) < 0:
        raise zipfile.BadZipFile("it is no intact zip archive")
    (directory,) = struct.unpack_from("<I", tail, end + 12)
    if end >= 20 and tail.startswith(_LOCATOR64, end - 20):
        (where,) = struct.unpack_from("<Q", tail, end - 12)
        file.seek(min(where, size))
        record = file.read(56)
        if record.startswith(_END64):
            (directory,) = struct.unpack_from("<Q", record, 40)
    file.seek(0)
    return int(directory)
