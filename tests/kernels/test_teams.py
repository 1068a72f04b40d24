"""Work shared among torch's threads: all of it done once, errors kept, also beside other threads and after a fork."""

import ctypes
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

from emoca_core.kernels import teams


@pytest.fixture(params=["torch's team", "pool"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to get threads, with three of them."""
    if request.param == "pool":
        monkeypatch.setattr(teams, "_torch_team", lambda: None)
    elif teams._torch_team() is None:
        pytest.skip("torch's OpenMP offers no team here")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_every_piece_is_done_once(workers: str, count: int) -> None:
    done: list[int] = []
    teams.for_each(count, done.append)
    assert sorted(done) == list(range(count))


def test_pieces_run_on_as_many_threads_as_torch_has(workers: str) -> None:
    used = set()

    def work(_: int) -> None:
        used.add(threading.get_native_id())
        time.sleep(0.02)  # without the GIL: everybody gets a piece

    for threads in (3, 1, 2):
        torch.set_num_threads(threads)
        used.clear()
        teams.for_each(12, work)
        assert len(used) == threads
        assert threading.get_native_id() in used


def test_no_signal_is_lost(workers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raises inside of a function that C calls is printed and forgotten: Ctrl-C would do nothing.

    So it is inside of any callback of Python's own; only signals that reach ``for_each`` count here.
    """
    inside: list[bool] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: None)

    def stop(_: int, frame: FrameType | None) -> NoReturn:
        inside.append(any(one.f_code is code for one, _ in traceback.walk_stack(frame)))
        raise KeyboardInterrupt

    code = inspect.unwrap(teams.for_each).__code__
    delays, reached, before = random.Random(0), 0, signal.signal(signal.SIGINT, stop)
    try:
        for _ in range(300):
            inside.clear()
            killer = threading.Timer(delays.uniform(0, 1e-3), os.kill, (os.getpid(), signal.SIGINT))
            try:
                killer.start()
                while not inside:
                    teams.for_each(3, lambda number: None)
                assert inside == [False], "the handler ran inside of for_each, and what it raised was lost"
            except KeyboardInterrupt:
                reached += inside == [True]
            killer.join()
        assert reached > 30 and signal.getsignal(signal.SIGINT) is stop
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_of_any_thread_is_raised_by_the_caller(workers: str) -> None:
    def fail(number: int) -> None:
        time.sleep(0.01)
        if number == 2:
            raise LookupError("piece 2")

    with pytest.raises(LookupError, match="piece 2"):
        teams.for_each(5, fail)
    done: list[int] = []
    teams.for_each(5, done.append)  # and the next call works
    assert sorted(done) == list(range(5))


def test_several_callers_at_once(workers: str) -> None:
    results: dict[int, list[int]] = {caller: [] for caller in range(6)}

    def call(caller: int) -> None:
        for _ in range(20):
            teams.for_each(7, results[caller].append)

    callers = [threading.Thread(target=call, args=(caller,)) for caller in results]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive()
    assert all(sorted(done) == sorted(list(range(7)) * 20) for done in results.values())


def test_pieces_may_share_out_work_themselves(workers: str) -> None:
    done: list[int] = []
    teams.for_each(3, lambda outer: teams.for_each(4, lambda inner: done.append(4 * outer + inner)))
    assert sorted(done) == list(range(12))


def use_a_team_in_the_child(queue: "multiprocessing.Queue[list[int]]") -> None:
    torch.set_num_threads(1)  # as DataLoader does: torch's own threads do not survive a fork
    torch.get_num_threads = lambda: 2
    done: list[int] = []
    teams.for_each(9, done.append)
    queue.put(done)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_after_a_fork(workers: str) -> None:
    teams.for_each(4, lambda _: None)  # the parent's threads exist by now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=use_a_team_in_the_child, args=(queue,), daemon=True)
    process.start()
    try:
        assert sorted(queue.get(timeout=60)) == list(range(9))
    finally:
        process.terminate()


BARE_FORK = """
import os, torch
from emoca_core.kernels import teams
torch.set_num_threads(2)
torch.rand(1 << 20).mul_(2.0)
teams.for_each(4, lambda _: None)
child = os.fork()
if child == 0:
    done = []
    teams.for_each(9, done.append)
    os._exit(0 if sorted(done) == list(range(9)) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_bare_fork() -> None:
    done = subprocess.run([sys.executable, "-c", BARE_FORK], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch's OpenMP has another entry")
def test_the_team_is_that_of_torchs_own_library() -> None:
    """Threads of a second OpenMP library would wait for torch's to leave their cores."""
    assert teams._torch_team() is not None
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.rand(1 << 20).mul_(2.0)
        torchs, used = set(os.listdir("/proc/self/task")), set()

        def work(_: int) -> None:
            used.add(str(threading.get_native_id()))
            time.sleep(0.01)

        teams.for_each(8, work)
        assert len(used) == 2
        assert used <= torchs  # no thread beside them has been started
    finally:
        torch.set_num_threads(before)


def test_where_torch_has_no_team_ordinary_threads_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoOpenMP:
        def __init__(self, file: str) -> None:
            assert file

    monkeypatch.setattr(ctypes, "CDLL", NoOpenMP)
    assert teams._torch_team.__wrapped__() is None


def test_without_any_folder_to_cache_in_kernels_still_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def no_cache(*arguments: object, **options: object) -> object:
        if options.get("cache"):
            return lambda function: (_ for _ in ()).throw(RuntimeError("cannot cache function: no locator available"))
        return real(*arguments, **options)

    monkeypatch.setattr(numba, "njit", no_cache)
    assert teams.compiled()(_double)(3) == 6


def _double(number: int) -> int:
    return 2 * number


def test_compiled_loops_do_not_import_blas() -> None:
    """In a process of its own; linear algebra in somebody's compiled function works all the same."""
    code = """
import sys
import numpy as np
import emoca_core.kernels.teams as teams
add = teams.compiled()(lambda x: x + 1)
assert add(1) == 2
assert "scipy.linalg" not in sys.modules
import numba
with_blas = numba.njit(lambda a, b: np.dot(a, b))
assert with_blas(np.eye(3), 2 * np.ones((3, 3))).sum() == 18
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
