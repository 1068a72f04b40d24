"""``emoca retarget`` as people call it."""

import json

import numpy as np
import pytest
from toy_clips import frame, toy_clip

from emoca_core import cli
from emoca_core.cli import retarget as command
from emoca_core.reconstruction import following, observations
from emoca_core.retargeting import retarget_to_folder
from emoca_core.testing.sample_sequence import sample_sequence
from emoca_core.weights.read_obj import read_obj
from emoca_plugins.exporters.arkit_csv import ArkitCsv
from emoca_plugins.exporters.glb import glb_bytes


@pytest.fixture
def run(method, monkeypatch, capsys):
    """The command with the toy method."""
    monkeypatch.setattr(command, "load", lambda args: method)

    def call(*words):
        code = cli.main(["retarget", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def table(tmp_path):
    (file,) = ArkitCsv().export_sequence(sample_sequence(), tmp_path)
    return file.path.rename(tmp_path / "take.csv")


SHORT = ("--curve", "0:0,0.2:1", "--fps", 10, "--witness", "none", "--write", "glb,overlay,codes")


def test_many_drivers_one_page_and_nothing_twice(run, photo, table, tmp_path):
    out = tmp_path / "moved"
    words = (photo(), "emotion:happy", table, photo("other.png", shade=60), "--out", out, *SHORT)
    code, printed, said = run(*words)
    assert code == 0 and printed == [str(out / "index.html")] and said[-1] == "3 retargeted"
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert folders == ["me_by_happy", "me_by_other", "me_by_take"]
    record = json.loads((out / "me_by_take" / "retarget.json").read_text())
    assert record["by"] == "ARKit names" and record["driver"]["frames"] == 18
    assert record["wrinkles"] == "none: 'toy' has no detail part" and record["measures"]["missing"]
    page = (out / "index.html").read_text()
    assert "me.png by take.csv" in page and "me_by_happy/overlay.mp4" in page and "no detail part" in page
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*/face.glb")}
    code, _, said = run(*words)
    assert code == 0 and said[-1] == "0 retargeted, 3 finished before"
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/face.glb")} == stamps
    code, _, said = run(*words, "--gain", "mouth=0.5")
    assert said[-1] == "3 retargeted"  # other settings give another result
    (out / "me_by_happy" / "retarget.json").unlink()  # as after a stop
    assert run(*words, "--gain", "mouth=0.5")[2][-1] == "1 retargeted, 2 finished before"


def test_a_stopped_clip_goes_on_where_it_was(run, method, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(observations, "PART", 8)
    monkeypatch.setattr(following, "_WARM_UP", 2)
    shades = np.linspace(200, 60, 40).astype(int)
    talk = toy_clip(tmp_path / "talk", [frame([(1, 80, 60)], shade) for shade in shades])
    words = (photo(), talk, "--out", tmp_path / "out", "--witness", "none", "--recognition", "none", "--write", "codes")
    reader, looks = method.landmarker, []

    def stop_after(most):
        def detect(pixels):
            looks.append(1)
            if len(looks) > most:
                raise KeyboardInterrupt
            return type(reader).detect(reader, pixels)

        looks.clear()
        monkeypatch.setattr(reader, "detect", detect)

    stop_after(30)
    assert run(*words)[0] == 130
    assert len(list((tmp_path / "out").rglob("frames_*.npz"))) >= 2, "nothing was kept"
    stop_after(10**6)
    assert run(*words)[0] == 0
    assert len(looks) <= 1 + 40 - 16 + 4 * 2, "it began anew"  # the source; followers of parts see 2 frames before
    assert not list((tmp_path / "out").rglob("unfinished*"))
    assert run(*words[:2], "--out", tmp_path / "whole", *words[4:])[0] == 0
    one, other = (read_codes_of(tmp_path / name) for name in ("out", "whole"))
    assert one == other


def read_codes_of(folder):
    return (folder / "me_by_talk" / "sequence.safetensors").read_bytes()


def test_two_drivers_of_one_name_have_a_folder_each(run, photo, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        photo("smile.png", shade=60).rename(tmp_path / folder / "smile.png")
    code, _, _ = run(photo(), tmp_path / "a/smile.png", tmp_path / "b/smile.png", "--out", tmp_path / "out", *SHORT)
    assert code == 0 and len(list((tmp_path / "out").glob("me_by_smile*"))) == 2


def test_one_bad_driver_stops_no_other(run, photo, tmp_path):
    code, printed, said = run(photo(), "absent.mp4", "emotion:sad", "--out", tmp_path / "out", *SHORT)
    assert code == 1 and printed and said[-1] == "1 retargeted, 1 failed"
    assert "absent.mp4" in (tmp_path / "out" / "index.html").read_text()
    toy_clip(tmp_path / "empty", [frame([])] * 9)
    assert run(photo(), tmp_path / "empty.mkv", "emotion:sad", "--out", tmp_path / "out", *SHORT)[0] == 1
    assert not list((tmp_path / "out").rglob("unfinished*"))


def bad_inputs(tmp_path, photo):
    nobody, me = photo("nobody.png", faces=()), photo()
    (tmp_path / "broken.csv").write_text("jawOpen\nx\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "still.glb").write_bytes(glb_bytes(sample_sequence(bare=True).rig.mesh))
    (tmp_path / "no.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "head.fbx").write_text("x")
    toy_clip(tmp_path / "empty", [frame([])] * 9)
    happy = "emotion:happy"
    return {
        "no face found in it": (nobody, happy),
        "no-such-photo.jpg": ("no-such-photo.jpg", happy),
        "nobody drives": (me, tmp_path / "empty.mkv"),
        "no emotion prototype named 'bored'": (me, "emotion:bored"),
        "'x' is no number": (me, tmp_path / "broken.csv"),
        "is empty": (me, tmp_path / "empty.csv"),
        "lies outside of": (me, happy, "--relative", "--rest", 9),
        "give --relative too": (me, happy, "--rest", 1),
        "no curve": (me, happy, "--curve", "0-1"),
        "no gain": (me, happy, "--gain", "mouth"),
        "no region named 'nose'": (me, happy, "--gain", "nose=1"),
        "no part of the source to keep": (me, happy, "--keep", "hat"),
        "no morph target": (me, happy, "--onto", tmp_path / "still.glb"),
        "a head to move is a .glb or .obj file": (me, happy, "--onto", tmp_path / "head.fbx"),
        "absent.glb: no such file": (me, happy, "--onto", "absent.glb"),
        "give pairs of triangles": (me, happy, "--onto", tmp_path / "no.obj"),
        "belongs to --onto": (me, happy, "--pairs", tmp_path / "no.obj"),
        "one person drives": (me, happy, "--track", "all"),
        "no exporter": (me, happy, "--write", "vhs"),
        "no emotion backbone": (me, happy, "--witness", "oracle"),
    }


def test_what_cannot_work_is_one_line(run, photo, tmp_path):
    for said, words in bad_inputs(tmp_path, photo).items():
        defaults = ("--witness", "none") if "--witness" not in words else ()
        code, _, lines = run(*words, "--out", tmp_path / "out", *defaults)
        text = "\n".join(lines)
        assert code == 2 and said in text, (said, lines)
        assert "Traceback" not in text and "fault of emoca" not in text, lines


def test_another_head_moves_too(run, photo, method, tmp_path):
    from trimesh import load

    person = tmp_path / "first"
    assert run(photo(), "emotion:happy", "--out", person, *SHORT)[0] == 0
    avatar = (person / "me_by_happy" / "face.glb").rename(tmp_path / "avatar.glb")
    code, _, said = run(photo(), "emotion:happy", "--onto", avatar, "--out", tmp_path / "out", *SHORT)
    assert code == 0 and any("avatar.glb has 52 of the 52 ARKit targets" in line for line in said)
    assert (tmp_path / "out/me_by_happy/onto_avatar.glb").stat().st_size > avatar.stat().st_size
    assert "onto_avatar.glb" in (tmp_path / "out/index.html").read_text()

    vertices = 100 * method.face_model(sample_code()).vertices[0].numpy()  # centimetres
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (method.face_model.faces + 1).tolist()]
    (tmp_path / "sculpt.obj").write_text("\n".join(lines))
    assert len(read_obj(tmp_path / "sculpt.obj").faces) == len(lines) - len(vertices)
    code, _, said = run(photo(), "emotion:happy", "--onto", tmp_path / "sculpt.obj", "--out", tmp_path / "o2", *SHORT)
    assert code == 0 and any("52 targets by deformation transfer" in line for line in said)
    scene = load(tmp_path / "o2/me_by_happy/onto_sculpt.glb", force="scene", process=False)
    (mesh,) = scene.geometry.values()
    assert len(mesh.faces) == len(method.face_model.faces) and 0.2 < np.ptp(mesh.vertices[:, 1]) < 0.5  # metres again


def sample_code():
    import torch

    from emoca_core.interfaces import FaceParameters

    return FaceParameters(shape=torch.randn(1, 50, generator=torch.Generator().manual_seed(1)))


def test_a_wrong_value_leaves_what_is_finished(run, photo, tmp_path):
    words = (photo(), "emotion:happy", "--out", tmp_path / "out", *SHORT)
    assert run(*words)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out/me_by_happy").iterdir()}
    assert run(*words, "--relative", "--rest", 99)[0] == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out/me_by_happy").iterdir()} == before
    assert "me_by_happy/overlay.mp4" in (tmp_path / "out/index.html").read_text()


def test_bad_drivers_leave_nothing_where_nothing_was(run, photo, tmp_path):
    me = photo()
    assert run(me, "emotion:hapy", "absent.mp4", "--out", tmp_path / "new" / "out", *SHORT)[0] == 2
    assert list(tmp_path.iterdir()) == [me]
    assert run(me, "emotion:hapy", "emotion:sad", "--out", tmp_path / "out", *SHORT)[0] == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "me_by_sad"]


def test_a_page_of_others_is_not_replaced(run, photo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("mine")
    code, _, said = run(photo(), "emotion:happy", "--out", out, *SHORT)
    assert code == 2 and "is not of `emoca retarget`" in said[-1]
    assert [path.read_text() for path in out.iterdir()] == ["mine"]


def test_python_says_what_became_of_everything(method, photo, tmp_path):
    lines = []
    report = retarget_to_folder(method, photo(), ["absent.mp4"], tmp_path / "out", say=lines.append)
    assert report.failed and not report.done and "absent.mp4" in lines[0] and len(lines) == 1


def test_help_has_examples(capsys):
    assert cli.main(["retarget", "--help"]) == 0
    assert "emoca retarget me.jpg talk.mp4 --out moved" in capsys.readouterr().out
