"""``make gpu-check``: without a GPU a line; its parts run on the CPU, lest they rot; what is missing is said."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PARTS = {"rasteriser", "nvdiffrast", "training step", "fit", "encode"}


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    """The script as a module, as its neighbours would import it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu_check", BENCHMARKS / "gpu_check.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_check", module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so_in_a_line(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(tmp_path / "out")])
    assert script.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("no CUDA device here")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def rehearsed(tmp_path, hidden=()) -> dict[str, dict[str, object]]:
    """The figures of a rehearsal on the CPU by a process of its own, in which some packages are not there."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({list(hidden)}))\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(BENCHMARKS / "gpu_check.py"), "--device", "cpu", "--small", "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((tmp_path / "cpu.json").read_text())


@pytest.mark.slow
def test_its_parts_run_on_the_cpu(tmp_path):
    result = rehearsed(tmp_path)
    assert result["card"] == "cpu"
    assert result["left_out"] == {"nvdiffrast": "nvdiffrast needs CUDA"}
    parts = result["parts"]
    assert set(parts) == PARTS - {"nvdiffrast"}
    assert parts["rasteriser"]["right"] is True
    assert parts["rasteriser"]["differences"]["pixels"] == 0
    for step in ("visibility, ms", "forward, ms", "forward + backward, ms"):
        assert all(took > 0 for took in parts["rasteriser"][step].values()), step
    assert 0 < parts["training step"]["share of rendering"] < 1
    assert parts["fit"]["faces a second"] > 0
    assert parts["encode"]["faces"] > 0, "someone must be found, or the rates say nothing"
    assert set(parts["encode"]["faces a second"]) >= {"finding", "encoding", "whole"}


@pytest.mark.slow
def test_packages_that_are_not_there_leave_parts_out(tmp_path):
    result = rehearsed(tmp_path, ["timm", "mediapipe"])
    assert "timm" in result["left_out"]["training step"]
    assert set(result["left_out"]) == {"training step", "encode", "nvdiffrast"}
    assert set(result["parts"]) == {"rasteriser", "fit"}


def test_wrong_pictures_and_failures_are_told_by_the_exit_code(script, tmp_path, capsys):
    setup = script.Setup(torch.device("cpu"), **script.SMALL)

    def absent(_):
        raise ModuleNotFoundError("No module named 'nothing'")

    def broken(_):
        raise RuntimeError("CUDA error: it burns\nmore lines")

    fine = {"fine": lambda _: {"right": True, "ms": 1.0}, "absent": absent}
    result = script.run(setup, fine)
    assert result["left_out"] == {"absent": "No module named 'nothing'"}
    assert script.report(result, setup, tmp_path) == 0
    failed = script.run(setup, {"broken": broken, **fine})
    assert failed["failed"] == {"broken": "RuntimeError: CUDA error: it burns"}
    assert set(failed["parts"]) == {"fine"}, "the others are kept"
    assert script.report(failed, setup, tmp_path) == 1
    wrong = script.run(setup, {"wrong": lambda _: {"right": False}})
    assert script.report(wrong, setup, tmp_path) == 1
    assert json.loads((tmp_path / "cpu.json").read_text())["parts"] == {"wrong": {"right": False}}


def test_another_picture_is_seen(script, monkeypatch):
    """The comparison itself: a renderer that is off by a pixel."""
    setup = script.Setup(torch.device("cpu"), **script.SMALL)
    draw = script.draw
    turn = iter([0, 1])

    def moved(renderer, setup):
        return {name: part.roll(next_turn, -1) for name, part in draw(renderer, setup).items()}

    def once(renderer, setup):
        nonlocal next_turn
        next_turn = next(turn)
        return moved(renderer, setup)

    next_turn = 0
    monkeypatch.setattr(script, "draw", once)
    monkeypatch.setattr(script, "milliseconds", lambda tasks, *_, **__: dict.fromkeys(tasks, 1.0))
    found = script.rasteriser(setup)
    assert found["right"] is False
    assert found["differences"]["pixels"] > 0
