"""Further validation sets: photos are measured beside the synthetic faces that are trained on, and choose nothing."""

import json
from dataclasses import replace

import pytest
import torch

from emoca_core import get_registry
from emoca_core.cli import main
from emoca_core.datasets.render import render_dataset
from emoca_core.errors import ParamsError
from emoca_core.train.face_batches import collate_face_batch
from emoca_core.train.run_stage import prepare_stage
from emoca_core.train.validation_figures import landmark_error

TINY = {"encoder": {"params": {"model": "mobilenetv3_small_050", "hidden": 16, "image_size": 64}}}
DATA = {"image_size": 64, "face_model": {"params": {"texture_size": 64}}}
VALIDATION = {"seed": 1, "length": 5}
SETTINGS = {
    **{"tracker": "none", "progress": False, "batch_size": 3, "max_steps": 2, "checkpoints": False},
    **{"data": {**DATA, "length": 6}, "validation_data": VALIDATION, "validate_every": 0.5},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The validation faces themselves, as files: their codes are not known any more."""
    faces = get_registry().build("dataset", "synthetic_faces", {**DATA, **VALIDATION})
    return render_dataset(faces, tmp_path_factory.mktemp("photos"))


def trained(folder, **settings):
    ready = prepare_stage("coarse", "open_pretrain", "synthetic_faces", change=TINY, settings=SETTINGS | settings)
    ready.train(folder)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("runs")
    also = {"photos": {"uses": "manifest", "params": {"file": str(photos)}}}
    return folder / "with", trained(folder / "with", also=also), trained(folder / "without")


def test_the_same_faces_have_the_same_error_there(runs):
    _, lines, _ = runs
    measured = [line for line in lines if "validation/loss" in line]
    assert len(measured) == 2
    for line in measured:
        # eight bits a colour are all that differs
        assert abs(line["validation/photos/landmark_error"] - line["validation/landmark_error"]) < 2e-3
        assert "validation/photos/loss" not in line, "the terms of open_pretrain need the true code"
        assert "validation/photos/vertex_error_face_mm" not in line


def test_they_are_in_the_result_files_and_choose_nothing(runs):
    folder, lines, without = runs
    card = json.loads((folder / "best.json").read_text())
    assert "photos/landmark_error" in card["metrics"]
    assert (folder / "pictures").is_dir()
    assert any(path.name.startswith("photos-faces") for path in (folder / "pictures").iterdir())
    chosen = [[line["validation/loss"] for line in some if "validation/loss" in line] for some in (lines, without)]
    assert chosen[0] == chosen[1], "what is also measured does not change the training"


def test_the_command_says_what_photos_say(tmp_path, photos, capsys):
    settings = [
        "max_steps=1",
        "tracker=none",
        "progress=false",
        "pictures_every=0",
        "batch_size=2",
        "checkpoints=false",
    ]
    data = ["image_size=64", "length=4", "face_model.params.texture_size=64"]
    recipe = ["encoder.params.model=mobilenetv3_small_050", "encoder.params.hidden=16"]
    options = [
        *(f"--set={one}" for one in [*settings, "validation_data.length=2"]),
        *(f"--data-set={one}" for one in data),
        *(f"--recipe-set={one}" for one in recipe),
    ]
    command = ["train", "coarse", "--recipe", "open_pretrain", "--data", "synthetic_faces", *options]
    assert main([*command, "--out", str(tmp_path / "run"), "--also", f"photos={photos}"]) == 0
    assert "photos/landmark_error: 0." in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "other"), "--also", "photos"]) == 2
    assert "--also wants NAME=FILE" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["a/b", ""])
def test_a_name_is_one_word(photos, name):
    also = {name: {"uses": "manifest", "params": {"file": str(photos)}}}
    with pytest.raises(ParamsError, match="also"):
        prepare_stage("coarse", "open_pretrain", "synthetic_faces", change=TINY, settings=SETTINGS | {"also": also})


def test_no_faces_are_refused(tmp_path):
    (tmp_path / "none.csv").write_text("path\n")
    also = {"photos": {"uses": "manifest", "params": {"file": str(tmp_path / "none.csv")}}}
    with pytest.raises(ParamsError, match="no faces to validate with"):
        prepare_stage("coarse", "open_pretrain", "synthetic_faces", change=TINY, settings=SETTINGS | {"also": also})


def test_landmarks_that_are_not_seen_do_not_count(photos):
    ready = prepare_stage("coarse", "open_pretrain", "synthetic_faces", change=TINY, settings=SETTINGS)
    batch = collate_face_batch([ready.validation[0], ready.validation[1]])
    capture = ready.task.capture(batch)
    points = capture.crop.landmarks["ibug68"].clone()
    points[0, 5] = torch.nan
    points[1, 36] = torch.nan  # an outer corner of the eyes, whose distance is the unit
    hidden = replace(capture, crop=replace(capture.crop, landmarks={"ibug68": points}))
    seen = torch.arange(68) != 5
    distances = (capture.projected_landmarks() - capture.crop.landmarks["ibug68"]).norm(dim=-1)[0]
    eyes = (points[0, 36] - points[0, 45]).norm()
    torch.testing.assert_close(landmark_error(hidden)[0], distances[seen].mean() / eyes)
    assert landmark_error(hidden)[1].isnan()
