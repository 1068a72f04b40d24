"""``emoca data check`` reads every image, and names files in every message."""

import shutil

import numpy as np
import pytest
from PIL import Image

from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.preprocess import PreprocessSettings, preprocess
from emoca_core.errors import ImageError
from emoca_core.images.crops import SHARED_CROP
from emoca_core.interfaces import Landmarker
from emoca_plugins.datasets.manifest import ManifestFaces

RING = np.stack([np.cos(np.arange(68)), np.sin(np.arange(68))], 1)


class NoFace(Landmarker):
    """Finds nobody."""

    def detect(self, photo):
        return []


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def faces(tmp_path):
    """Four pictures; b.png is a.png under another name."""
    for number, name in enumerate(("a", "c", "d")):
        Image.fromarray(np.full((20, 20), 40 * number, np.uint8)).save(tmp_path / f"{name}.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    return tmp_path


def checked(folder, capsys, *rows):
    write_manifest(rows, folder / "m.parquet")
    code = main(["data", "check", str(folder / "m.parquet"), "--workers", "2"])
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert all(".png" in line or "m.parquet" in line for line in lines), "a message names its file"
    return code, lines


def test_different_pictures_in_different_splits_are_fine(faces, capsys):
    assert checked(faces, capsys, ManifestRow("a.png", "train"), ManifestRow("c.png", "test")) == (0, [])


def test_equal_files_in_one_split_are_fine_and_in_two_are_named(faces, capsys):
    assert checked(faces, capsys, ManifestRow("a.png", "train"), ManifestRow("b.png", "train")) == (0, [])
    code, [line] = checked(
        faces, capsys, ManifestRow("a.png", "train"), ManifestRow("c.png"), ManifestRow("b.png", "test")
    )
    assert code == 1 and "one picture in several splits: a.png (row 1, train), b.png (row 3, test)" in line


@pytest.mark.parametrize("again", ["a.png", "./a.png", "x/../a.png"])
def test_an_equal_path_is_named(faces, capsys, again):
    (faces / "x").mkdir()
    code, [line] = checked(faces, capsys, ManifestRow("a.png", "train"), ManifestRow(again, "train"))
    assert code == 1 and f"one face listed several times: a.png (row 1, train), {again} (row 2, train)" in line
    code, [line] = checked(faces, capsys, ManifestRow("a.png", "train"), ManifestRow(again, "test"))
    assert code == 1 and "one picture in several splits" in line


def test_two_faces_of_one_picture_are_fine(faces, capsys):
    rows = [ManifestRow("a.png", "train", box=(left, 1.0, left + 5.0, 9.0)) for left in (1.0, 10.0)]
    assert checked(faces, capsys, *rows) == (0, [])


@pytest.mark.parametrize(
    "marks",
    [
        {"box": (5.0, 5.0, 5.0, 9.0)},
        {"box": (9.0, 9.0, 5.0, 5.0)},
        {"box": (30.0, 5.0, 50.0, 9.0)},
        {"landmarks": (5.0,) * 136},
        {"landmarks": (1e30,) * 136},
        {"landmarks": tuple(map(float, range(100, 236)))},
    ],
    ids=["no width", "turned", "outside", "one point", "far away", "outside, too"],
)
def test_what_marks_nothing_is_named(faces, capsys, marks):
    """By check, and by preprocess and training where they cut by it; the other rows are done."""
    code, [line] = checked(faces, capsys, ManifestRow("a.png", "train", **marks), ManifestRow("c.png", "train"))
    (kind,) = marks
    assert code == 1 and f"a.png: nothing in it is marked by the {kind} of its row" in line
    faces_of_training = ManifestFaces(ManifestFaces.Params(file=faces / "m.parquet", crop="shared"))
    with pytest.raises(ImageError, match=r"a\.png: nothing in it is marked"):
        faces_of_training[0]
    good = ManifestRow("c.png", landmarks=(5 * RING + 10).reshape(-1).tolist())
    write_manifest([ManifestRow("a.png", **marks), good], faces / "m.parquet")
    settings = PreprocessSettings(SHARED_CROP, landmarks="keep")
    report = preprocess(Manifest.open(faces / "m.parquet"), faces / "out", NoFace(), settings)
    assert (report.done, report.failed) == (1, 1)
    assert "nothing in it is marked" in (faces / "out" / "failures.csv").read_text()


def test_landmarks_that_a_rule_cannot_use_cost_their_row_alone(faces):
    """A face on a line has an outline, but no similarity to a face."""

    class Strict(type(SHARED_CROP)):
        def __call__(self, photo, detection):
            raise ZeroDivisionError("division by zero")

    rows = [ManifestRow("a.png", landmarks=(5 * RING + 10).reshape(-1).tolist())]
    write_manifest(rows, faces / "m.parquet")
    settings = PreprocessSettings(Strict(), landmarks="keep")
    assert preprocess(Manifest.open(faces / "m.parquet"), faces / "out", NoFace(), settings).failed == 1
    assert "a.png: cannot be cut by its landmarks (division by zero)" in (faces / "out" / "failures.csv").read_text()


def test_many_repeats_are_counted(faces, capsys):
    code, [line] = checked(faces, capsys, *[ManifestRow("a.png", "train")] * 9)
    assert code == 1 and line.endswith("a.png (row 5, train) and 4 more")


def test_no_row_is_no_success(faces, capsys):
    code, [line] = checked(faces, capsys)
    assert code == 1 and "the manifest has no rows" in line


def test_missing_images_and_masks_are_named(faces, capsys):
    (faces / "text.png").write_text("no picture")
    np.save(faces / "mask.npy", np.ones((5, 5)))
    rows = [ManifestRow("gone.png"), ManifestRow("text.png"), ManifestRow("a.png", mask="mask.npy")]
    write_manifest(rows, faces / "m.csv")
    assert main(["data", "check", str(faces / "m.csv"), "--write", str(faces / "good.csv")]) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.err.splitlines()] == [
        str(faces / name) for name in ("gone.png", "text.png", "mask.npy")
    ]
    assert "0 images can be read, 3 cannot" in said.out
