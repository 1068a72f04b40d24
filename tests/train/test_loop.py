"""The loop: the same numbers alone and in two processes, killed and resumed; clear ends."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from full_disk import room_for
from launch import run_workers
from safetensors.torch import load_file

from emoca_core.errors import EmocaError, OutputError
from emoca_core.runs.run_folder import RunFolder
from emoca_core.train.loop import TrainingDivergedError

sys.path.insert(0, str(Path(__file__).parent))
import toy_run

SCRIPT = str(Path(toy_run.__file__))


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def start(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=300)


def assert_same_log(one: Path, other: Path, tolerance: float) -> None:
    a, b = log_of(one), log_of(other)
    assert [entry["step"] for entry in a] == [entry["step"] for entry in b]
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for key in left:
            assert left[key] == pytest.approx(right[key], abs=tolerance), (left["step"], key)


def test_it_learns_and_leaves_a_complete_run_folder(tmp_path):
    toy_run.run(tmp_path / "run", settings={"epochs": 8})
    values = [
        entry["validation/valence_ccc"] for entry in log_of(tmp_path / "run") if "validation/valence_ccc" in entry
    ]
    assert values[-1] > 0.8 > values[0]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["train"]["batch_size"] == 16
    assert {"torch", "accelerate", "emoca-core"} <= set(record["versions"])
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["metrics"]["valence_ccc"] == pytest.approx(max(values))
    assert "net.0.weight" in load_file(tmp_path / "run" / "best.safetensors")


SCHEDULED = {"warmup_steps": 3, "schedule": "cosine", "average": 0.5}


@pytest.mark.parametrize("settings", [{}, SCHEDULED], ids=["plain", "scheduled"])
def test_two_processes_give_the_numbers_of_one(tmp_path, settings):
    """Equal global batches: float32 sums in another order differ by about 1e-6 and grow over the 12 steps."""
    toy_run.run(tmp_path / "one", settings=settings)
    done = run_workers(SCRIPT, str(tmp_path / "two"), "--settings", json.dumps(settings))
    assert done.returncode == 0, done.stderr
    assert_same_log(tmp_path / "one", tmp_path / "two", tolerance=2e-5)


def test_accumulation_over_parts_of_a_batch_is_allowed_only_if_it_divides(tmp_path):
    with pytest.raises(ValueError, match="multiple of accumulation x processes = 3 x 1"):
        toy_run.run(tmp_path, settings={"accumulation": 3})


@pytest.mark.parametrize("settings", [{}, SCHEDULED], ids=["plain", "scheduled"])
def test_a_killed_run_resumes_to_the_same_numbers(tmp_path, settings):
    toy_run.run(tmp_path / "whole", settings=settings)
    killed = start(str(tmp_path / "killed"), "--kill-at", "7", "--settings", json.dumps(settings))
    assert killed.returncode == -signal.SIGKILL
    assert RunFolder(tmp_path / "killed").last.name == "step-00000006"
    toy_run.run(tmp_path / "killed", resume=True, settings=settings)
    assert_same_log(tmp_path / "whole", tmp_path / "killed", tolerance=0.0)
    for name in ("model.safetensors", *(["average.safetensors"] if settings else [])):
        whole, resumed = (load_file(RunFolder(tmp_path / n).last / name) for n in ("whole", "killed"))
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.slow
def test_a_run_killed_eight_times_ends_with_the_same_weights(tmp_path):
    toy_run.run(tmp_path / "whole")
    for step in (1, 3, 4, 5, 7, 8, 9, 11):
        killed = start(str(tmp_path / "killed"), "--resume", "--kill-at", str(step))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    toy_run.run(tmp_path / "killed", resume=True)
    assert_same_log(tmp_path / "whole", tmp_path / "killed", tolerance=0.0)
    for name in ("best.safetensors", f"checkpoints/{RunFolder(tmp_path / 'whole').last.name}/model.safetensors"):
        whole, resumed = (load_file(tmp_path / run / name) for run in ("whole", "killed"))
        assert whole.keys() == resumed.keys() and all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not list((tmp_path / "killed").rglob(".*")), "nothing is left of the killed ones"


@pytest.mark.slow
def test_of_two_that_resume_at_once_one_goes_on(tmp_path):
    toy_run.run(tmp_path / "whole")
    assert start(str(tmp_path / "killed"), "--kill-at", "7").returncode == -signal.SIGKILL
    command = [sys.executable, SCRIPT, str(tmp_path / "killed"), "--resume", "--wait-for", str(tmp_path / "go")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        began = time.monotonic()
        while all(process.poll() is None for process in both):
            assert time.monotonic() - began < 200, "both went on"
            time.sleep(0.05)
        refused, other = sorted(both, key=lambda process: process.poll() is None)
        said = refused.stderr.read().splitlines()[-1]
        assert said.endswith(
            f"another process is training in {tmp_path / 'killed'}: wait for it, or give another --out"
        )
        (tmp_path / "go").touch()
        assert other.wait(timeout=300) == 0
    finally:
        for process in both:
            process.kill()
            process.wait()
            process.stderr.close()
    assert_same_log(tmp_path / "whole", tmp_path / "killed", tolerance=0.0)
    whole, resumed = (load_file(RunFolder(tmp_path / run).last / "model.safetensors") for run in ("whole", "killed"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"the loss is nan at step 6 .*step-00000004"):
        toy_run.run(tmp_path, explode_at=5)
    weights = load_file(RunFolder(tmp_path).last / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("room", [100, 1500], ids=["for no weights", "for weights but no optimiser"])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, room):
    from emoca_core.train import checkpoint

    write = checkpoint.write_shared_state

    def write_until_full(folder, *rest):
        if "00000004" not in folder.name:
            return write(folder, *rest)
        with room_for(room):
            return write(folder, *rest)

    monkeypatch.setattr(checkpoint, "write_shared_state", write_until_full)
    with pytest.raises(OutputError, match=r"^cannot write to [^\n]*: [^\n]*\. The last checkpoint is whole[^\n]*$"):
        toy_run.run(tmp_path)
    sizes = {path.name: path.stat().st_size for path in RunFolder(tmp_path).last.iterdir()}
    assert 100 < sizes["model.safetensors"] < 1500 < sizes["optimizer.safetensors"]
    assert RunFolder(tmp_path).last.name == "step-00000002"
    assert (RunFolder(tmp_path).last / "progress.json").exists()
    monkeypatch.undo()
    toy_run.run(tmp_path, resume=True)
    assert log_of(tmp_path)[-1]["step"] == 12


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    toy_run.run(tmp_path, settings={"epochs": 1})
    with pytest.raises(EmocaError, match="already holds a run"):
        toy_run.run(tmp_path, settings={"epochs": 1})
    with pytest.raises(EmocaError, match=r"settings differ: train\.epochs$"):
        toy_run.run(tmp_path, settings={"epochs": 2}, resume=True)


def test_patience_ends_a_run_that_does_not_improve(tmp_path):
    toy_run.run(tmp_path, settings={"epochs": 50, "learning_rate": 1e-30, "patience": 3})
    validations = [entry for entry in log_of(tmp_path) if "validation/valence_ccc" in entry]
    assert len(validations) == 4  # the first is the best, three bring nothing


FILES = ["model.safetensors", "optimizer.safetensors", "random-0.safetensors", "state.json", "progress.json"]
DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "pickle": lambda content: b"cos\nsystem\n(S'touch executed'\ntR.",
    "flipped": lambda content: content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    toy_run.run(folder, settings={"epochs": 1})
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_one_line_and_runs_nothing(finished, tmp_path, monkeypatch, name, damage):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "run")
    last = RunFolder(tmp_path / "run").last
    assert sorted(path.name for path in last.iterdir()) == sorted([*FILES, "emoca-made.json"])
    file = last / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    if (name, damage) == ("progress.json", "flipped"):
        return  # a digit that is another digit
    with pytest.raises(EmocaError, match=r"^[^\n]*damaged[^\n]*$"):
        toy_run.run(tmp_path / "run", settings={"epochs": 1}, resume=True)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_of_an_earlier_version_says_what_to_do(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (RunFolder(tmp_path / "run").last / "state.json").unlink()
    with pytest.raises(EmocaError, match=r"earlier version.*give the run as --start of a new one$"):
        toy_run.run(tmp_path / "run", settings={"epochs": 1}, resume=True)
