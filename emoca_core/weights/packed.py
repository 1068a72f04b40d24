"""Compressed tar archives, as npm packs them, within limits: how much they grow, and what is read at once."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import ASSET_BYTES, HEADER_BYTES, MEMBERS
from emoca_core.weights.archives import check_unpacked

_AT_ONCE = 2**20


def read_members(path: Path, wanted: Callable[[str, int], bool]) -> tuple[dict[str, bytes], dict[str, int]]:
    """Plain files of a ``.tgz``: the content of some, the size of all.

    Args:
        path: The archive.
        wanted: Whether a file of this name and size, bytes, is read.

    Raises:
        AssetFormatError: It is no such archive, is damaged, or a bomb.
    """
    content, sizes = {}, {}
    with _opened(path) as (archive, stream):
        for count, member in enumerate(archive):
            MEMBERS.check(count, path, AssetFormatError)
            if not member.isreg() or member.issparse():
                continue
            stream.check(member.offset_data + member.size)
            sizes[member.name] = member.size
            if wanted(member.name, member.size) and (file := archive.extractfile(member)) is not None:
                content[member.name] = b"".join(iter(partial(file.read, _AT_ONCE), b""))
    return content, sizes


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tarfile.TarFile, "_Bounded"]]:
    try:
        with open_regular(path, ASSET_BYTES, AssetFormatError) as file:
            packed = file.seek(0, io.SEEK_END)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unpacked:
                stream = _Bounded(unpacked, packed, path)
                with tarfile.open(fileobj=stream, mode="r:") as archive:
                    yield archive, stream
    except AssetFormatError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise AssetFormatError(f"{path} is not an intact .tgz archive: {error}") from None


class _Bounded(io.RawIOBase):
    """The unpacked bytes; headers of any length and what grows more than real data does are refused."""

    def __init__(self, unpacked: gzip.GzipFile, packed: int, path: Path) -> None:
        self._unpacked, self._packed, self._path = unpacked, packed, path

    def check(self, end: int) -> None:
        """Refuse an end that lies too far for the archive's size."""
        check_unpacked(end, self._packed, self._path)

    def read(self, size: int = -1) -> bytes:
        HEADER_BYTES.check(size, f"{self._path}: one part of the archive", AssetFormatError)
        self.check(self._unpacked.tell() + size)
        return self._unpacked.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self.check(offset)
        return self._unpacked.seek(offset, whence)

    def tell(self) -> int:
        return self._unpacked.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
