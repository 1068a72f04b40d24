"""Both stages as programs: in two processes, killed, and for a thousand steps."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launch import run_workers
from safetensors.torch import load_file

from emoca_core.runs.run_folder import RunFolder

sys.path.insert(0, str(Path(__file__).parent))
import toy_stage

SCRIPT = str(Path(toy_stage.__file__))


def options(folder, name, *arguments):
    recipe = ["--catalogue", str(toy_stage.recipe_file(folder)), "--recipe", "toy", "--data", "synthetic_faces"]
    return [*recipe, "--out", str(folder / name), *arguments]


def start(folder, stage, name, *arguments, processes=1, **environment):
    if processes > 1:
        return run_workers(SCRIPT, stage, *options(folder, name, *arguments), processes=processes, **environment)
    command = [sys.executable, SCRIPT, stage, *options(folder, name, *arguments)]
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=500, env=variables, check=False)


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_log(one, other, tolerance):
    a, b = log_of(one), log_of(other)
    assert [entry["step"] for entry in a] == [entry["step"] for entry in b]
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for key in left:
            assert left[key] == pytest.approx(right[key], rel=tolerance, abs=tolerance), (left["step"], key)


@pytest.mark.slow
def test_both_stages_run_in_two_processes_to_the_numbers_of_one(tmp_path):
    """A whole run: Adam divides rounding by small numbers, so it grows over the steps."""
    for processes in (1, 2):
        done = start(tmp_path, "coarse", f"coarse-{processes}", processes=processes)
        assert done.returncode == 0, done.stderr
    for processes in (1, 2):
        more = ["--start", str(tmp_path / "coarse-1")]
        done = start(tmp_path, "detail", f"detail-{processes}", *more, processes=processes)
        assert done.returncode == 0, done.stderr
    for stage in ("coarse", "detail"):
        assert_same_log(tmp_path / f"{stage}-1", tmp_path / f"{stage}-2", tolerance=5e-3)


@pytest.mark.slow
def test_one_of_two_processes_killed_resumes_to_the_numbers_of_two_that_were_not(tmp_path):
    whole = start(tmp_path, "coarse", "whole", processes=2)
    assert whole.returncode == 0, whole.stderr
    killed = start(tmp_path, "coarse", "killed", processes=2, TOY_KILL_AT="8", TOY_KILL_RANK="1")
    assert killed.returncode != 0
    assert "exitcode  : -9" in killed.stderr and "this is a fault" not in killed.stderr
    assert RunFolder(tmp_path / "killed").last.name == "step-00000006"
    resumed = start(tmp_path, "coarse", "killed", "--resume", processes=2)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_log(tmp_path / "whole", tmp_path / "killed", tolerance=0.0)
    one, other = (load_file(RunFolder(tmp_path / name).last / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_what_is_frozen_does_not_move_under_accelerate(tmp_path):
    """Weights and statistics of the trunk at the end of the run, against the hash that the card took before it."""
    done = start(tmp_path, "coarse", "run", processes=2, TOY_FROZEN=str(tmp_path / "frozen"))
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "run" / "best.json").read_text())
    assert (tmp_path / "frozen").read_text() == card["frozen"]["encoder.base"]


@pytest.mark.parametrize(("stage", "kill_at", "checkpoint"), [("coarse", 8, 6), ("detail", 6, 4)])
def test_a_killed_stage_resumes_to_the_same_numbers(tmp_path, stage, kill_at, checkpoint):
    """Of 12 and 8 steps; checkpoints come twice an epoch, every third and every second step."""
    whole = start(tmp_path, stage, "whole")
    assert whole.returncode == 0, whole.stderr
    killed = start(tmp_path, stage, "killed", TOY_KILL_AT=str(kill_at))
    assert killed.returncode == -signal.SIGKILL
    assert RunFolder(tmp_path / "killed").last.name == f"step-{checkpoint:08}"
    resumed = start(tmp_path, stage, "killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_log(tmp_path / "whole", tmp_path / "killed", tolerance=0.0)
    one, other = (load_file(RunFolder(tmp_path / name).last / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell a process its memory")
def test_memory_is_flat_over_a_thousand_steps(tmp_path):
    """Between steps 200 and 1,000: 5 MB are pages that the allocator has not given back; a picture kept in every step
    would be 40 MB, one tensor object kept in every step 800 objects."""
    options = ["max_steps=1000", "epochs=200", "validate_every=30.0", "log_every=50"]
    arguments = [word for option in options for word in ("--set", option)]
    done = start(tmp_path, "coarse", "run", *arguments, TOY_MEMORY=str(tmp_path / "memory.json"))
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "memory.json").read_text())
    (before, objects_before), (after, objects_after) = measured["200"], measured["1000"]
    assert after - before < 5_000_000
    assert objects_after - objects_before < 200
