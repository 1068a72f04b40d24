"""From photos to a study folder, with a real method; resumed, labelled, and refused in one line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emoca_core.cli import main
from emoca_core.errors import ImageError, ParamsError
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction
from emoca_core.study import machine, make
from emoca_core.study.design import PHOTO, STUDY, UNFINISHED, Study, picture_path, read_study
from emoca_core.study.machine import answer_as_machine, known_choices
from emoca_core.study.make import make_study
from emoca_core.study.plan import StudyPlan, find_sources
from emoca_core.study.results import study_results
from emoca_core.study.stimuli import overlap
from emoca_core.study.texts import read_texts

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two faces in folders of their expressions, one of them twice, and a picture without a face."""
    folder = tmp_path_factory.mktemp("photos")
    for name, photo in (("Happiness", "astronaut.jpg"), ("neutral", "grace_hopper.jpg"), ("other", "astronaut.jpg")):
        (folder / name).mkdir()
        (folder / name / photo).write_bytes((PHOTOS / photo).read_bytes())
    Image.new("RGB", (64, 64), (90, 120, 200)).save(folder / "sky.png")
    return folder


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    told = []
    folder = tmp_path_factory.mktemp("studies") / "study"
    return folder, make_study(StudyPlan([photos], ["open_fit"], device="cpu"), folder, told.append), told


def test_each_face_is_shown_as_photo_and_as_mesh(made):
    folder, study, told = made
    assert [(face.file, face.label) for face in study.faces] == [
        ("astronaut.jpg", "happy"),
        ("grace_hopper.jpg", "neutral"),
    ]
    assert read_study(folder) == study
    assert not (folder / UNFINISHED).exists()
    assert "Now and then a text" in (folder / "texts.yaml").read_text("utf-8")
    assert {one.file: one.reason.split(" (")[0] for one in study.left_out} == {
        "astronaut.jpg": f"it is the same picture as {told[0].split('same picture as ')[1]}",
        "sky.png": "open_fit: no face found",
    }
    for face in range(2):
        pictures = {one.shows: one for one in study.stimuli if one.face == face}
        photo, mesh = (Image.open(picture_path(folder, pictures[shows].id)) for shows in (PHOTO, "open_fit"))
        with photo, mesh:
            assert photo.size == mesh.size == (480, 480)
            colours, grey = np.asarray(photo, float), np.asarray(mesh, float)
        assert np.abs(grey - grey.mean(2, keepdims=True)).max() < 12  # paper and grey alone
        assert np.abs(colours - colours.mean(2, keepdims=True)).max() > 40
        inside = (grey.mean(2) < 220)[120:360, 150:330]
        assert inside.mean() > 0.95  # the face is in the middle


def test_practice_and_catch_trials_from_photos(photos, tmp_path):
    """Mirrored photos: other files of the same two faces."""
    for folder, name in (("practice", "grace_hopper"), ("happy", "astronaut"), ("who_knows", "astronaut")):
        (tmp_path / folder).mkdir()
        mirrored = Image.open(PHOTOS / f"{name}.jpg").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mirrored.save(tmp_path / folder / f"{name}.png", compress_level=len(folder) % 9)
    told = []
    plan = StudyPlan(
        [photos], ["open_fit"], device="cpu", practice=[tmp_path / "practice", photos / "neutral"],
        catch=[tmp_path / "happy", tmp_path / "who_knows"],
    )  # fmt: skip
    out = tmp_path / "study"
    study = make_study(plan, out, told.append)
    assert [one.shows for one in study.practice] == [PHOTO, "open_fit"] and {one.face for one in study.practice} == {
        None
    }
    assert [one.label for one in study.catch] == ["happy"] and study.catch_trials == 1
    assert len(study.faces) == 2 and {path.stem for path in (out / "pictures").iterdir()} == set(study.pictures())
    with Image.open(picture_path(out, study.catch[0].picture.id)) as shown:
        assert np.asarray(shown.convert("RGB"), float).std() > 40  # a face, cut out of its photo
    reasons = " ".join(told)
    assert "the same picture as" in reasons and "needs a known expression" in reasons
    assert "catch trials: 1, not 4, because there are no more photos for them" in told
    assert "Now and then a text" not in (out / "texts.yaml").read_text("utf-8")
    assert make_study(plan, out) == study == read_study(out)
    with pytest.raises(ParamsError, match="holds another study"):
        make_study(StudyPlan([photos], ["open_fit"], device="cpu"), out)


@pytest.mark.parametrize("what", ["practice", "catch"])
def test_no_text_and_no_synthetic_head_takes_the_place_of_photos_that_cannot_be_used(photos, tmp_path, what):
    told = []
    plan = StudyPlan([photos], ["open_fit"], device="cpu", **{what: [PHOTOS / "astronaut.jpg"]})
    with pytest.raises(ImageError, match=f"no photo for the {what}.* can be used"):
        make_study(plan, tmp_path / "study", told.append)
    assert any("the same picture as" in line for line in told)
    assert not (tmp_path / "study").exists()


def test_a_text_that_tells_what_to_choose_is_promised_where_there_is_one(tmp_path):
    """With --catch 0 and with photos for the catch trials there is none; the line may stand in a translation."""
    plan = StudyPlan(photos=["photos"], methods=["open_fit"])
    translated = tmp_path / "texts.yaml"
    translated.write_text(make._text_of(plan, True).replace("Now and then a text", "Hin und wieder steht ein Text"))
    for one, line in ((plan, "Now and then a text"), (replace(plan, texts=translated), "Hin und wieder")):
        (tmp_path / "with.yaml").write_text(make._text_of(one, True))
        (tmp_path / "without.yaml").write_text(make._text_of(one, False))
        texts, others = (read_texts(tmp_path / name, plan.choices) for name in ("with.yaml", "without.yaml"))
        told = [text for text in texts.instructions.paragraphs if line in text]
        assert len(told) == 1 and told[0].endswith("Follow it.")
        left = tuple(text for text in texts.instructions.paragraphs if text not in told)
        assert others == texts.model_copy(
            update={"instructions": texts.instructions.model_copy(update={"paragraphs": left})}
        )


def test_names_of_pictures_tell_nothing(made):
    folder, study, _ = made
    names = " ".join(study.pictures())
    assert "open" not in names and len(set(names.split())) == 2 * 2 + 4
    assert {path.stem for path in (folder / "pictures").iterdir()} == set(names.split())


def test_the_same_command_again_changes_nothing(photos, made, monkeypatch):
    folder, study, _ = made
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(make, "load_method", None)  # nothing is rendered
    assert make_study(StudyPlan([photos], ["open_fit"]), folder) == study
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(ParamsError, match="holds another study"):
        make_study(StudyPlan([photos], ["open_fit"], seed=5), folder)


def test_a_stopped_run_goes_on_where_it_was(photos, tmp_path, monkeypatch):
    plan, draw, drawn = StudyPlan([photos], ["open_fit"], device="cpu"), make.draw_face, []

    def stop_after_one(face, window):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(face.photo.path.name)
        return draw(face, window)

    monkeypatch.setattr(make, "draw_face", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        make_study(plan, tmp_path)
    assert (tmp_path / UNFINISHED).exists() and not (tmp_path / STUDY).exists()
    with pytest.raises(ParamsError, match="beginning of another study"):
        make_study(StudyPlan([photos], ["open_fit"], catch_trials=0), tmp_path)
    kept = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert len(kept) == 2
    again = []
    monkeypatch.setattr(
        make, "draw_face", lambda face, window: again.append(face.photo.path.name) or draw(face, window)
    )
    study = make_study(plan, tmp_path)
    assert (drawn, again) == (["astronaut.jpg"], ["grace_hopper.jpg"])
    assert kept < {f"{name}.jpg" for name in study.pictures()}


class Bright(EmotionBackbone):
    """Says anger of dark pictures. Source: this test."""

    labels = ("Angry", "Happiness", "boredom")
    feature_dims = {"mean": 1}  # noqa: RUF012 -- as its interface declares it

    def forward(self, image):
        bright = image.mean((1, 2, 3))
        return EmotionPrediction(
            {"mean": bright[:, None]}, logits=torch.stack([0.5 - bright, bright - 0.5, bright + 9], 1)
        )


def test_a_machine_answers_everything_through_the_same_store(made, monkeypatch):
    folder, study, _ = made
    monkeypatch.setattr(machine, "load_emotion_backbone", lambda name, device: Bright())
    assert answer_as_machine(folder, "bright", "cpu") == 4
    assert answer_as_machine(folder, "bright", "cpu") == 0
    results = study_results(folder)
    assert (results.kind, [one.alias for one in results.counted]) == ("machine", ["machine:bright"])
    said = {study.choices[label] for label in results.labels.flatten()}
    assert said <= {"happy", "anger"}  # its own classes that are choices, by our names; never the likelier boredom
    for face in range(2):
        for condition, shows in enumerate(study.conditions):
            (name,) = [one.id for one in study.stimuli if (one.face, one.shows) == (face, shows)]
            bright = machine.read_middle(picture_path(folder, name)).mean() > 0.5
            assert study.choices[results.labels[0, face, condition]] == ("happy" if bright else "anger")


def test_classes_of_a_backbone_are_found_by_meaning():
    assert known_choices(Bright(), ("neutral", "happy", "anger")) == {"happy": 1, "anger": 0}


def test_labels_come_from_a_manifest(photos, tmp_path):
    table = tmp_path / "labels.csv"
    (photos / "raw.dng").write_bytes(b"raw")
    rows = [f"{photos / 'Happiness' / 'astronaut.jpg'},surprise", f"{photos / 'neutral' / 'grace_hopper.jpg'},awe"]
    table.write_text("path,expression\n" + "\n".join(rows) + "\n")
    sources, left_out = find_sources(StudyPlan([photos], ["open_fit"], labels=table))
    assert {one.path.name: one.label for one in sources} == {"astronaut.jpg": "surprise", "sky.png": None}
    reasons = {one.file: one.reason for one in left_out}
    assert reasons["grace_hopper.jpg"] == "its label 'awe' is not among the choices"
    assert "a camera raw file" in reasons["raw.dng"]  # named, as everything that looks like a picture
    (photos / "raw.dng").unlink()


def test_boxes_overlap():
    box = np.array([0.0, 0.0, 2.0, 2.0])
    assert overlap(box, box) == 1
    assert overlap(box, box + 1) == pytest.approx(1 / 7)
    assert overlap(box, box + 3) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ["open_fit", "open_fit"]}, "named twice"),
        ({"methods": ["photo"]}, "no method can be called 'photo'"),
        ({"methods": [""]}, "a method has no name"),
        ({"choices": ("happy",)}, "2 to 9 choices"),
        ({"choices": tuple("abcdefghij")}, "2 to 9 choices"),
        ({"choices": ("sad", "sad")}, "named twice"),
        ({"seed": -1}, "the seed must be"),
        ({"catch_trials": 101}, "0 to 100 catch trials"),
        ({"faces_each": 1}, "at least 2 faces"),
    ],
)
def test_plans_that_make_no_study(change, said):
    with pytest.raises(ParamsError, match=said):
        StudyPlan(**{"photos": ["x"], "methods": ["open_fit"], **change})


def test_one_face_is_no_study(photos, tmp_path):
    with pytest.raises(ImageError, match="at least 2 faces, but has 1"):
        make_study(StudyPlan([photos / "neutral"], ["open_fit"], device="cpu"), tmp_path / "study")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ParamsError])
def test_a_run_that_stops_before_its_first_picture_leaves_nothing(photos, tmp_path, monkeypatch, error):
    def fails(method, photo, seen):
        raise error

    monkeypatch.setattr(make, "find_face", fails)
    with pytest.raises(error):
        make_study(StudyPlan([photos], ["open_fit"], device="cpu"), tmp_path / "study")
    assert not list(tmp_path.iterdir())


def test_what_others_put_beside_an_unfinished_study_stays(photos, tmp_path, monkeypatch):
    def fails(method, photo, seen):
        (tmp_path / "study" / "thesis.txt").write_text("mine")
        raise ParamsError("no")

    monkeypatch.setattr(make, "find_face", fails)
    with pytest.raises(ParamsError, match="no"):
        make_study(StudyPlan([photos], ["open_fit"], device="cpu"), tmp_path / "study")
    assert (tmp_path / "study" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "study" / "pictures").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--photos", "nowhere", "--methods", "open_fit"], "no such file or folder"),
        (["--photos", "PHOTOS/sky.png", "--methods", "open_fit"], "at least 2 faces, but has 0"),
        (["--photos", "PHOTOS", "--methods", "open_fitt"], "named 'open_fitt'"),
        (["--photos", "PHOTOS", "--methods", "open_fit", "--labels", "gone.csv"], "there is no manifest"),
        (["--photos", "PHOTOS", "--methods", "open_fit", "--texts", "gone.yaml"], "cannot read gone.yaml"),
        (["--photos", "PHOTOS", "--methods", "open_fit", "--choices", "happy,awe"], "there is nothing for awe"),
        (["--photos", "PHOTOS", "--methods", "open_fit", "--out", "FULL"], "holds other files"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(photos, tmp_path, capsys, arguments, said):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    given = [word.replace("PHOTOS", str(photos)).replace("FULL", str(full)) for word in arguments]
    out = [] if "--out" in given else ["--out", str(tmp_path / "study")]
    assert main(["study", "new", *given, *out]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert sum(line.startswith("emoca") for line in err.splitlines()) == 1
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    assert not (tmp_path / "study").exists()  # the corrected command finds nothing in its way


@pytest.mark.parametrize("action", ["new", "serve", "answer", "results", "forget"])
def test_the_help_of_every_action_has_an_example(capsys, action):
    assert main(["study", action, "--help"]) == 0
    assert f"example: emoca study {action} " in capsys.readouterr().out


def test_a_study_that_contradicts_itself_is_refused(made):
    folder, _, _ = made
    facts = json.loads((folder / STUDY).read_text())
    for change in (
        {"faces_each": 99},
        {"stimuli": facts["stimuli"][1:]},
        {"stimuli": [{**facts["stimuli"][0], "id": "../../etc/passwd0000000000"[:24]}, *facts["stimuli"][1:]]},
        {"choices": ["sad", "fear"]},
        {"more": 1},
    ):
        with pytest.raises(ValueError):
            Study.model_validate_json(json.dumps({**facts, **change}))
