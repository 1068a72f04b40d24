"""A stranger's code, run in a way that costs nobody but itself.

Whatever it raises is an error of its own, what it prints does not reach the output of a command, and it has an end.
"""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from emoca_core.errors import EmocaError, PluginError
from emoca_core.limits import PLUGIN_SECONDS

_OUTPUT, _ERRORS = 1, 2
"""Numbers of the standard files: what is printed past Python goes to these."""
_PIPE_BYTES = 65536


@dataclass
class Said:
    """What a stranger printed; complete when it has come to its end."""

    text: str = ""


@contextlib.contextmanager
def contained(seconds: float | None = None) -> Iterator[Said]:
    """Run a stranger's code; what it prints, from Python or past it, is in the result.

    Args:
        seconds: After which it is stopped, where that is possible: in the main thread of a process that has signals.

    Raises:
        PluginError: Whatever it raised, but for Ctrl-C.
    """
    said = Said()
    try:
        with (
            _heard(said),
            _same_folder(),
            _deadline(float(PLUGIN_SECONDS.most if seconds is None else seconds)),
            own_interrupts(),
        ):
            yield said
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # SystemExit and whatever else a third party's code may raise
        raise PluginError(said_by(error)) from error


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Run a stranger's code; what it prints, from Python or past it, goes to standard error.

    Raises:
        RuntimeError: A ``KeyboardInterrupt`` that is not Ctrl-C; everything else comes as it is.
    """
    with _OUTPUTS.to(_ERRORS), contextlib.redirect_stdout(sys.stderr), own_interrupts():
        yield


def said_by(error: BaseException) -> str:
    """What an error says, on one line; that of a stranger with its type."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # even that is a stranger's code
        text = "(its text cannot be read)"
    return text if isinstance(error, EmocaError) else f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def own_interrupts() -> Iterator[None]:
    """Tell a signal that stops the program from a stranger who raises, or swallows, the same.

    Raises:
        KeyboardInterrupt: There was a signal, whatever the stranger made of it.
        RuntimeError: There was none.
    """
    stops: list[BaseException] = []
    with _watched(stops):
        try:
            yield
        except KeyboardInterrupt as error:
            if not stops:
                raise RuntimeError("KeyboardInterrupt, though nobody stops the program") from error
        except BaseException:
            if not stops:
                raise
    if stops:
        raise stops[0]


@contextlib.contextmanager
def _watched(stops: list[BaseException]) -> Iterator[None]:
    """Note what the handlers of signals raise."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        handler = handlers[signal.Signals(number)]
        assert callable(handler)
        try:
            handler(number, frame)
        except BaseException as stop:
            stops.append(stop)
            raise

    watched = [number for number, handler in handlers.items() if callable(handler)]
    for number in watched:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in watched:
            signal.signal(number, handlers[number])


# what it prints


@contextlib.contextmanager
def _heard(said: Said) -> Iterator[None]:
    python, (reader, writer) = _Kept(), os.pipe()
    if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12
        os.set_blocking(writer, False)  # who fills it gets an error, and does not wait
    try:
        with _OUTPUTS.to(writer), contextlib.redirect_stdout(python):
            yield
    finally:
        with contextlib.suppress(BlockingIOError):  # full
            os.write(writer, b"\n")  # so that there is something to read
        past_python = os.read(reader, _PIPE_BYTES).decode("utf-8", "replace")
        said.text = (python.getvalue() + past_python).strip()
        os.close(reader)
        os.close(writer)


class _Kept(io.StringIO):
    """Cannot be closed by the stranger."""

    def close(self) -> None:
        """Leave the text readable."""


class _StandardOutput:
    """The standard output of the process, which can be led elsewhere; it comes back when the last one leaves."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._users = 0
        self._own: int | None = None

    @contextlib.contextmanager
    def to(self, handle: int) -> Iterator[None]:
        _flush()  # what is ours
        with self._guard:
            if self._users == 0:
                self._own = _copy_of(_OUTPUT)
            self._users += 1
            self._lead_to(handle)
        try:
            yield
        finally:
            _flush()  # what is the stranger's
            with self._guard:
                self._users -= 1
                self._lead_to(_ERRORS if self._users or self._own is None else self._own)
                if self._users == 0 and self._own is not None:
                    os.close(self._own)

    def _lead_to(self, handle: int) -> None:
        if self._own is not None:
            os.dup2(handle, _OUTPUT)


_OUTPUTS = _StandardOutput()


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it was closed
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
    # what C code has printed and its library holds back; whatever computes has imported ctypes, which is slow
    if os.name == "posix" and (ctypes := sys.modules.get("ctypes")) is not None:
        ctypes.CDLL(None).fflush(None)


def _copy_of(handle: int) -> int | None:
    """``None`` for a file that was closed, in which nothing can be spoilt."""
    try:
        return os.dup(handle)
    except OSError:
        return None


# where it works, and for how long


@contextlib.contextmanager
def _same_folder() -> Iterator[None]:
    """Come back to the current folder, from which the user's relative paths start."""
    try:
        before = os.getcwd()
    except FileNotFoundError:  # it was removed
        yield
        return
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, None)):
        yield
        return

    def stop(*_: object) -> None:
        raise PluginError(f"does not come to an end within {seconds:g} s ({PLUGIN_SECONDS.variable} raises the limit)")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # once a second, should it be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
