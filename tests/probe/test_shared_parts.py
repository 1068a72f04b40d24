"""``emoca benchmark`` in two processes: both do their share, one writes and goes on, the numbers are those of one."""

import subprocess
import sys
from pathlib import Path

import pytest
from launch import run_workers
from toy_benchmark import RECIPES, SMALL, make_manifest

HERE = Path(__file__).parent


def test_two_processes_share_the_parts(tmp_path):
    done = run_workers(str(HERE / "shared_parts.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = [file.read_text() for file in sorted(tmp_path.iterdir())]
    assert found == ["0 [0, 1, 2]", "1 [3, 4, 5]", "0 [6, 7, 8]", "1 [9]"]


@pytest.mark.slow
def test_a_benchmark_of_two_processes_is_that_of_one(tmp_path, monkeypatch):
    data, program = make_manifest(tmp_path / "data", faces=45), str(HERE / "toy_program.py")
    (tmp_path / "toys.yaml").write_text(RECIPES)
    command = ["benchmark", "--methods", "colour,attached,licensed", "--data", str(data), "--folds", "3"]
    command += ["--catalogue", str(tmp_path / "toys.yaml"), "--landmarker", "ToyLandmarker", "--crop", "native"]
    command += [
        "--resamples",
        "50",
        *(word for setting in SMALL.items() for word in ("--set", "{}={}".format(*setting))),
    ]

    def folder(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name / "cache"))  # nothing is done before
        monkeypatch.setenv("TOY_WORK", str(tmp_path / name / "work"))
        (tmp_path / name).mkdir()
        return tmp_path / name

    one = folder("one")
    alone = [sys.executable, program, *command, "--out", str(one / "out")]
    assert subprocess.run(alone, check=False).returncode == 1, "a method lacks its weights"
    two = folder("two")
    done = run_workers(program, *command, "--out", str(two / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("45 of 46 labelled faces") == 1, "one speaks"
    assert set((one / "work").read_text().split()) == {"0"}
    assert set((two / "work").read_text().split()) == {"0", "1"}, "both encode"
    for file in ("result.json", "table.csv", "table.md"):
        assert (two / "out" / file).read_text() == (one / "out" / file).read_text()
