"""What stands between the program and the terminal: streams that are safe to write to, and signals that stop it."""

import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from emoca_core.errors import printable

_LONG = re.compile(r"(\S{120})\S{60,}(\S{120})")
"""A word of 300 characters or more."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, so that whatever cleans up after Ctrl-C cleans up after it too."""


class _SafeStream:
    """A text stream that shows what would act on the terminal, or what it cannot encode, as escapes.

    Where it carries messages, names and paths that nobody could read are shortened in the middle.
    """

    def __init__(self, stream: Any, shortens: bool = False) -> None:
        self._stream, self._shortens = stream, shortens

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        shown = _LONG.sub(r"\1...\2", text) if self._shortens else text
        safe = printable(shown, keep="\n\r\t").encode(encoding, "backslashreplace").decode(encoding)
        self._stream.write(safe)
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Let nothing that a name holds act on the terminal; a stream that was closed swallows what it is given."""
    before = sys.stdout, sys.stderr
    _occupy_standard_files()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = cast(TextIO, _SafeStream(before[0] or nowhere))
        sys.stderr = cast(TextIO, _SafeStream(before[1] or nowhere, shortens=True))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def first_speaks() -> Iterator[None]:
    """Of several processes that do the same let the first one speak; what they raise is not held back."""
    if process_number() == 0:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def process_number() -> int:
    """Which of the processes that a launcher started this one is; 0 for one that is alone."""
    number = os.environ.get("RANK", "")
    return int(number) if number.isdecimal() else 0


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM into ``Terminated``; a second one ends the process at once.

    Only where nobody else decides about the signal: in the main thread of a program that keeps the default.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    process = os.getpid()

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:  # a worker that inherited this
            os.kill(os.getpid(), number)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def discard_output() -> None:
    """Stop writing to a pipe that nobody reads: the interpreter flushes once more at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, AttributeError, io.UnsupportedOperation):  # no file behind it
        return


def _occupy_standard_files() -> None:
    """Open what was closed: the next file that is opened would take its number, and the output of others."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
