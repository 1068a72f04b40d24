"""The two commands: pages and pictures, one line for what is wrong, exit codes."""

import json
import re

import numpy as np
import pytest
from browser import browser_page
from PIL import Image
from toy_benchmark import make_manifest

from emoca_core.cli import main
from emoca_core.retrieval import open_index
from emoca_core.retrieval.sheet import SIDE

BY = ["--by", "emotion:ColourBackbone", "--landmarker", "ToyLandmarker"]


def photo(index, row):
    return str(index.faces.image_path(index.faces[row]))


def test_index_prints_its_folder_and_counts(few, tmp_path, capsys):
    assert main(["index", str(few), *BY, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out'}\n"
    assert "12 faces of 13 images, 1 without a face; 3 numbers each" in err
    assert len(open_index(tmp_path / "out")) == 12


def test_index_counts_and_names_what_cannot_be_read(tmp_path, capsys):
    make_manifest(tmp_path / "photos", faces=3)
    for number in range(7):
        (tmp_path / "photos" / f"broken{number}.jpg").write_bytes(b"no picture")
    assert main(["index", str(tmp_path / "photos"), *BY, "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err.count("not a picture") == 5
    assert "and 2 more images could not be read" in err
    assert "3 faces of 11 images, 7 unreadable, 1 without a face" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent", *BY], "absent: no such file or folder"),
        (["absent.csv", *BY], "there is no manifest absent.csv"),
        (["absent", "--split", "train", *BY], "photos have no splits"),
        (["absent", "--by", "colours"], "expected emotion:BACKBONE or codes:METHOD"),
    ],
)
def test_index_refuses_in_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["index", *arguments, "--out", "out"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_retrieve_writes_a_page_that_needs_nothing_and_a_picture(index, tmp_path, capsys):
    asked = ["retrieve", photo(index, 4), "--index", str(index.folder), "--out", str(tmp_path / "out")]
    assert main([*asked, "--top", "4", "--distinct", "clip", "--every", "5"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / '004.html'}\n"
    page = (tmp_path / "out" / "004.html").read_text("utf-8")
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert page.count("<img") == 1 + 4 + 4
    assert [f"<b>{rank}: " in page for rank in (0, 1, 2, 3, 5, 10, 15, 20)] == [True] * 7 + [False]
    with Image.open(tmp_path / "out" / "004.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    red = np.asarray(Image.open(photo(index, 4)))[0, 0, 0]
    shown = pixels[40 + SIDE // 2, 12 + SIDE // 2]  # the middle of the query
    assert abs(int(shown[0]) - int(red)) <= 2


def test_the_page_shows_every_face_in_a_browser(index, tmp_path):
    assert main(["retrieve", photo(index, 4), "--index", str(index.folder), "--out", str(tmp_path)]) == 0
    with browser_page() as page:
        page.goto((tmp_path / "004.html").as_uri())
        sizes = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
        assert sizes == [SIDE] * (1 + 10 + 9)
        assert page.inner_text("h1") == "Faces like 004.png"


def test_photos_of_one_name_get_a_page_each_and_failed_ones_do_not_stop_the_others(index, tmp_path, capsys):
    for folder in ("a", "b"):
        make_manifest(tmp_path / folder, faces=1)  # and a black one
    asked = ["retrieve", str(tmp_path / "a"), str(tmp_path / "b" / "000.png"), "--index", str(index.folder)]
    assert main([*asked, "--out", str(tmp_path / "out"), "--every", "0"]) == 1
    assert sorted(file.name for file in (tmp_path / "out").glob("*.html")) == ["000-2.html", "000.html"]
    assert "001.png: no face found" in capsys.readouterr().err
    assert "whoever it is" not in (tmp_path / "out" / "000.html").read_text("utf-8")


def test_photos_of_the_index_that_are_gone_leave_an_empty_place(few, tmp_path, capsys):
    assert main(["index", str(few), *BY, "--out", str(tmp_path / "i")]) == 0
    for number in range(1, 12):
        (few.parent / f"{number:03d}.png").unlink()
    asked = ["retrieve", str(few.parent / "000.png"), "--index", str(tmp_path / "i"), "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    page = (tmp_path / "out" / "000.html").read_text("utf-8")
    assert page.count("photo not readable") == 10 + 2
    assert (tmp_path / "out" / "000.png").is_file()


def test_evaluate_prints_and_writes_the_figures(index, tmp_path, capsys):
    asked = ["retrieve", "--index", str(index.folder), "--evaluate", "--resamples", "100", "--out", str(tmp_path)]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "precision @10" in out
    assert "90 faces with a class, 30 groups by identity" in out
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["precision"]["1"]["value"] > 0.95 > written["precision"]["1"]["chance"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--index", "."], "name photos to ask for, or --evaluate"),
        (["a.png", "--index", ".", "--evaluate"], "name photos to ask for, or --evaluate"),
        (["--index", ".", "--evaluate"], "is no index"),
        (["absent.png", "--index", "."], "absent.png: no such file or folder"),
    ],
)
def test_retrieve_refuses_in_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["retrieve", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_folder_of_photos_is_asked_as_the_documentation_shows(tmp_path, capsys):
    make_manifest(tmp_path / "photos", faces=3)
    out = str(tmp_path / "i")
    assert main(["index", str(tmp_path / "photos"), *BY, "--out", out]) == 0
    asked = ["retrieve", str(tmp_path / "photos" / "000.png"), "--index", out, "--out", str(tmp_path / "found")]
    assert main(asked) == main([*asked, "--distinct", "photo"]) == 0
    capsys.readouterr()
    assert main([*asked, "--distinct", "identity"]) == 2
    said = capsys.readouterr().err
    assert "no face has identity or clip" in said and "index a manifest that has it, or take 'photo'" in said


def test_a_photo_without_a_face_is_one_line(index, tmp_path, capsys):
    black = str(index.folder.parent / "toys" / "090.png")
    assert main(["retrieve", black, "--index", str(index.folder), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"emoca: {black}: no face found\n"
    assert not (tmp_path / "out").exists()
