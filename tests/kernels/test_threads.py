"""Work shared among threads: all of it done once, errors kept, also beside other threads and after a fork."""

import gc
import inspect
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import pytest
import torch

from emoca_core.kernels.threads import compiled, for_each, opencv_on_one_thread


@pytest.fixture
def workers() -> Iterator[None]:
    """Three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_every_piece_is_done_once(workers: None, count: int) -> None:
    done: list[int] = []
    for_each(count, done.append)
    assert sorted(done) == list(range(count))


def test_pieces_run_on_as_many_threads_as_torch_has(workers: None) -> None:
    used = set()

    def work(_: int) -> None:
        used.add(threading.get_native_id())
        time.sleep(0.02)  # without the GIL: everybody gets a piece

    for threads in (3, 1, 2):
        torch.set_num_threads(threads)
        used.clear()
        for_each(12, work)
        assert len(used) == threads
        assert threading.get_native_id() in used


def test_no_signal_is_lost(workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raises inside of a callback of Python's own is printed and forgotten: Ctrl-C would do nothing.

    Only signals that reach ``for_each`` count here.
    """
    inside: list[bool] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: None)

    def stop(_: int, frame: FrameType | None) -> NoReturn:
        inside.append(any(one.f_code is code for one, _ in traceback.walk_stack(frame)))
        raise KeyboardInterrupt

    code = inspect.unwrap(for_each).__code__
    delays, reached, before = random.Random(0), 0, signal.signal(signal.SIGINT, stop)
    gc.disable()  # what a callback of the collector raises is lost as well, wherever it is called
    try:
        for _ in range(300):
            inside.clear()
            killer = threading.Timer(delays.uniform(0, 1e-3), os.kill, (os.getpid(), signal.SIGINT))
            try:
                killer.start()
                while not inside:
                    for_each(3, lambda number: None)
                assert inside == [False], "the handler ran inside of for_each, and what it raised was lost"
            except KeyboardInterrupt:
                reached += inside == [True]
            killer.join()
        assert reached > 30 and signal.getsignal(signal.SIGINT) is stop
    finally:
        signal.signal(signal.SIGINT, before)
        gc.enable()


def test_an_error_of_any_thread_is_raised_by_the_caller(workers: None) -> None:
    def fail(number: int) -> None:
        time.sleep(0.01)
        if number == 2:
            raise LookupError("piece 2")

    with pytest.raises(LookupError, match="piece 2"):
        for_each(5, fail)
    done: list[int] = []
    for_each(5, done.append)  # and the next call works
    assert sorted(done) == list(range(5))


def test_several_callers_at_once(workers: None) -> None:
    results: dict[int, list[int]] = {caller: [] for caller in range(6)}

    def call(caller: int) -> None:
        for _ in range(20):
            for_each(7, results[caller].append)

    callers = [threading.Thread(target=call, args=(caller,)) for caller in results]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive()
    assert all(sorted(done) == sorted(list(range(7)) * 20) for done in results.values())


def test_pieces_may_share_out_work_themselves(workers: None) -> None:
    done: list[int] = []
    for_each(3, lambda outer: for_each(4, lambda inner: done.append(4 * outer + inner)))
    assert sorted(done) == list(range(12))


def use_threads_in_the_child(queue: "multiprocessing.Queue[list[int]]") -> None:
    torch.set_num_threads(1)  # as DataLoader does: torch's own threads do not survive a fork
    torch.get_num_threads = lambda: 2
    done: list[int] = []
    for_each(9, done.append)
    queue.put(done)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_after_a_fork(workers: None) -> None:
    for_each(4, lambda _: None)  # the parent's threads exist by now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=use_threads_in_the_child, args=(queue,), daemon=True)
    process.start()
    try:
        assert sorted(queue.get(timeout=60)) == list(range(9))
    finally:
        process.terminate()


BARE_FORK = """
import os, torch
from emoca_core.kernels.threads import compiled, for_each, opencv_on_one_thread
torch.set_num_threads(2)
torch.rand(1 << 20).mul_(2.0)
for_each(4, lambda _: None)
child = os.fork()
if child == 0:
    done = []
    for_each(9, done.append)
    os._exit(0 if sorted(done) == list(range(9)) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_bare_fork() -> None:
    done = subprocess.run([sys.executable, "-c", BARE_FORK], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "0", done.stderr


def test_without_any_folder_to_cache_in_kernels_still_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def no_cache(*arguments: object, **options: object) -> object:
        if options.get("cache"):
            return lambda function: (_ for _ in ()).throw(RuntimeError("cannot cache function: no locator available"))
        return real(*arguments, **options)

    monkeypatch.setattr(numba, "njit", no_cache)
    assert compiled()(_double)(3) == 6


def _double(number: int) -> int:
    return 2 * number


def test_compiled_loops_do_not_import_blas() -> None:
    """In a process of its own; linear algebra in somebody's compiled function works all the same."""
    code = """
import sys
import numpy as np
from emoca_core.kernels.threads import compiled
add = compiled()(lambda x: x + 1)
assert add(1) == 2
assert "scipy.linalg" not in sys.modules
import numba
with_blas = numba.njit(lambda a, b: np.dot(a, b))
assert with_blas(np.eye(3), 2 * np.ones((3, 3))).sum() == 18
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_opencv_has_its_threads_back_when_the_last_is_done() -> None:
    """Of two that overlap, whichever ends first; and after an error."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        first, second = opencv_on_one_thread(), opencv_on_one_thread()
        first.__enter__()
        second.__enter__()
        assert cv2.getNumThreads() == 1
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 3
        with pytest.raises(KeyError), opencv_on_one_thread():
            raise KeyError
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
