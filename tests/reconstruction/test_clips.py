"""``emoca reconstruct`` with clips: what comes out, what is skipped, stops, bad clips among good ones."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clips import write_clip
from full_disk import room_for
from PIL import Image
from safetensors.numpy import load_file
from toy_clips import ByNote, Reader, frame, toy_clip

from emoca_core.claims import Claim
from emoca_core.cli.reconstruct import _settings as clip_settings
from emoca_core.cli.reconstruct import add_parser, exit_code, summary
from emoca_core.errors import EmocaError, OutputError
from emoca_core.reconstruction import ClipSettings, reconstruct_to_folder
from emoca_core.reconstruction.saving import save_sequence

SCRIPT = Path(__file__).with_name("toy_emoca.py")
WRITE = ("codes", "arkit_csv")


@pytest.fixture
def method(build_method):
    made = build_method()
    made.landmarker, made.tracker = Reader(), ByNote()
    return made


def talk(path: Path, count: int = 20, **options: object) -> Path:
    frames = [frame([(1, 60 + number % 20, 60)], 100 + number) for number in range(count)]
    return toy_clip(path, frames, **options)


def run(method, inputs, out, **options):
    said: list[str] = []
    report = reconstruct_to_folder(method, inputs, out, write=WRITE, say=said.append, **options)
    return report, said


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_clips_and_photos_in_one_call(tmp_path, method):
    (tmp_path / "in").mkdir()
    talk(tmp_path / "in/talk")
    photo = frame([(1, 70, 60), (2, 120, 60)])
    Image.fromarray(photo).save(tmp_path / "in/talk.png")
    report, said = run(method, [tmp_path / "in"], tmp_path / "out")
    assert (report.photos, report.faces, report.clips, report.people, report.failed, said) == (1, 2, 1, 1, [], [])
    assert summary(report) == "2 faces from 1 photo, 1 person from 1 clip" and exit_code(report) == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders[0] == "index.html" and folders[1] == "talk" and folders[2].startswith("talk-")
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/clip.json"))
    assert record["tracks"] == ["track_0"] and (record["clip"]["frames"], record["clip"]["people"]) == (20, 1)
    (track,) = (tmp_path / "out").glob("*/track_0")
    assert {path.name for path in track.iterdir()} == {"arkit.csv", "sequence.safetensors", "sequence.json"}
    assert len(load_file(track / "sequence.safetensors")["code.expression"]) == 20
    assert len(list(track.parent.iterdir())) == 2, "nothing of the work is left"
    page = (tmp_path / "out/index.html").read_text()
    assert "talk.mkv" in page and f'href="{track.parent.name}/track_0/arkit.csv"' in page and "20 frames, 0.8 s" in page
    before, seen = content(tmp_path / "out"), method.landmarker.seen
    report, said = run(method, [tmp_path / "in"], tmp_path / "out")
    assert (report.skipped, report.skipped_clips, said) == (1, 1, []) and exit_code(report) == 0
    assert content(tmp_path / "out") == before and method.landmarker.seen == seen


def test_other_settings_do_a_clip_again(tmp_path, method):
    clip, out = talk(tmp_path / "a"), tmp_path / "out"
    run(method, [clip], out)
    for clips in (ClipSettings(smooth=0.9), ClipSettings(start=0.2), ClipSettings(every=2), ClipSettings(track="all")):
        report, said = run(method, [clip], out, clips=clips)
        assert (report.people, report.replaced) == (1, 1)
        assert said[0].endswith(
            "with other settings, files or another version are there, and are replaced by those of recipe 'toy'"
        )
        assert run(method, [clip], out, clips=clips)[0].skipped_clips == 1
    assert run(method, [clip], out, clips=ClipSettings(track="all"), overwrite=True)[0].people == 1


def test_people_that_are_found_no_more_go(tmp_path, method):
    both = [frame([(1, 50, 60), (2, 120, 60)])] * 20
    clip, out = toy_clip(tmp_path / "a", both), tmp_path / "out"
    report, _ = run(method, [clip], out, clips=ClipSettings(track="all"))
    assert report.people == 2 and (out / "a/track_1").is_dir()
    (out / "a/mine.txt").write_text("kept")
    report, said = run(method, [clip], out)
    assert report.people == 1 and not (out / "a/track_1").exists() and (out / "a/mine.txt").exists()
    report, said = run(method, [clip], out, clips=ClipSettings(track=5))
    assert exit_code(report) == 2 and "there is no track 5" in said[0]


def test_a_folder_of_frames(tmp_path, method):
    (tmp_path / "shot").mkdir()
    for number in range(10):
        Image.fromarray(frame([(1, 60, 60)])).save(tmp_path / f"shot/{number:03}.png")
    report, _ = run(method, [tmp_path / "shot"], tmp_path / "out", clips=ClipSettings(frame_rate=10.0))
    assert (report.photos, report.people) == (0, 1)
    record = json.loads((tmp_path / "out/shot/clip.json").read_text())
    assert record["clip"]["frame_rate"] == 10.0
    assert run(method, [tmp_path / "shot"], tmp_path / "photos")[0].photos == 10


def test_no_face_in_a_clip(tmp_path, method):
    clip = toy_clip(tmp_path / "empty", [frame([])] * 9)
    report, said = run(method, [clip], tmp_path / "out")
    assert said == [f"{clip}: no face found in its 9 frames"] and report.without_face == [clip]
    assert exit_code(report) == 2 and json.loads((tmp_path / "out/empty/clip.json").read_text())["tracks"] == []
    report, said = run(method, [clip, talk(tmp_path / "a")], tmp_path / "out")
    assert exit_code(report) == 0 and summary(report) == "1 person from 1 clip, 1 without a face"


def test_bad_clips_do_not_stop_good_ones(tmp_path, method):
    bad = {
        "sound.mp4": "sound alone",
        "text.mp4": "not a video",
        "empty.mov": "the file is empty",
        "still.mp4": "it is a still picture",
    }
    write_clip(tmp_path / "sound.mp4", [], sound=True)
    (tmp_path / "text.mp4").write_text("not a clip\n" * 9)
    (tmp_path / "empty.mov").write_bytes(b"")
    Image.fromarray(frame([])).save(tmp_path / "still.jpg")
    (tmp_path / "still.jpg").rename(tmp_path / "still.mp4")
    good = talk(tmp_path / "good")
    report, said = run(method, [*(tmp_path / name for name in bad), good], tmp_path / "out")
    assert report.people == 1 and exit_code(report) == 1 and len(said) == 4
    for line, (name, reason) in zip(said, bad.items(), strict=True):
        assert line.startswith(str(tmp_path / name)) and reason in line and "\n" not in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good", "index.html"]


def test_lines_about_what_is_to_be_known(tmp_path, method):
    shown = [[] if number in (7, 8) else [(1, 60, 60), (2, 120, 60)] for number in range(30)]
    clip = toy_clip(tmp_path / "a", map(frame, shown))
    _, said = run(method, [clip], tmp_path / "out", clips=ClipSettings(track=0))
    assert said == [f"{clip}: track 0: of 30 frames 2 bridged"]


def test_formats_that_hold_no_movement_are_refused_before_the_work(tmp_path, method, monkeypatch):
    Image.fromarray(frame([(1, 60, 60)])).save(tmp_path / "photo.png")
    inputs = [tmp_path / "photo.png", talk(tmp_path / "a")]
    monkeypatch.delattr("emoca_plugins.exporters.glb.Glb.export_sequence")
    with pytest.raises(EmocaError, match="glb holds no movement: leave it out of --write for clips"):
        reconstruct_to_folder(method, inputs, tmp_path / "out", write=["codes", "glb"])
    assert method.landmarker.seen == 0


def test_a_full_disk_keeps_finished_people(tmp_path, method, monkeypatch):
    both = [frame([(1, 50, 60), (2, 120, 60)])] * 30
    clip, out, everybody = toy_clip(tmp_path / "a", both), tmp_path / "out", ClipSettings(track="all")
    written = []

    def save(sequence, folder, exporters):
        written.append(folder.name)
        with room_for(10**9 if len(written) == 1 else 2000):
            return save_sequence(sequence, folder, exporters)

    monkeypatch.setattr("emoca_core.reconstruction.clips_to_folder.save_sequence", save)
    with pytest.raises(OutputError, match=f"cannot write to {out}: File too large. Finished faces are kept"):
        run(method, [clip], out, clips=everybody)
    assert (out / "a/track_0/sequence.json").is_file() and not (out / "a/track_1/sequence.json").exists()
    assert not list(out.rglob(".emoca*")) and not (out / "a/clip.json").exists()
    monkeypatch.undo()
    seen, kept = method.landmarker.seen, (out / "a/track_0/sequence.json").stat().st_mtime_ns
    report, _ = run(method, [clip], out, clips=everybody)
    assert (report.people, report.clips) == (1, 1) and method.landmarker.seen == seen
    assert (out / "a/track_0/sequence.json").stat().st_mtime_ns == kept
    assert sorted(path.name for path in (out / "a").iterdir()) == ["clip.json", "track_0", "track_1"]


def test_a_full_disk_on_the_first_look(tmp_path, method):
    clip, out = talk(tmp_path / "a"), tmp_path / "out"
    with room_for(3000), pytest.raises(OutputError, match=f"cannot write to {out}: .* Finished faces are kept"):
        run(method, [clip], out)
    assert not list(out.rglob(".emoca*")) and not list(out.rglob("*.npz"))
    assert run(method, [clip], out)[0].people == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length():
    """20 minutes may take a third of what an hour may: 300 MiB above 10 seconds."""
    script = Path(__file__).with_name("long_clip.py")

    def most(frames: int) -> int:
        done = subprocess.run([sys.executable, script, str(frames)], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert most(20 * 60 * 25) - most(10 * 25) < 100


def test_a_clip_that_another_process_has_is_waited_for_last(tmp_path, method):
    one, two = talk(tmp_path / "1"), talk(tmp_path / "2")
    (tmp_path / "out/1").mkdir(parents=True)
    claim, order = Claim.take(tmp_path / "out/1"), []

    def say(line: str) -> None:
        order.append(line)
        claim.release()

    report = reconstruct_to_folder(method, [one, two], tmp_path / "out", write=WRITE, say=say)
    assert report.people == 2 and "waiting for another process" in order[0]


def test_options_of_clips(capsys):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())

    def options(*given: str) -> ClipSettings:
        return clip_settings(parser.parse_args(["reconstruct", "a.mp4", *given]))[1]

    assert options() == ClipSettings()
    text = "--start 1.5 --end 3 --every 2 --fps 30 --track 2 --smooth 0 --min-score 0.5 --batch-size 4"
    given = options(*text.split())
    shared = {"min_score": 0.5, "batch_size": 4}
    assert given == ClipSettings(start=1.5, end=3.0, every=2, frame_rate=30.0, track=2, smooth=0.0, **shared)
    for wrong in ("--track everybody", "--track -1", "--smooth 2", "--start -1", "--every 0", "--fps nan"):
        with pytest.raises(SystemExit):
            options(*wrong.split())
    assert "'everybody' is neither largest nor all nor a number from 0" in capsys.readouterr().err


def start(clips: list[Path], out: Path, *options: str, pause: float = 0.0) -> subprocess.Popen:
    environment = os.environ | {"TOY_WORK": str(out.with_name("work.txt")), "TOY_LOOK": str(pause)}
    command = [sys.executable, SCRIPT, "reconstruct", *clips, "--out", out, "--write", ",".join(WRITE), *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_stopped_in_the_middle_and_gone_on_with(tmp_path, number, method):
    clip, out = talk(tmp_path / "a", 120), tmp_path / "out"
    first = start([clip], out, pause=0.02)
    began = time.monotonic()
    while not list(out.rglob("frames_000002.npz")):
        assert time.monotonic() - began < 120 and first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    first.send_signal(number)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number], said
    assert "Traceback" not in said and not (out / "a/clip.json").exists()
    looked = len((tmp_path / "look.txt").read_text().split())
    again = start([clip], out)
    said = again.communicate(timeout=120)[1]
    assert again.returncode == 0, said
    assert len((tmp_path / "look.txt").read_text().split()) - looked <= 120 - 3 * 8 + 13 * 2, (  # 2 before each part
        "the middle, not the beginning"
    )
    assert run(method, [clip], tmp_path / "expected")[0].people == 1
    found, wanted = content(out), content(tmp_path / "expected")
    assert found.keys() == wanted.keys()
    assert all(found[name] == wanted[name] for name in wanted if name.endswith(("safetensors", "csv")))
