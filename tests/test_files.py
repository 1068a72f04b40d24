"""Files: whole or not at all, below the folder in hand, and nothing deleted that this program did not make."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from emoca_core import files
from emoca_core.claims import LOCK, Claim
from emoca_core.errors import OutputError, UnsafePathError
from emoca_core.files import (
    MARKER,
    atomic_folder,
    atomic_write,
    begin_folder,
    delete_made,
    is_plain_name,
    json_text,
    mark_made,
    path_below,
    plain_name,
    write_text,
    writing_to,
)

UNSAFE = ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "..\\x", "a\0b", "x" * 256, "\ud800"]


@pytest.fixture(autouse=True)
def fresh_process():
    """Every test looks at its folders as a process does that has just started."""
    files._remove_stale.cache_clear()


# writing


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_get_the_mode_of_the_umask_without_changing_it(tmp_path, umask):
    before = os.umask(umask)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("another thread's files would get this mask"))
            with atomic_write(tmp_path / "a.txt") as temporary:
                temporary.unlink()  # some writers put a private file in its place
                os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_a_failure_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "a", "before")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "before"


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "canary").write_text("alive")
    (tmp_path / "a").symlink_to(tmp_path / "canary")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "canary").read_text() == "alive" and not (tmp_path / "a").is_symlink()


def test_names_that_are_not_utf8_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_text(tmp_path / "a.json", json_text({"file": name}))
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"file": "caf?"}, "readers of JSON refuse lone surrogates"


def test_json_has_null_for_what_is_not_finite():
    value = {"loss": float("nan"), "rows": [1.5, float("inf"), (float("-inf"), "ü")]}
    assert json.loads(json_text(value), parse_constant=pytest.fail) == {"loss": None, "rows": [1.5, None, [None, "ü"]]}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(OSError, match="full"), atomic_folder(tmp_path / "a") as temporary:
        (temporary / "half").write_text("half")
        raise OSError(errno.ENOSPC, "full")
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "b").write_text("whole")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(OSError), atomic_folder(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]


def test_errors_of_libraries_name_the_folder(tmp_path):
    class HiddenError(Exception):
        pass

    with (
        pytest.raises(OutputError, match=r"cannot write to .*: disk full\. Go on\."),
        writing_to(tmp_path, "Go on.", also=(HiddenError,)),
    ):
        raise HiddenError("disk full\nat line 3")
    with pytest.raises(HiddenError), writing_to(tmp_path):
        raise HiddenError


# temporaries of dead writers

KILLED = """
import sys
from pathlib import Path
from emoca_core.files import atomic_folder, atomic_write
folder = Path(sys.argv[1])
with atomic_write(folder / "face.glb") as one, atomic_folder(folder / "package") as two:
    one.write_text("half"), (two / "half").write_text("half")
    print(flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    others = [".face-abcd1234.glb", ".emoca-notes", f".emoca-{'0' * 8}-1-{'0' * 8}.glb", ".emoca-x-1-00000000.glb"]
    for name in others:
        (tmp_path / name).write_text("of somebody else, or of another machine a moment ago")
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    writer.stdout.readline()
    left = {path.name for path in tmp_path.iterdir()} - set(others)
    assert len(left) == 2, "the writer is in the middle of a file and a folder"
    write_text(tmp_path / "first", "")
    assert left < {path.name for path in tmp_path.iterdir()}, "it is alive"
    writer.kill()
    writer.communicate()
    files._remove_stale.cache_clear()
    write_text(tmp_path / "second", "")
    assert {path.name for path in tmp_path.iterdir()} == {*others, "first", "second"}
    os.utime(tmp_path / others[2], (0, 0))
    files._remove_stale.cache_clear()
    write_text(tmp_path / "second", "")
    assert not (tmp_path / others[2]).exists(), "of another machine, and a day old"


# naming


@pytest.mark.parametrize("name", UNSAFE, ids=repr)
def test_names_that_are_no_names_are_refused(tmp_path, name):
    assert not is_plain_name(name) and not is_plain_name([name])
    with pytest.raises(UnsafePathError):
        path_below(tmp_path, name)


@pytest.mark.parametrize("name", ["a", "...", "..a", ".a", "ü b", "a:b", "face_0"])
def test_plain_names_are_taken_as_they_are(tmp_path, name):
    assert path_below(tmp_path, name) == tmp_path / name and plain_name(name).strip("_") in ("", name)


def test_links_may_stay_inside_but_not_lead_out(tmp_path):
    folder = tmp_path / "folder"
    (folder / "real").mkdir(parents=True)
    for name, target in {"in": "real", "out": tmp_path, "up": "..", "gone": "../nothing", "loop": "loop"}.items():
        (folder / name).symlink_to(target)
    assert path_below(folder, "in") == folder / "in"
    for name in ("out", "up", "gone"):
        with pytest.raises(UnsafePathError, match="is a link that leads out"):
            path_below(folder, name)
    (tmp_path / "alias").symlink_to(folder)
    assert path_below(tmp_path / "alias", "in") == tmp_path / "alias/in", "the user may give a link"


@given(st.text() | st.binary().map(os.fsdecode))
def test_any_text_becomes_a_plain_name(text):
    name = plain_name(text)
    assert is_plain_name(name) and len(name.encode()) <= 220 and name.strip(".")


# deleting


def made(folder: Path, *names: str, finished: bool = True) -> Path:
    begin_folder(folder)
    for name in names:
        (folder / name).write_text("ours")
    if finished:
        mark_made(folder)
    return folder


def test_what_was_made_is_deleted_and_the_rest_stays(tmp_path):
    assert delete_made(made(tmp_path / "a", "one", "two")) and not (tmp_path / "a").exists()
    assert delete_made(made(tmp_path / "b", "half", finished=False)) and not (tmp_path / "b").exists()
    assert delete_made(tmp_path / "nothing")
    folder = made(tmp_path / "c", "one")
    (folder / "canary").write_text("alive")
    assert not delete_made(folder) and (folder / "canary").read_text() == "alive" and not (folder / "one").exists()
    (folder / "canary").unlink()
    assert delete_made(folder), "the marker is still there"
    with pytest.raises(FileExistsError):
        begin_folder(tmp_path)


@pytest.mark.parametrize(
    "marker",
    [
        None,
        "",
        "{",
        "[" * 100_000,
        "[]",
        '{"files": ["canary"]}',
        '{"format": "of somebody", "files": ["canary"]}',
        '{"format": "emoca-folder-1"}',
        '{"format": "emoca-codes-1", "files": null}',
        '{"format": "emoca-folder-1", "files": 3}',
        '{"format": "emoca-folder-1", "files": [3, ["canary"], "../canary", "x/../canary", "/canary", ".."]}',
    ],
)
def test_nothing_is_deleted_without_a_marker_of_ours(tmp_path, marker):
    (tmp_path / "canary").write_text("alive")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    assert not delete_made(tmp_path) and (tmp_path / "canary").exists()


def test_a_record_of_a_face_is_a_marker_of_its_files_alone(tmp_path):
    (tmp_path / "canary").write_text("alive")
    record = tmp_path / "face.json"
    for text in ('{"format": "emoca-codes-1", "files": null}', '{"format": "emoca-codes-1", "files": []}'):
        record.write_text(text)
        assert not delete_made(tmp_path, "face.json") and (tmp_path / "canary").exists()


def test_neither_links_nor_foreign_names_lead_the_deletion_out(tmp_path):
    outside = made(tmp_path / "outside", "canary")
    (tmp_path / "link").symlink_to(outside)
    assert not delete_made(tmp_path / "link") and (outside / "canary").exists()
    folder = made(tmp_path / "folder", "one", finished=False)
    (folder / "link").symlink_to(outside)
    (folder / "inner").mkdir()
    (folder / "inner/deep").symlink_to(outside)
    mark_made(folder)
    assert delete_made(folder) and (outside / "canary").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "canary").write_text("alive")
    (other / MARKER).symlink_to(outside / MARKER)
    assert not delete_made(other) and (other / "canary").exists(), "a borrowed marker is none"


# claims

HOLDER = """
import sys
from pathlib import Path
from emoca_core.claims import Claim
assert Claim.take(Path(sys.argv[1]))
print(flush=True)
sys.stdin.read()
"""


def test_a_claim_keeps_others_out_until_its_process_dies(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert Claim.take(tmp_path) is None
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / LOCK).exists(), "it could not clean up"
    claim = Claim.take(tmp_path)
    assert claim is not None
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_keeps_other_threads_out(tmp_path):
    claim = Claim.take(tmp_path)
    assert claim is not None and Claim.take(tmp_path) is None
    claim.release()
    claim.release()  # a second time does no harm
    again = Claim.wait(tmp_path, say=lambda: pytest.fail("it is free"))
    again.release()


def test_waiting_ends_when_the_other_lets_go(tmp_path):
    first = Claim.take(tmp_path)
    said = []
    began = time.monotonic()
    second = Claim.wait(tmp_path, say=lambda: (said.append(1), first.release()))
    assert said == [1] and time.monotonic() - began < 5
    second.release()
