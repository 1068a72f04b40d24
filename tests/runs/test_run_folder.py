"""What lies in a run folder is read as if a stranger had written it, and by one training at a time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emoca_core import files
from emoca_core.claims import LOCK
from emoca_core.errors import AssetFormatError, EmocaError
from emoca_core.runs.run_folder import Progress, RunFolder

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import toy_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    toy_run.run(folder, settings={"epochs": 1})
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resume(folder: Path) -> None:
    toy_run.run(folder, settings={"epochs": 1}, resume=True)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def replace_text(text: str | bytes):
    return lambda file: file.write_bytes(text if isinstance(text, bytes) else text.encode())


DAMAGE = {
    "cut": cut,
    "empty": replace_text(""),
    "no text": replace_text(b"\xff\xfe\x00"),
    "a list": replace_text("[1]"),
    "other values": replace_text('{"settings": 3, "folder": ["x"], "step": "many", "epoch": -1}'),
    "deep": replace_text("[" * 100_000),
    "large number": replace_text('{"step": ' + "9" * 5000 + "}"),
}
FILES = ("run.json", "checkpoints/last.json", "progress.json", "metrics.jsonl", "model.safetensors", "best.json")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_one_line_that_names_it(run, name, damage):
    checkpoint = RunFolder(run).last
    file = run / name if "." in name and (run / name).is_file() else checkpoint / name
    DAMAGE[damage](file)
    if name == "metrics.jsonl":  # what was cut by a crash, and is forgotten, would be the last line, without an end
        file.write_bytes(file.read_bytes()[:-3] + b"\n")
    if name == "best.json":  # is written, never read, by training
        return resume(run)
    with pytest.raises(EmocaError) as caught:
        resume(run)
    message = str(caught.value)
    assert "\n" not in message and str(file if name != "model.safetensors" else checkpoint) in message, message


def test_a_checkpoint_that_is_gone_is_named(run):
    shutil.rmtree(RunFolder(run).last)
    with pytest.raises(AssetFormatError, match=r"last\.json names a checkpoint that is not there: step-"):
        resume(run)


def test_a_line_that_a_crash_has_cut_is_forgotten(run):
    metrics = run / "metrics.jsonl"
    before = metrics.read_bytes()
    metrics.write_bytes(before + b'{"step": 99, "train/lo')
    resume(run)
    assert metrics.read_bytes() == before


def test_logs_are_json_whatever_is_measured(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log({"step": 1, "train/loss": float("nan"), "validation/ccc": float("inf")})
    text = (tmp_path / "metrics.jsonl").read_text()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert (
        lines
        == [{"step": 1, "train/loss": None, "validation/ccc": None}]
        == [line.model_dump() for line in folder.logged()]
    )


TRAINING = """
import sys
from pathlib import Path
from emoca_core.runs.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).claimed():
    print(flush=True)
    input()
"""


def test_one_training_at_a_time(run):
    """A second one is refused, resumed or not, and touches nothing; the first process may die in any way."""
    first = subprocess.Popen([sys.executable, "-c", TRAINING, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first.stdout.readline()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    for second in (lambda: resume(run), lambda: toy_run.run(run, settings={"epochs": 1})):
        with pytest.raises(EmocaError, match="another process is training in"):
            second()
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    first.kill()
    first.communicate()
    assert (run / LOCK).exists(), "it was killed"
    resume(run)
    assert not (run / LOCK).exists()


def test_checkpoints_of_older_versions_are_used_and_left(run, capsys):
    """They have no marker: nothing says that this program made them."""
    folder = RunFolder(run)
    old = folder.last
    (old / files.MARKER).unlink()
    resume(run)
    folder.commit_checkpoint(folder.begin_checkpoint(99), Progress(step=99))
    assert old.is_dir() and folder.last.name == "step-00000099"
    assert f"{old} is needed no more, but holds files that this version did not make" in capsys.readouterr().err


def test_what_others_put_into_a_checkpoint_stays(run):
    folder = RunFolder(run)
    old = folder.last
    (old / "notes.txt").write_text("mine")
    folder.commit_checkpoint(folder.begin_checkpoint(99), Progress(step=99))
    assert [path.name for path in old.iterdir() if path.name != files.MARKER] == ["notes.txt"]


def test_what_a_killed_training_left_is_cleared_away(run):
    folder = RunFolder(run)
    (folder.begin_checkpoint(77) / "half").write_text("half")
    stale = run / "checkpoints" / "step-00000001"  # killed between writing last.json and removing the one before
    files.begin_folder(stale)
    files.mark_made(stale)
    resume(run)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["last.json", folder.last.name]


def test_a_checkpoint_in_the_way_that_others_made_is_refused(run):
    foreign = run / "checkpoints" / ".step-00000099"
    foreign.mkdir()
    with pytest.raises(EmocaError, match="is in the way, and was not made by this version: remove it"):
        RunFolder(run).begin_checkpoint(99)
    assert foreign.is_dir()
