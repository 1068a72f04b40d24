"""``emoca optimise``: what lies in the folder, what is done again, and what bad input is told."""

import csv
import json

import pytest
from patch_backbones import PHOTOS
from PIL import Image

from emoca_core.cli import main
from emoca_core.export.codes import read_codes
from emoca_core.optimisation import STARTS, pair, to_folder
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.video import open_clip

SOURCE, TARGET = str(PHOTOS / "grace_hopper.jpg"), str(PHOTOS / "astronaut.jpg")
FAST = ("--steps", "2", "--size", "32", "--write", "codes")

pytestmark = pytest.mark.usefixtures("by_name", "loaded_once")


@pytest.fixture
def loaded_once(method, source, target, monkeypatch):
    """One method and two captured faces for all; what the command says of photos is tried without."""
    monkeypatch.setattr("emoca_core.cli.optimise.load", lambda args: method)
    monkeypatch.setattr(pair, "one_face", lambda _, photo, *rest: source if photo == SOURCE else target)


def run(out, *options, judge=("--judge", "patches")):
    return main(["optimise", SOURCE, TARGET, "--out", str(out), *judge, *FAST, *options])


def test_the_folder_holds_everything_and_is_finished_once(tmp_path, capsys, monkeypatch):
    assert run(tmp_path) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "index.html")
    assert "judge patches" in said.err and "witness others" in said.err
    record = json.loads((tmp_path / "result.json").read_text())
    (start,) = record["runs"]
    assert start["before"]["energy"] > start["after"]["energy"]
    assert start["adversarial"] in (True, False)
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [float(row["energy"]) for row in rows][start["best_step"]] == pytest.approx(start["after"]["energy"])
    assert float(rows[0]["emotion"]) + 0.05 * float(rows[0]["expression_prior"]) == pytest.approx(
        float(rows[0]["energy"])
    )
    best = read_codes(tmp_path / "best.safetensors")
    assert best.expression.equal(read_codes(tmp_path / "face" / "face.safetensors").expression)
    page = (tmp_path / "index.html").read_text()
    assert "polyline" in page and "face.safetensors" in page
    assert (tmp_path / "faces.png").stat().st_size > 10_000
    clip = open_clip(tmp_path / "film.mp4")
    assert clip.size == (252, 896)

    monkeypatch.setattr(to_folder, "optimise", lambda *_, **__: pytest.fail("it was finished"))
    assert run(tmp_path) == 0
    assert "finished before" in capsys.readouterr().err


def test_other_settings_are_done_again(tmp_path, capsys):
    assert run(tmp_path, "--no-film") == 0
    first = json.loads((tmp_path / "result.json").read_text())["fingerprint"]
    assert run(tmp_path, "--no-film", "--steps", "1") == 0
    assert json.loads((tmp_path / "result.json").read_text())["fingerprint"] != first
    assert "finished before" not in capsys.readouterr().err
    assert not (tmp_path / "film.mp4").exists()


def test_all_starts_are_compared(tmp_path):
    assert run(tmp_path, "--compare", "initialisations", "--no-film") == 0
    record = json.loads((tmp_path / "result.json").read_text())
    assert [start["start"] for start in record["runs"]] == list(STARTS)
    assert record["spread"]["vertices_mm"] > 0.1
    energies = [start["after"]["energy"] for start in record["runs"]]
    assert record["spread"]["energy"] == pytest.approx(max(energies) - min(energies))
    assert record["best"] == energies.index(min(energies))


def test_judges_are_compared_each_in_its_folder(tmp_path, capsys):
    assert run(tmp_path, "--compare", "backbones", "patches,others", "--no-film", judge=()) == 0
    records = {name: json.loads((tmp_path / name / "result.json").read_text()) for name in ("patches", "others")}
    assert {name: record["witness"] for name, record in records.items()} == {"patches": "others", "others": "patches"}
    assert 'href="others/index.html"' in (tmp_path / "index.html").read_text()
    assert (tmp_path / "faces.png").is_file()
    assert capsys.readouterr().out.strip() == str(tmp_path / "index.html")


def test_terms_and_the_jaw_from_the_command_line(tmp_path):
    options = ("--unknowns", "expression,jaw_pose", "--jaw-prior", "target", "--term", "jaw_prior.weight=3")
    assert run(tmp_path, *options, "--term", "expression_prior=null", "--rate", "jaw_pose=0.01", "--no-film") == 0
    record = json.loads((tmp_path / "result.json").read_text())
    assert set(record["terms"]) == {"emotion", "jaw_prior"}
    assert record["terms"]["jaw_prior"]["weight"] == 3
    assert record["settings"]["learning_rates"] == {"jaw_pose": 0.01}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--unknowns", "expresion"], "Did you mean 'expression'"),
        (["--compare", "backbones", "patches"], "at least two names"),
        (["--compare", "judges"], "takes `initialisations`"),
        (["--jaw-prior", "mine"], "target, source, or three angles"),
        (["--term", "emotion"], "write name=value"),
        (["--term", "emotion.uses=emotion_consistncy"], "Did you mean 'emotion_consistency'"),
        (["--starts", "eyes"], "no start named 'eyes'"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, options, says):
    assert run(tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not (tmp_path / "out" / "result.json").exists()


def test_photos_without_the_face_asked_for(tmp_path, capsys, monkeypatch, method):
    monkeypatch.undo()
    monkeypatch.setattr("emoca_core.cli.optimise.load", lambda args: method)
    Image.new("RGB", (200, 200), "green").save(tmp_path / "wall.png")
    out = ["--out", str(tmp_path / "out"), *FAST]
    assert main(["optimise", str(tmp_path / "wall.png"), TARGET, *out]) == 2
    assert "wall.png: " in capsys.readouterr().err
    assert main(["optimise", SOURCE, TARGET, "--source-face", "1", *out]) == 2
    assert "there is no face 1: the photo shows 1" in capsys.readouterr().err


def test_a_backbone_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(to_folder, "load_emotion_backbone", load_emotion_backbone)
    assert run(tmp_path / "out", judge=("--judge", "open_emotin")) == 2
    assert "open_emotin" in capsys.readouterr().err


def test_what_others_left_in_the_folder_stays(tmp_path, capsys):
    (tmp_path / "result.json").write_text('{"mine": 1}')
    assert run(tmp_path) == 2
    assert "not of `emoca optimise`" in capsys.readouterr().err
    assert (tmp_path / "result.json").read_text() == '{"mine": 1}'


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WRONG = [
    ("--starts", "foo"),
    ("--witness", "patches"),
    ("--term", "emotion.uses=emotion_consistncy"),
    ("--detail",),
    ("--unknowns", "nose"),
    ("--rate", "jaw_pose=0.1"),
]


def test_a_wrong_value_leaves_what_is_finished(tmp_path):
    assert run(tmp_path) == 0
    before = content(tmp_path)
    for wrong in WRONG:
        assert run(tmp_path, *wrong) == 2
        assert content(tmp_path) == before, wrong


@pytest.mark.parametrize("wrong", WRONG, ids=" ".join)
def test_a_wrong_value_leaves_nothing_where_nothing_was(tmp_path, wrong):
    assert run(tmp_path / "new" / "out", *wrong) == 2
    assert run(tmp_path / "new" / "out", "--compare", "backbones", "patches,others", *wrong, judge=()) == 2
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    assert run(tmp_path / "mine", *wrong) == 2
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_a_stopped_one_goes_on_after_a_wrong_value(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    assert run(tmp_path, "--no-film") == 0
    with monkeypatch.context() as changed:
        changed.setattr(to_folder, "draw_sheet", stop)
        assert run(tmp_path, "--no-film", "--steps", "1") == 130
    assert not (tmp_path / "result.json").exists()
    before = content(tmp_path)
    assert any(path.parent.name.startswith("unfinished") for path in before)
    for wrong in WRONG:
        assert run(tmp_path, *wrong) == 2
        assert content(tmp_path) == before, wrong  # what the stopped one goes on from as well
    assert run(tmp_path, "--no-film") == 0
    assert not list(tmp_path.glob("unfinished*"))


@pytest.mark.parametrize("compare", [False, True])
@pytest.mark.parametrize("name", ["index.html", "faces.png"])
def test_files_of_others_are_not_replaced(tmp_path, capsys, name, compare):
    (tmp_path / name).write_text("mine")
    options = ("--compare", "backbones", "patches,others") if compare else ()
    assert run(tmp_path, *options, judge=() if compare else ("--judge", "patches")) == 2
    assert f"{name} is damaged, or not of `emoca optimise`" in capsys.readouterr().err
    assert content(tmp_path) == {tmp_path / name: b"mine"}
