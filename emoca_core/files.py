"""Files: written whole or not at all, named below the folder in hand, deleted where this program made them.

What is read is a regular file of bounded size.
"""

import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

from emoca_core.errors import EmocaError, LimitError, OutputError, UnsafePathError
from emoca_core.limits import Limit

MARKER = "emoca-made.json"
"""In folders that this program made, and may delete: names what in them is its own."""
_FORMAT = "emoca-folder-1"
_TEMPORARY = re.compile(r"\.emoca-(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,9})-[0-9a-f]{8}(\..*)?", re.DOTALL)
_OLD_S = 24 * 3600.0
"""Seconds after which a temporary of another machine, whose processes are out of sight, is one of a dead writer."""
_NAME_BYTES = 255
_KEPT_BYTES = 200
"""Of a long name: leaves room for what is added to tell names apart."""


# writing


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes ``path``, on any failure it is removed.

    The temporary name keeps the suffix of ``path`` because many writers choose the format by it. Temporaries of
    writers that were killed are removed when another process writes to the same folder.

    Args:
        path: Where the file shall appear. Missing parent folders are created.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_in(path.parent, path.suffix)
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    mode = stat.S_IMODE(os.fstat(handle).st_mode)  # which the umask left; some writers put a private file in its place
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it becomes ``path``, on any failure it is removed.

    Args:
        path: Where the folder shall appear. It may be there already if it is empty.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_in(path.parent)
    begin_folder(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            delete_made(temporary)
        raise
    (path / MARKER).unlink()


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically. Of file names, every byte that is not UTF-8 becomes a question mark."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def write_json(path: Path | str, value: object) -> None:
    """Write JSON atomically; see ``json_text``."""
    write_text(path, json_text(value) + "\n")


def json_text(value: object, *, indent: int | None = 2, strict: bool = False) -> str:
    """Any plain value as JSON that every reader understands: numbers that are not finite become null.

    Args:
        value: Made of mappings, sequences, texts, numbers, booleans and ``None``.
        indent: Spaces; ``None`` for a single line.
        strict: Refuse such numbers instead.

    Raises:
        ValueError: ``strict``, and a number is not finite.

    Example:
        >>> json_text({"loss": float("nan")}, indent=None)
        '{"loss": null}'
    """
    return _json_encoder(indent).encode(value if strict else map_leaves(value, _finite))


@cache
def _json_encoder(indent: int | None) -> json.JSONEncoder:
    """Kept, because ``json.dumps`` makes one for each text, which takes longer than a short text does."""
    return json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False)


@contextmanager
def writing_to(folder: Path, then: str = "", also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what writing raises into one error that names the folder.

    Args:
        folder: What is written to.
        then: Another sentence, which says what is kept and what to do.
        also: Errors in which a library of the body hides those of the operating system.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    caught: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except EmocaError:
        raise
    except caught as error:
        lines = str(getattr(error, "strerror", None) or error).splitlines() or [type(error).__name__]
        raise OutputError(f"cannot write to {folder}: {lines[0]}." + (f" {then}" if then else "")) from error


# reading


def open_regular(path: Path | str, limit: Limit, error: type[EmocaError] = LimitError) -> io.BufferedReader:
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
        expected = os.fstat(file.fileno()).st_size + 1
        content = file.read(expected)  # as much as the limit would be set aside first
        if len(content) == expected:
            content += file.read(limit.most)
    limit.check(len(content), path, error)  # it grew, or is one of the files of a kernel that have no size
    return content


def _check_regular(status: os.stat_result, path: Path | str, limit: Limit, error: type[EmocaError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path}: it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no regular file')}, which is not read.")
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


# naming


def path_below(folder: Path, *names: str, what: str = "name") -> Path:
    """The entry of a folder that a name from outside means: the one way from such a name to a path.

    Args:
        folder: The folder in hand.
        *names: From a file, a photo, a package, a plugin or the command line; several for an entry of an entry.
        what: What the name is, for the message.

    Raises:
        UnsafePathError: It is not the plain name of an entry, or the entry is a link that leads out of the folder.

    Example:
        >>> path_below(Path("runs"), "../other")
        Traceback (most recent call last):
        emoca_core.errors.UnsafePathError: the name '../other' is not the plain name of something in runs
    """
    path = folder
    for name in names:
        if not is_plain_name(name):
            raise UnsafePathError(f"the {what} {name!r} is not the plain name of something in {path}")
        path /= name
        if leads_out(folder, path):
            raise UnsafePathError(f"{path} is a link that leads out of {folder}: remove it, or choose another folder")
    return path


def leads_out(folder: Path, path: Path) -> bool:
    """Whether an entry of a folder is a link to something outside of it."""
    return os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def is_plain_name(name: object) -> bool:
    """Whether a value is a text that names one entry of a folder, on every system."""
    if not isinstance(name, str) or name in ("", ".", "..") or Path(name).drive or set(name) & set("/\\\0"):
        return False
    try:
        return len(os.fsencode(name)) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


def plain_name(text: str) -> str:
    """A plain name like a text that may hold anything: separators, control characters, bytes that are not UTF-8.

    Example:
        >>> plain_name(".."), plain_name("anna/1")
        ('__', 'anna_1')
    """
    name = os.fsencode(re.sub(r"[/\\\x00-\x1f\x7f]", "_", text)).decode("utf-8", "replace")
    if not name.strip(". "):
        name = "_" * max(1, len(name))
    encoded = name.encode()
    if len(encoded) > _KEPT_BYTES:
        name = f"{encoded[:_KEPT_BYTES].decode('utf-8', 'ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return name


# deleting


def begin_folder(folder: Path) -> None:
    """Make a folder in which everything is this program's own, until ``mark_made`` says what.

    Raises:
        FileExistsError: There is one already.
    """
    folder.mkdir(parents=True)
    try:
        write_json(folder / MARKER, {"format": _FORMAT, "files": None})
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def mark_made(folder: Path) -> None:
    """Note what is in a folder now: what others put beside it later is not this program's own."""
    write_json(folder / MARKER, {"format": _FORMAT, "files": sorted({*os.listdir(folder)} - {MARKER})})


@contextmanager
def none_left_empty(folder: Path) -> Iterator[None]:
    """Remove a folder and those above it, where they were not there before and are empty afterwards."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        yield
    finally:
        for each in missing:
            with suppress(OSError):  # it is not empty, or was never made
                each.rmdir()


def delete_made(folder: Path, marker: str = MARKER) -> bool:
    """Delete what this program made in a folder, and the folder if that was everything: the one way to delete folders.

    Nothing is touched in a folder without a marker, nor behind a link.

    Args:
        folder: It need not exist.
        marker: A JSON file in it with a ``format`` of this program, and names of other entries as ``files``.

    Returns:
        Whether there is no such folder any more.
    """
    made = None if folder.is_symlink() else _made_in(folder, marker)
    if made is None:
        return not os.path.lexists(folder)
    for name in made - {marker}:
        entry = folder / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)  # which does not follow links
        else:
            entry.unlink(missing_ok=True)
    if os.listdir(folder) != [marker]:
        return False
    (folder / marker).unlink()
    folder.rmdir()
    return True


def _made_in(folder: Path, marker: str) -> set[str] | None:
    """What the marker names; everything, where the folder was never finished; ``None`` without a marker of ours."""
    file = folder / marker
    try:
        record = None if file.is_symlink() else json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, Mapping) or not str(record.get("format")).startswith("emoca-"):
        return None
    names = record.get("files", [])
    if names is None and record["format"] == _FORMAT:
        return set(os.listdir(folder))
    return {name for name in names if is_plain_name(name)} if isinstance(names, list) else None


# temporaries


def _temporary_in(folder: Path, suffix: str = "") -> Path:
    """A name that tells a later process who writes, so that it can remove what a dead writer left."""
    _remove_stale(os.path.abspath(folder))
    return folder / f".emoca-{_host()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"


@lru_cache(maxsize=1024)
def _remove_stale(folder: str) -> None:
    """Remove temporaries of dead writers, once for each folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (name := _TEMPORARY.fullmatch(entry.name)) is None:
                continue
            if _is_alive(name["host"], int(name["pid"]), entry.stat(follow_symlinks=False).st_mtime):
                continue
            if entry.is_dir(follow_symlinks=False):
                delete_made(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def _is_alive(host: str, pid: int, changed: float) -> bool:
    """Whether the writer of a temporary may still be writing."""
    if host == _host() and os.name == "posix":
        try:
            os.kill(pid, 0)  # sends nothing
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is another user's
    return time.time() - changed < _OLD_S


@cache
def _host() -> str:
    """Where process numbers mean the same: the machine since its last start, and the container."""
    facts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:8]


def map_leaves(value: object, change: Callable[[object], object]) -> object:
    """Plain data in which everything that is no mapping, list or tuple is replaced by ``change`` of it.

    Example:
        >>> map_leaves({"a": [1, 2]}, lambda leaf: -leaf)
        {'a': [-1, -2]}
    """
    if isinstance(value, Mapping):
        return {key: map_leaves(item, change) for key, item in value.items()}
    return [map_leaves(item, change) for item in value] if isinstance(value, list | tuple) else change(value)


def leaves_of(value: object) -> list[object]:
    """What plain data holds that is no mapping, list or tuple."""
    leaves: list[object] = []
    map_leaves(value, leaves.append)
    return leaves


def _finite(leaf: object) -> object:
    return None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf
