"""One process at a time in a folder: a claim ends when it is released, and when its process dies."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: there nobody is kept out
    fcntl = None  # type: ignore[assignment]

LOCK = ".emoca-lock"
_WAIT_S = 0.2
_held: set[str] = set()
"""Lock files of this process: the operating system's locks tell processes apart, but not threads."""
_guard = threading.Lock()


class Claim:
    """The right to write to a folder. It is a lock on a file in it, which is removed with the claim.

    Example:
        >>> with Claim.wait(Path("captures")):
        ...     pass
    """

    def __init__(self, path: Path, handle: int) -> None:
        """Use ``take`` or ``wait``."""
        self._path, self._handle = path, handle

    @classmethod
    def take(cls, folder: Path) -> "Claim | None":
        """Claim a folder that exists; ``None`` while another process, or another thread of this one, has it.

        Raises:
            OSError: The folder cannot be written.
        """
        path = Path(os.path.realpath(folder), LOCK)
        with _guard:
            if str(path) in _held:
                return None
            handle = _locked(path)
            if handle is None:
                return None
            _held.add(str(path))
        return cls(path, handle)

    @classmethod
    def wait(cls, folder: Path, say: Callable[[], None] = lambda: None) -> "Claim":
        """Claim a folder as soon as nobody else has it; ``say`` is called once where that takes time."""
        claim = cls.take(folder)
        if claim is None:
            say()
        while claim is None:
            time.sleep(_WAIT_S)
            claim = cls.take(folder)
        return claim

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the folder."""
        with _guard:
            if str(self._path) in _held:
                _held.remove(str(self._path))
                with suppress(OSError):
                    self._path.unlink()
                os.close(self._handle)


def _locked(path: Path) -> int | None:
    """A handle of the lock file with the lock on it; ``None`` where another process has it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl is not None:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            return None
        except OSError:
            return handle  # a file system without locks: nobody is kept out
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False)):
                return handle
        os.close(handle)  # its owner removed it between opening and locking
