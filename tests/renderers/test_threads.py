"""The numba kernels among threads and processes, and where their compiled code is kept."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

import emoca_plugins.renderers.zbuffer_numba as kernels

from .scenes import make_scene, zbuffer


def gradient() -> Tensor:
    scene = make_scene(4)
    vertices = scene.projected.requires_grad_()
    renderer = zbuffer("numba")
    image = renderer.interpolate(renderer.rasterize(vertices, scene.topology.faces, (40, 40)), vertices)
    image.square().sum().backward()
    return vertices.grad


def test_repeated_calls_are_identical() -> None:
    assert torch.equal(gradient(), gradient())


def test_several_threads_at_once() -> None:
    expected, results = gradient(), []
    workers = [threading.Thread(target=lambda: results.append(gradient())) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 6
    assert all(torch.equal(result, expected) for result in results)


def test_number_of_threads_follows_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()
    original = kernels._rasterize

    def spy(*arguments: object) -> None:
        used.add(threading.get_ident())
        original(*arguments)

    monkeypatch.setattr(kernels, "_rasterize", spy)
    scene = make_scene(64)
    before = torch.get_num_threads()
    try:
        for count in (1, 3):
            used.clear()
            torch.set_num_threads(count)
            zbuffer("numba").rasterize(scene.projected, scene.topology.faces, (64, 64))
            assert 1 <= len(used) <= count
    finally:
        torch.set_num_threads(before)


def test_errors_of_workers_are_not_lost() -> None:
    def fail(item: int, first: int, last: int) -> None:
        raise RuntimeError("broken kernel")

    with pytest.raises(RuntimeError, match="broken kernel"):
        kernels._for_each_band(fail, 4, 8)


def draw_in_child(queue: "multiprocessing.Queue[bytes]") -> None:
    torch.set_num_threads(1)  # torch's own threads do not survive a fork; DataLoader workers do the same
    torch.get_num_threads = lambda: 2  # but the kernels' pool must
    queue.put(gradient().numpy().tobytes())


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_after_a_fork() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = gradient()  # the parent's pool exists by now
    finally:
        torch.set_num_threads(before)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=draw_in_child, args=(queue,), daemon=True)
    process.start()
    try:
        result = queue.get(timeout=60)
    finally:
        process.terminate()
    assert result == expected.numpy().tobytes()


CACHE_SCRIPT = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
import torch
from emoca_plugins.renderers.zbuffer import ZBuffer
vertices = torch.tensor([[[-0.9, -0.9, 2], [0.9, -0.9, 2], [0.0, 0.9, 2]]])
assert ZBuffer().rasterize(vertices, torch.tensor([[0, 1, 2]]), (8, 8)).mask.any()
from emoca_plugins.renderers import zbuffer_numba
print(sum(zbuffer_numba._rasterize.stats.cache_hits.values()))
"""


def run_cached(tests: Path, **environment: str) -> int:
    command = [sys.executable, "-c", CACHE_SCRIPT, str(tests)]
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@pytest.mark.slow
def test_compiled_once_and_then_read_from_disk(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    assert run_cached(Path(__file__).parent, NUMBA_CACHE_DIR=folder) == 0
    assert list(Path(folder).rglob("*.nbc"))
    assert run_cached(Path(__file__).parent, NUMBA_CACHE_DIR=folder) == 1
