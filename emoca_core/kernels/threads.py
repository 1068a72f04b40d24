"""Compiled loops on several ordinary threads.

Those of others were tried. Numba's either cannot be called by two threads at once, or not after a fork. Torch's, which
keep their cores busy for milliseconds after each of its operations, are lent by a private entry alone: measured on two
cores, a capture takes as long without (2 % more) as does a training step (0.7 to 1.05 of the time).
"""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from types import FrameType, ModuleType
from typing import Any

import torch

from emoca_core.late_imports import imported_when_used

_opencv_lock = threading.Lock()
_opencv_had: list[int] = []
"""Threads that OpenCV had before each of those who want one came."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` without the GIL, cached on disk where any folder for that can be written."""
    numba = _numba()

    def compile_lazily(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            kernel: Callable[..., Any] = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba found no folder: compile in every process
            kernel = numba.njit(nogil=True, **options)(function)
        return kernel

    return compile_lazily


@cache
def _numba() -> ModuleType:
    """Numba without SciPy's BLAS, which it imports while it sets itself up, for functions that no kernel calls."""
    with imported_when_used("scipy.linalg", "scipy.linalg.cython_blas"):
        import numba
        import numba.np.arraymath
    return numba


def for_each(count: int, work: Callable[[int], None]) -> None:
    """Call ``work(0)``, ..., ``work(count - 1)`` on ``torch.get_num_threads()`` threads, the caller's among them.

    May be called by several threads at once and after a fork.

    Args:
        count: Number of pieces.
        work: Does one piece, most of it without the GIL; pieces do not depend on each other.

    Raises:
        BaseException: What the first failing piece raised; pieces that had not begun by then are left out.
    """
    turn, failures = itertools.count(), list[BaseException]()

    def run(_: int | None = None) -> None:
        try:
            while not failures and (number := next(turn)) < count:  # next() is atomic: whoever is free takes a piece
                work(number)
        except BaseException as failure:  # must not be lost in another thread
            failures.append(failure)

    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        run()
    else:
        with _signals_later():
            others = [_pool(os.getpid()).submit(run) for _ in range(threads - 1)]
            run()
            for other in others:
                if not other.cancel():  # one that has not begun is not needed any more: all pieces are taken
                    other.result()
    if failures:
        raise failures[0]


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let this thread's tensors be, within, a matter of this thread alone: for tensors that are too small to split.

    Torch's other threads keep their cores busy while they wait, and waiting for a busy core stalls all of them.
    """
    threads = torch.get_num_threads()
    if threads == 1 or not wanted:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def opencv_on_one_thread() -> Iterator[None]:
    """Let OpenCV work, within, in the threads that call it: where several do, for pictures that are small.

    Its own threads are woken for each of its operations, and spin between them. The setting is the process's: it holds
    for all threads until the last of those that asked for it is done.
    """
    import cv2

    with _opencv_lock:
        _opencv_had.append(cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _opencv_lock:
            cv2.setNumThreads(_opencv_had.pop())  # who came later found one


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold back what stops the program.

    Raised inside of a callback of the thread pool's, it would be printed and lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    caught: list[tuple[int, FrameType | None]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda *what: caught.append(what))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    for what in caught:
        held[signal.Signals(what[0])](*what)


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Worker threads; a forked child has another process id and starts its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="emoca")
