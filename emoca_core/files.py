"""Writing files so that a crash, a full disk or Ctrl-C never leaves half of one; reading files, and only files."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from emoca_core.errors import EmocaError, LimitError
from emoca_core.limits import Limit


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes ``path``, on any failure it is removed.

    The temporary name keeps the suffix of ``path`` because many writers choose the format by it.

    Args:
        path: Where the file shall appear. Missing parent folders are created.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files private; these are results
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def open_regular(path: Path | str, limit: Limit, error: type[EmocaError] = LimitError) -> BinaryIO:
    """Open a file of bounded size for reading. Never waits on a pipe, never starts a device.

    Args:
        path: A file, or a link to one.
        limit: Row of ``emoca_core.limits`` for its size.
        error: Class of the refusal, e.g. ``AssetFormatError``.

    Raises:
        LimitError: Or ``error``: it is larger than the limit, or no regular file (folder, pipe, device, socket).
        OSError: It is not there, or may not be read.
    """
    _check_regular(os.stat(path), path, limit, error)
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:  # again: another file may have taken its place, and a pipe that nobody writes to would be waited for
        _check_regular(os.fstat(handle), path, limit, error)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path | str, limit: Limit, error: type[EmocaError] = LimitError) -> bytes:
    """The content of a file of bounded size; raises as ``open_regular`` does."""
    with open_regular(path, limit, error) as file:
        content = file.read(limit.most + 1)
    limit.check(len(content), path, error)  # it grew, or is one of the files of a kernel that have no size
    return content


def _check_regular(status: os.stat_result, path: Path | str, limit: Limit, error: type[EmocaError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path} is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no regular file')}, which is not read")
    limit.check(status.st_size, path, error)


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def sha256_of(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask
