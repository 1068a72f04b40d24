"""``emoca reconstruct`` and ``emoca demo`` as a user meets them: lines, exit codes, files."""

import errno
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emoca_core import ComponentSpec, Registry, hookimpl
from emoca_core.cli import main
from emoca_core.cli.demo_run import example_photos
from emoca_core.cli.reconstruct import parse_changes
from emoca_core.errors import EmocaError, UnknownNameError
from emoca_core.files import sha256_of, write_text
from emoca_core.interfaces import ExportedFile, Exporter
from emoca_core.registry.catalogue import ENVIRONMENT_VARIABLE


@pytest.fixture(autouse=True)
def toy_method(monkeypatch, method, tmp_path_factory):
    """The command loads the toy method whatever it is asked for, and takes it by default, which binds nobody."""
    own = tmp_path_factory.mktemp("own") / "registry.yaml"
    own.write_text("version: 1\ndefault_recipe: {uses: toy}\n")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(own))
    monkeypatch.setattr("emoca_core.api.load_method", lambda name, **options: method)
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)


@pytest.fixture
def run(capsys):
    def emoca(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return emoca


def test_all_done_is_0(run, take_photo, tmp_path):
    photo = take_photo(tmp_path / "one")
    code, out, err = run("reconstruct", photo, "--out", tmp_path / "out")
    assert code == 0
    assert out == [str(tmp_path / "out/index.html")]
    assert err == ["1 face from 1 photo"]
    code, _, err = run("reconstruct", photo, "--out", tmp_path / "out")
    assert code == 0 and err == ["0 faces from 0 photos, 1 photo finished before"]


def test_some_failed_is_1(run, take_photo, tmp_path):
    photo = take_photo(tmp_path / "one")
    code, _, err = run("reconstruct", photo, tmp_path / "missing.jpg", "--out", tmp_path / "out")
    assert code == 1
    assert err == [f"{tmp_path / 'missing.jpg'}: no such file or folder.", "1 face from 1 photo, 1 failed"]


def test_a_photo_without_a_face_is_a_result_beside_others(run, take_photo, tmp_path):
    photos = take_photo(tmp_path / "one"), take_photo(tmp_path / "none", faces=0)
    code, _, err = run("reconstruct", *photos, "--out", tmp_path / "out")
    assert code == 0
    assert err == [f"{photos[1]}: no face found", "1 face from 1 photo, 1 without a face"]


def test_nothing_worked_is_2(run, take_photo, tmp_path):
    for argument in (tmp_path / "missing.jpg", take_photo(tmp_path / "none", faces=0)):
        code, out, err = run("reconstruct", argument, "--out", tmp_path / "out")
        assert code == 2 and out == [] and len(err) == 2


class FiveLines(Exporter):
    """What a plugin would add. Source: this test."""

    def export(self, face, folder, files=()):
        write_text(folder / "about.txt", f"{face.recipe} {len(face.vertices)}")
        return [ExportedFile(folder / "about.txt", "about")]


def test_formats_are_chosen_a_plugins_included(run, take_photo, tmp_path, monkeypatch):
    plugin = types.SimpleNamespace(
        emoca_components=hookimpl(lambda: [ComponentSpec("exporter", "about", f"{__name__}:FiveLines")])
    )
    registry = Registry()
    registry.load_entry_points()
    registry.add_plugin(plugin, "test")
    monkeypatch.setattr("emoca_core.reconstruction.saving.get_registry", lambda: registry)
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(FiveLines=FiveLines))
    photo = take_photo(tmp_path / "one")
    code, *_ = run("reconstruct", photo, "--out", tmp_path / "out", "--write", "ply, about")
    face = tmp_path / "out/one/face_0"
    assert code == 0 and {path.name for path in face.iterdir()} == {"face.ply", "about.txt", "face.json"}
    assert (face / "about.txt").read_text() == "toy 162"
    page = (tmp_path / "out/index.html").read_text()
    assert all(f'href="one/face_0/{name}"' in page for name in ("face.ply", "about.txt", "face.json"))
    assert ">about</a>" in page and "no picture" in page and "faces: 1" in page
    code, _, err = run("reconstruct", photo, "--out", tmp_path / "out")  # other formats: not what was asked for before
    assert code == 0 and "are replaced by those of recipe 'toy'" in err[0], err
    assert err[1:] == ["1 face from 1 photo, 1 result replaced"] and not (face / "face.ply").exists()


def test_ctrl_c_is_130(run, take_photo, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("emoca_core.reconstruction.to_folder.save_face", stop)
    code, _, err = run("reconstruct", take_photo(tmp_path / "one"), "--out", tmp_path / "out")
    assert code == 130 and "Traceback" not in "\n".join(err)


def test_full_disk_is_one_line_and_2(run, take_photo, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    photo = take_photo(tmp_path / "one")
    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = run("reconstruct", photo, "--out", tmp_path / "out")
    assert code == 2 and len(err) == 1 and "No space left on device" in err[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_really_full_device_leaves_nothing(run, take_photo, tmp_path, monkeypatch):
    """What the operating system itself raises on a full device, not an imitation of it."""
    photo = take_photo(tmp_path / "one")
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: _fill(data))
    code, _, err = run("reconstruct", photo, "--out", tmp_path / "out")
    assert code == 2 and len(err) == 1 and "No space left on device" in err[0]
    assert not list((tmp_path / "out").rglob("face.*"))


def _fill(data: bytes) -> None:
    with open("/dev/full", "wb") as device:
        device.write(data)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--crop", "square"],
        ["--batch-size", "0"],
        ["--set", "encoder"],
        ["--set", "coder.x=1"],
        ["--set", "encoder.x=["],
        ["--write", "glb,"],
        ["--write", "pyl"],
    ],
)
def test_wrong_usage_is_one_thing_said_and_2(run, take_photo, tmp_path, arguments):
    code, out, err = run("reconstruct", take_photo(tmp_path / "one"), "--out", tmp_path / "out", *arguments)
    assert code == 2 and out == [] and err and not any("Traceback" in line for line in err)
    assert not (tmp_path / "out").exists()


def test_changes_become_a_recipe():
    changes = ["encoder.iterations=30", "encoder.jaw=joint", "renderer.deep.key=[1, 2]"]
    assert parse_changes(changes) == {
        "encoder": {"params": {"iterations": 30, "jaw": "joint"}},
        "renderer": {"params": {"deep": {"key": [1, 2]}}},
    }
    with pytest.raises(EmocaError, match=r"PART\.PARAM=VALUE"):
        parse_changes(["encoder=3"])
    with pytest.raises(UnknownNameError, match="encoder"):
        parse_changes(["encodr.x=3"])


def test_example_photos_have_a_provenance():
    photos = example_photos()
    provenance = (photos[0].parent / "PROVENANCE.md").read_text()
    assert len(photos) >= 2
    for photo in photos:
        assert f"`{photo.name}`" in provenance
        with Image.open(photo) as image:
            assert max(image.size) <= 1024


def test_demo_says_where_its_pictures_are(run, tmp_path, monkeypatch, take_photo):
    photo = take_photo(tmp_path / "one")
    monkeypatch.setattr("emoca_core.cli.demo_run.example_photos", lambda: [photo])
    code, out, _ = run("demo", "--out", tmp_path / "demo")
    assert code == 0
    pictures = [Path(line.strip()) for line in out[1:]]
    assert out[0] == "Look at:" and all(path.is_file() for path in pictures)
    assert [path.name for path in pictures] == ["overlay.png", "index.html", "emotions.png", "overlay.mp4"]
    first = sha256_of(pictures[-2])
    run("demo", "--out", tmp_path / "again")
    assert sha256_of(tmp_path / "again/emotions.png") == first
    emotions = np.asarray(Image.open(pictures[-2])).astype(int)
    neutral, *others = np.split(emotions[:340, : 8 * 250], 8, axis=1)
    assert all(np.abs(other - neutral).mean() > 0.05 for other in others)


@pytest.mark.slow
def test_real_photo_end_to_end(monkeypatch, tmp_path, capsys):
    monkeypatch.undo()  # the real method
    photo = example_photos()[0]
    assert main(["reconstruct", str(photo), "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / photo.stem / "face_0/face.json").read_text())
    assert record["landmarks"]["mean_error_interocular"] < 0.07
    assert record["arkit"]["values"]["mouthSmileLeft"] > 0.3  # she smiles
    assert record["camera"]["gltf"]["frame_size"] == pytest.approx(record["camera"]["photo_size"], abs=0.1)


def test_pictures_that_are_not_taken_are_counted_and_named(run, take_photo, tmp_path):
    take_photo(tmp_path / "in/one")
    (tmp_path / "in/two.cr2").touch()
    (tmp_path / "in/notes.txt").touch()
    code, _, err = run("reconstruct", tmp_path / "in", "--out", tmp_path / "in/out")
    named = f"{tmp_path / 'in/two.cr2'}: not taken: a camera raw file; export it as JPEG"
    assert code == 0 and err == [named, "1 face from 1 photo, 1 picture not taken"]
    assert run("reconstruct", tmp_path / "in", "--out", tmp_path / "in/out")[2][0] == named, "nothing of the output"


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "y/" * 3000, "~nobody-here/a.jpg", "link.jpg"])
def test_a_path_that_cannot_be_read_costs_itself_alone(run, take_photo, tmp_path, name):
    photo = take_photo(tmp_path / "one")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "link.jpg")
    bad = name if name.startswith("~") else tmp_path / name
    code, _, err = run("reconstruct", bad, photo, "--out", tmp_path / "out")
    assert code == 1
    assert err[0].startswith(f"{bad}"[:100]) and "cannot write" not in err[0]  # long names are shortened
    assert err[1:] == ["1 face from 1 photo, 1 failed"]
