"""The verdict on a face: its limits, and that every entrance tells it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import emoca_core
from emoca_core import load_method
from emoca_core.cli.reconstruct import summary
from emoca_core.errors import ParamsError
from emoca_core.interfaces import Detection, FaceParameters
from emoca_core.reconstruction import Settings, quality, reconstruct, reconstruct_to_folder
from emoca_core.reconstruction.quality import LIMITS, judge

ALL_LIMITS = LIMITS  # before the fixture of this folder takes them away


@pytest.fixture(autouse=True)
def limits(no_doubt, monkeypatch):
    monkeypatch.setattr(quality, "LIMITS", ALL_LIMITS)


POINTS = np.random.default_rng(0).normal(300, 40, (68, 2))
POINTS[36], POINTS[45] = (250, 300), (350, 300)  # the outer eye corners, 100 pixels from each other
FACE = Detection(np.array([200.0, 200, 400, 400]), 0.9, {"ibug68": POINTS}, movement=0.01, second_opinion=3.0)


def code(turned=0.0, shape=0.0, units=None):
    pose = torch.tensor([[0.0, np.deg2rad(turned), 0.0]], dtype=torch.float32)
    return FaceParameters(shape=torch.tensor([[0.0, shape]]), global_pose=pose, units=units or {})


def verdict(face=FACE, shift=0.0, parameters=None):
    return judge(face, POINTS + np.array([shift, 0.0]), parameters or code())


def cut_off(share):
    """As many of 1000 landmarks to the left of the photo as that."""
    row = np.where(np.arange(1000) < 1000 * share, -1.0, 100.0)
    dense = np.stack([row, np.full(1000, 50.0)], axis=1)
    return judge(replace(FACE, landmarks={"ibug68": POINTS, "dense": dense}), POINTS, code(), (200, 101))


def shrunk(eye_distance):
    return replace(FACE, landmarks={"ibug68": POINTS * eye_distance / 100})


EDGES = {
    "score": (verdict(replace(FACE, score=0.75)), verdict(replace(FACE, score=0.74))),
    "movement": (verdict(replace(FACE, movement=0.05)), verdict(replace(FACE, movement=0.051))),
    "second_opinion": (verdict(replace(FACE, second_opinion=0.0)), verdict(replace(FACE, second_opinion=-0.1))),
    "outside": (cut_off(0.09), cut_off(0.091)),
    "landmark_error": (verdict(shift=7.9), verdict(shift=8.1)),
    "eye_distance_px": (
        judge(shrunk(12.1), POINTS * 0.121, code()),
        judge(shrunk(11.9), POINTS * 0.119, code()),
    ),
    "turned_degrees": (verdict(parameters=code(turned=-49)), verdict(parameters=code(turned=-51))),
    "largest_shape": (verdict(parameters=code(shape=4.9)), verdict(parameters=code(shape=-5.1))),
    "arkit_residual_mm": tuple(judge(FACE, POINTS, code(), arkit_residual_mm=mm) for mm in (0.49, 0.51)),
}


@pytest.mark.parametrize("name", [limit.figure for limit in LIMITS])
def test_each_limit_decides(name):
    (limit,) = [limit for limit in LIMITS if limit.figure == name]
    fine, doubtful = EDGES[name]
    assert fine.verdict == "good" and fine.reasons == () and not fine.is_doubtful
    assert doubtful.verdict == "doubtful" and len(doubtful.reasons) == 1
    assert doubtful.reasons[0].startswith(limit.says)
    assert f"{limit.value:g} is fine" in doubtful.reasons[0]
    assert fine.figures.keys() == doubtful.figures.keys() >= {name}


def test_figures_that_are_not_known_decide_nothing():
    face = replace(FACE, movement=None, second_opinion=None)
    unknown = judge(face, None, FaceParameters(expression=torch.zeros(1, 5)), (500, 500))
    assert unknown.verdict == "good"
    assert [name for name, value in unknown.figures.items() if value is None] == [
        "movement",
        "second_opinion",
        "outside",
        "landmark_error",
        "turned_degrees",
        "largest_shape",
        "arkit_residual_mm",
    ]
    assert verdict(parameters=code(shape=50.0, units={"shape": "raw"})).figures["largest_shape"] is None


def test_a_face_that_is_not_found_again_is_doubtful_and_its_record_is_json():
    lost = verdict(replace(FACE, movement=float("inf")))
    assert lost.reasons == ("a second look finds no face",)
    assert json.loads(json.dumps(lost.describe(), allow_nan=False))["figures"]["movement"] is None


def test_every_entrance_tells_the_verdict(method, take_photo, tmp_path, monkeypatch):
    """The toy landmarker's third face has score 0.7; nothing but the score is looked at."""
    monkeypatch.setattr(quality, "LIMITS", [limit for limit in ALL_LIMITS if limit.figure == "score"])
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)
    photo = take_photo(tmp_path / "three", faces=3)
    says: list[str] = []
    report = reconstruct_to_folder(method, [photo], tmp_path / "out", say=says.append)
    reason = "the detector is not sure that this is a face (score 0.70; from 0.75 is fine)"
    records = [json.loads((tmp_path / f"out/three/face_{i}/face.json").read_text())["quality"] for i in range(3)]
    assert [record["verdict"] for record in records] == ["good", "good", "doubtful"]
    assert records[2]["reasons"] == [reason] and records[2]["figures"]["score"] == 0.7
    assert [face.quality.verdict for face in reconstruct(method, photo)] == ["good", "good", "doubtful"]
    assert says == [f"{photo}: face 2 is doubtful: {reason}"]
    assert report.doubtful == 1 and summary(report) == "3 faces from 1 photo, 1 doubtful"
    page = (tmp_path / "out/index.html").read_text()
    assert page.count('<p class="warning">') == 1 and f"doubtful: {reason}" in page
    assert "faces: 3, doubtful: 1" in page


def test_a_face_that_the_photo_cuts_off_is_doubtful(tmp_path):
    """A portrait, and what is left of it without a strip that the cheek is in; everything else is fine."""
    method = load_method("open_fit", change={"encoder": {"params": {"appearance": False}}})
    with Image.open(Path(emoca_core.__file__).parents[1] / "examples/photos/astronaut.jpg") as portrait:
        (whole,) = reconstruct(method, Path(portrait.filename))
        left = int(whole.detection.box[0] + 0.22 * np.ptp(whole.detection.box[::2]))
        portrait.crop((left, 0, *portrait.size)).save(tmp_path / "cut.png")
    (cut,) = reconstruct(method, tmp_path / "cut.png")
    assert whole.quality.verdict == "good" and whole.quality.figures["outside"] == 0
    assert 0 < whole.quality.figures["arkit_residual_mm"] < 0.5
    assert [reason for reason in cut.quality.reasons if reason.startswith("part of the face is outside of the photo (")]


def test_min_score_leaves_faces_out_and_says_so(method, take_photo, tmp_path, monkeypatch):
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)
    photo = take_photo(tmp_path / "three", faces=3)
    says: list[str] = []
    out = tmp_path / "out"
    report = reconstruct_to_folder(method, [photo], out, settings=Settings(min_score=0.75), say=says.append)
    assert (report.faces, report.left_out, report.without_face) == (2, 1, [])
    assert says[0] == f"{photo}: left out for a score below 0.75: 0.70"
    assert "1 face below the score" in summary(report)
    assert sorted(path.name for path in (out / "three").glob("face_*")) == ["face_0", "face_1"]
    assert len(reconstruct(method, photo, min_score=0.85)) == 1
    report = reconstruct_to_folder(method, [photo], out, say=says.append)  # another score is another result
    assert (report.faces, report.skipped) == (3, 0)
    with pytest.raises(ParamsError, match="min_score"):
        Settings(min_score=1.5)
