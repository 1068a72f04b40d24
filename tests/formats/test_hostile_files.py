"""Files that would crash the process, hang it or fill its memory are refused by every entrance, with one clear line."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import hostile_files
import pytest

HARMLESS = {  # what is wrong with them is ignored, or concerns no array; only weights of networks must be complete
    "look": {"sparse_size_negative.pkl", "type_object_flags.pkl", "type_size.pkl", "memo_far.pkl"},
    "add": set(),
    "weights": set(),
}
MOST_MEMORY = 200  # MiB of growth; the bombs unpack to 100 MB, or promise gigabytes
ADDRESSES = 8 * 2**30  # what a reader may reserve; beyond it, allocation fails instead of slowing the machine down


def run(folder: Path, entrance: str) -> dict[str, dict[str, object]]:
    """Let a process read all files; where it dies, another goes on behind the file that killed it."""
    found: dict[str, dict[str, object]] = {}
    names = list(hostile_files.FILES)
    while len(found) < len(names):
        command = [sys.executable, hostile_files.__file__, str(folder), entrance, names[len(found)]]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=240, preexec_fn=_bounded, check=False
            )
            output, end = done.stdout, f"died {done.returncode}: {done.stderr[-500:]}"
        except subprocess.TimeoutExpired as error:
            output, end = (error.stdout or b"").decode(), "hung"
        lines = [json.loads(line) for line in output.splitlines()]
        assert lines, f"it did not begin: {end}"
        for line in lines:
            found[line["name"]] = line
        last = lines[-1]
        if last["outcome"] == "died":
            last["outcome"] = end
    return found


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("h5py")
    path = tmp_path_factory.mktemp("hostile")
    hostile_files.write_all(path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes there")
@pytest.mark.parametrize(
    "entrance", [pytest.param(name, marks=[] if name == "look" else pytest.mark.slow) for name in HARMLESS]
)
def test_every_hostile_file_is_refused_by_every_entrance(folder: Path, entrance: str) -> None:
    found = run(folder, entrance)
    assert set(found) == set(hostile_files.FILES)
    wrong = {
        name: line["outcome"]
        for name, line in found.items()
        if not str(line["outcome"]).startswith("refused: ")
        and not (name in HARMLESS[entrance] and line["outcome"] == "read")
    }
    assert wrong == {}
    assert {name: line["mib"] for name, line in found.items() if line["mib"] > MOST_MEMORY} == {}
    refused = {name: str(line["outcome"]) for name, line in found.items() if line["outcome"] != "read"}
    assert [text for text in refused.values() if ": it: " in text] == [], "it has a name"
    assert [text for name, text in refused.items() if Path(name).stem not in text and "nothing in it" not in text] == []


def test_the_reader_of_hostile_files_notices_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or none of the above would mean anything."""
    monkeypatch.setattr(hostile_files, "FILES", {"crash.pkl": lambda path: path.touch()})
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os; print(json.dumps({'name': 'crash.pkl', 'outcome': 'died'}), flush=True); os.abort()"
    )
    monkeypatch.setattr(hostile_files, "__file__", str(script))
    assert run(tmp_path, "look")["crash.pkl"]["outcome"].startswith("died -6")
