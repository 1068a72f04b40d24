"""``emoca data check`` reads every image, and names files in every message."""

import shutil

import numpy as np
import pytest
from PIL import Image

from emoca_core.cli import main
from emoca_core.datasets import ManifestRow, write_manifest


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
