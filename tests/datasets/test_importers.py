"""Published layouts, written by the tests as published, become the rows that they mean."""

import csv
import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from emoca_core.cli import main
from emoca_core.datasets import ManifestRow
from emoca_core.datasets.cleaning import like_emonet
from emoca_core.datasets.importers import IMPORTERS, ImportOptions, Tally, get_importer
from emoca_core.datasets.importers.affectnet import COLUMNS
from emoca_core.datasets.masks import read_mask
from emoca_core.errors import AssetFormatError, ImageError, UnknownNameError

POINTS = [round(0.5 * i, 2) for i in range(136)]


def rows_of(name: str, root: Path, **options) -> tuple[list[ManifestRow], Tally]:
    tally = Tally()
    return list(get_importer(name)(root, ImportOptions(**options), tally)), tally


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()  # importers read labels, not pictures


# ---------------------------------------------------------------------------------- AffectNet, CSV


def line(
    path: str, expression: int | str, valence: float | str, arousal: float | str, **changes: str
) -> dict[str, str]:
    cells = (path, "10", "20", "100", "120", ";".join(map(str, POINTS)), str(expression), str(valence), str(arousal))
    return dict(zip(COLUMNS, cells, strict=True)) | changes


def write_affectnet(root: Path, lines: list[dict[str, str]], name: str = "training.csv", header: bool = True) -> Path:
    (root / "Manually_Annotated" / "Manually_Annotated_Images").mkdir(parents=True, exist_ok=True)
    with open(root / "Manually_Annotated" / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if header:
            writer.writeheader()
        writer.writerows(lines)
    return root


def test_affectnet_codes_boxes_landmarks_and_marks(tmp_path):
    lines = [line(f"1/{code}.jpg", code, 0.25, -0.5) for code in range(11)]
    lines.append(line("2/unmarked.jpg", 3, "-2", "-2", face_x="NULL", facial_landmarks=""))
    write_affectnet(tmp_path, lines)
    write_affectnet(tmp_path, [line("3/v.jpg", 1, 0.1, 0.2)], "validation.csv", header=False)
    rows, tally = rows_of("affectnet", tmp_path)
    assert [row.expression for row in rows[:8]] == [
        *("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
    ]
    first = rows[0]
    assert first.path == "Manually_Annotated/Manually_Annotated_Images/1/0.jpg"
    assert (first.split, first.valence, first.arousal) == ("train", 0.25, -0.5)
    assert first.box == (10, 20, 110, 140)
    assert list(first.landmarks) == POINTS
    unmarked, validation = rows[8:]
    assert (unmarked.expression, unmarked.valence, unmarked.arousal) == ("surprise", None, None)
    assert unmarked.box is unmarked.landmarks is None
    assert (validation.split, validation.expression) == ("validation", "happy")
    assert tally.dropped == {"class none": 1, "class uncertain": 1, "class no face": 1}
    assert tally.unknown == {"valence not annotated (-2)": 1, "arousal not annotated (-2)": 1}


def test_affectnet_columns_may_stand_in_any_order(tmp_path):
    write_affectnet(tmp_path, [])
    names = list(reversed(COLUMNS))
    cells = line("1/a.jpg", 2, 0.5, 0.25)
    with open(tmp_path / "Manually_Annotated" / "training.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, [cells[name] for name in names]])
    ((row,), _) = rows_of("affectnet", tmp_path)
    assert (row.expression, row.valence, row.arousal) == ("sad", 0.5, 0.25)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (line("a", 11, 0, 0), "line 2: expression is 11, expected a code from 0 to 10"),
        (line("a", "happy", 0, 0), "line 2: expression is 'happy', not a number"),
        (line("a", 1, 1.5, 0), r"line 2: valence is 1.5, outside \[-1, 1\]"),
        (line("a", 1, 0, 0, facial_landmarks="1;2"), "line 2: the landmarks have 2 numbers instead of 136"),
        (line("a", 1, 0, "nan"), "line 2: arousal is 'nan', not a number"),
    ],
)
def test_affectnet_bad_cells_are_named(tmp_path, cells, message):
    write_affectnet(tmp_path, [cells])
    with pytest.raises(AssetFormatError, match=message):
        rows_of("affectnet", tmp_path)


def test_affectnet_incomplete_folders_are_named(tmp_path):
    with pytest.raises(AssetFormatError, match="import affectnet8"):
        rows_of("affectnet", tmp_path)
    write_affectnet(tmp_path, [])
    (tmp_path / "Manually_Annotated" / "training.csv").write_text("subDirectory_filePath,valence\na,1\n")
    with pytest.raises(AssetFormatError, match="line 1: the column 'face_x' is missing"):
        rows_of("affectnet", tmp_path)
    (tmp_path / "Manually_Annotated" / "Manually_Annotated_Images").rmdir()
    with pytest.raises(AssetFormatError, match=r"lacks the photos of training\.csv"):
        rows_of("affectnet", tmp_path)


# ---------------------------------------------------------------------------------- AffectNet, npy


def write_affectnet8(root: Path, part: str, labels: list[tuple[int, float, float]], as_text: bool) -> Path:
    (root / part / "annotations").mkdir(parents=True)
    for number, label in enumerate(labels):
        touch(root / part / "images" / f"{number}.jpg")
        for kind, value in zip(("exp", "val", "aro"), label, strict=True):
            np.save(root / part / "annotations" / f"{number}_{kind}.npy", np.array(str(value) if as_text else value))
        np.save(root / part / "annotations" / f"{number}_lnd.npy", np.array(POINTS))
    return root


@pytest.mark.parametrize("as_text", [True, False])
def test_affectnet8(tmp_path, as_text):
    write_affectnet8(tmp_path, "train_set", [(i % 8, 0.5, -0.25) for i in range(12)], as_text)
    write_affectnet8(tmp_path, "val_set", [(7, -2, -2), (8, 0, 0)], as_text)
    touch(tmp_path / "val_set" / "images" / "extra.jpg")
    rows, tally = rows_of("affectnet8", tmp_path)
    # natural order: 2 before 10
    assert [Path(row.path).name for row in rows] == [*(f"{i}.jpg" for i in range(12)), "0.jpg"]
    assert [row.split for row in rows] == ["train"] * 12 + ["validation"]
    assert rows[1].path == "train_set/images/1.jpg"
    assert (rows[1].expression, rows[1].valence, rows[1].arousal) == ("happy", 0.5, -0.25)
    assert list(rows[1].landmarks) == POINTS
    assert (rows[12].expression, rows[12].valence) == ("contempt", None)
    assert tally.dropped == {"image without annotation": 1, "class none": 1}
    alone, _ = rows_of("affectnet8", tmp_path / "train_set")
    assert (len(alone), alone[0].split, alone[0].path) == (12, None, "images/0.jpg")


def test_affectnet8_bad_annotations_are_named(tmp_path):
    with pytest.raises(AssetFormatError, match="import affectnet"):
        rows_of("affectnet8", tmp_path)
    write_affectnet8(tmp_path, "train_set", [(1, 0, 0)], True)
    annotations = tmp_path / "train_set" / "annotations"
    (annotations / "0_val.npy").write_bytes(b"text")
    with pytest.raises(AssetFormatError, match=r"0_val\.npy is not a plain NumPy file"):
        rows_of("affectnet8", tmp_path)
    np.save(annotations / "0_val.npy", np.array({"code": "object"}), allow_pickle=True)
    with pytest.raises(AssetFormatError, match=r"0_val\.npy is not a plain NumPy file"):
        rows_of("affectnet8", tmp_path)
    np.save(annotations / "0_val.npy", np.array([1.0, 2.0]))
    with pytest.raises(AssetFormatError, match=r"0_val\.npy holds 2 values"):
        rows_of("affectnet8", tmp_path)
    (annotations / "0_val.npy").unlink()
    with pytest.raises(AssetFormatError, match=r"0_val\.npy: no such file"):
        rows_of("affectnet8", tmp_path)


# ---------------------------------------------------------------------------------------- AFEW-VA


def write_clip(root: Path, clip: str, frames: dict[str, tuple[float, float]], **more: object) -> None:
    points = np.reshape(POINTS, (68, 2)).tolist()
    content = {
        "video_id": clip,
        "frames": {n: {"landmarks": points, "valence": v, "arousal": a} for n, (v, a) in frames.items()},
    }
    (root / clip).mkdir(parents=True)
    (root / clip / f"{clip}.json").write_text(json.dumps(content | more))


def test_afew_va(tmp_path):
    write_clip(tmp_path, "010", {"00000": (-10.0, 10.0)})
    write_clip(tmp_path, "002", {"00000": (3.0, -4.0), "00001": (0.0, 7.0)}, actor="someone")
    rows, _ = rows_of("afew_va", tmp_path)
    assert [(row.path, row.clip, row.frame) for row in rows] == [
        ("002/00000.png", "002", 0),
        ("002/00001.png", "002", 1),
        ("010/00000.png", "010", 0),
    ]
    assert [(row.valence, row.arousal) for row in rows] == [(0.3, -0.4), (0.0, 0.7), (-1.0, 1.0)]
    assert [row.identity for row in rows] == ["someone", "someone", None]
    assert all(row.expression is row.split is None and list(row.landmarks) == POINTS for row in rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valence": 11}, "frame 00000: valence is 1.1, outside"),
        ({"valence": -20}, "frame 00000: valence is -2, outside"),  # not AffectNet's mark
        ({"landmarks": [[1, 2]]}, "frame 00000: the landmarks have 2 numbers"),
        ({"landmarks": [["x", 2]] * 68}, "frame 00000: the landmarks are not all numbers"),
        ({"arousal": None}, "frame 00000: arousal is 'None', not a number"),
    ],
)
def test_afew_va_bad_frames_are_named(tmp_path, change, message):
    write_clip(tmp_path, "001", {"00000": (0, 0)})
    file = tmp_path / "001" / "001.json"
    content = json.loads(file.read_text())
    content["frames"]["00000"] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(AssetFormatError, match=message):
        rows_of("afew_va", tmp_path)


def test_afew_va_bad_files_are_named(tmp_path):
    with pytest.raises(AssetFormatError, match="holds no clips of AFEW-VA"):
        rows_of("afew_va", tmp_path)
    write_clip(tmp_path, "001", {})
    for text in ("{", "[]", "{}"):
        (tmp_path / "001" / "001.json").write_text(text)
        with pytest.raises(AssetFormatError, match=r"001\.json is damaged"):
            rows_of("afew_va", tmp_path)


# ------------------------------------------------------------------------------- folders and tables


def test_folders_with_and_without_splits(tmp_path):
    for path in ("train/happy/10.png", "train/happy/9.png", "Validation/Sadness/a.JPG", "test/angry/b.png"):
        touch(tmp_path / "split" / path)
    touch(tmp_path / "split" / "train" / "happy" / "notes.txt")
    rows, _ = rows_of("folders", tmp_path / "split")
    assert [(row.path, row.split, row.expression) for row in rows] == [
        ("Validation/Sadness/a.JPG", "validation", "sad"),
        ("test/angry/b.png", "test", "anger"),
        ("train/happy/9.png", "train", "happy"),
        ("train/happy/10.png", "train", "happy"),
    ]
    touch(tmp_path / "plain" / "surprise" / "c.png")
    ((row,), _) = rows_of("folders", tmp_path / "plain")
    assert (row.path, row.split, row.expression) == ("surprise/c.png", None, "surprise")


def test_folders_that_are_something_else(tmp_path):
    with pytest.raises(AssetFormatError, match="is not a folder"):
        rows_of("folders", tmp_path / "nowhere")
    with pytest.raises(AssetFormatError, match="holds no pictures"):
        rows_of("folders", tmp_path)
    touch(tmp_path / "train" / "happy" / "a.png")
    touch(tmp_path / "happy" / "a.png")
    with pytest.raises(AssetFormatError, match=r"splits \(train\) and something else \(happy\)"):
        rows_of("folders", tmp_path)


def test_table_by_names(tmp_path):
    (tmp_path / "index.csv").write_text(
        'path,split,expression,identity,note\na.jpg,val,happiness,p1,x\n"b, c.jpg",training,Contentment,,y\n'
    )
    rows, _ = rows_of("table", tmp_path)
    assert rows == [
        ManifestRow("a.jpg", "validation", "happy", identity="p1"),
        ManifestRow("b, c.jpg", "train", "contentment"),
    ]


def test_table_with_a_map_codes_and_another_range(tmp_path):
    (tmp_path / "a.csv").write_text("file;\n")
    (tmp_path / "b.csv").write_text("file,emotion,v,a,rect\nx.png,1,1,9,1 2 3 4\ny.png,0,5,,\n")
    rows, _ = rows_of(
        "table",
        tmp_path,
        file=tmp_path / "b.csv",
        columns={"path": "file", "expression": "emotion", "valence": "v", "arousal": "a", "box": "rect"},
        classes=("angry", "fearful"),
        va_range=(1.0, 9.0),
    )
    assert rows == [
        ManifestRow("x.png", None, "fear", -1.0, 1.0, box=(1.0, 2.0, 3.0, 4.0)),
        ManifestRow("y.png", None, "anger", 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("file,v\nx,0\n", {}, r"no column 'path'; say which one it is with --columns .* It has: file, v"),
        ("path\nx\n", {"columns": {"valence": "v"}}, "no column 'v'; it has: path"),
        ("path,valence\nx,high\n", {}, "line 2: valence is 'high', not a number"),
        ("path,valence\nx,3\n", {}, "line 2: valence is 3, outside"),
        ("path,valence\nx,-3\n", {"va_range": (1.0, 9.0)}, "line 2: valence is -2, outside"),
        ("path,valence\nx\n", {}, "line 2: the cell 'valence' is missing"),
        ("path,valence\n,0\n", {}, "line 2: the path is empty"),
        ("path,box\nx,1 2\n", {}, "line 2: the box has 2 numbers"),
        ("path,expression\nx,7\n", {"classes": ("a", "b")}, "expression is 7, but 2 classes were named"),
    ],
)
def test_table_bad_input_is_named(tmp_path, text, options, message):
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(AssetFormatError, match=message):
        rows_of("table", tmp_path, **options)


def test_table_files_that_are_none(tmp_path):
    with pytest.raises(AssetFormatError, match="0 CSV files"):
        rows_of("table", tmp_path)
    (tmp_path / "index.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(AssetFormatError, match="not a text file in UTF-8"):
        rows_of("table", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'valence'"):
        rows_of("table", tmp_path, columns={"valance": "path"})


# ---------------------------------------------------------------------------------------- the rest


def test_every_importer_exists_and_unknown_ones_are_named():
    assert all(callable(get_importer(name)) for name in IMPORTERS)
    with pytest.raises(UnknownNameError, match="Did you mean 'affectnet'"):
        get_importer("afectnet")


def test_like_emonet_drops_contradictions_and_counts_them():
    tally = Tally()
    on_circle = 0.2 / math.sqrt(2)
    rows = [
        ManifestRow("calm", None, "neutral", 0.1, 0.1),
        ManifestRow("not calm", None, "neutral", on_circle + 1e-9, on_circle),
        ManifestRow("glad", None, "happy", 0.01, -0.9),
        ManifestRow("not glad", None, "happy", 0.0, 0.5),
        ManifestRow("unmarked", None, "sad", None, 0.5),
        ManifestRow("without a rule", None, "sad", 0.9, 0.9),
        ManifestRow("without a class", None, None, 0.9, 0.9),
    ]
    assert [row.path for row in like_emonet(rows, tally)] == ["calm", "glad", "without a rule", "without a class"]
    assert tally.dropped == {
        "like EmoNet: neutral contradicts valence and arousal": 1,
        "like EmoNet: happy contradicts valence and arousal": 1,
        "like EmoNet: valence or arousal not annotated": 1,
    }


def test_importers_stream(tmp_path):
    """The first row comes before the rest of the file is read."""
    write_affectnet(tmp_path, [line("a.jpg", 1, 0, 0), line("b.jpg", 99, 0, 0)])
    rows = get_importer("affectnet")(tmp_path, ImportOptions(), Tally())
    assert next(rows).path.endswith("a.jpg")
    with pytest.raises(AssetFormatError, match="line 3"):
        next(rows)


# ------------------------------------------------------------------------------------ nothing is lost


def a_layout(name: str, root: Path) -> Path:
    """The smallest data set of a layout, with one face; the innermost folder of its files."""
    if name == "folders":
        touch(root / "train" / "happy" / "deep" / "0.jpg")
        return root / "train" / "happy" / "deep"
    if name == "affectnet8":
        write_affectnet8(root, "train_set", [(1, 0.5, 0.5)], as_text=True)
        return root / "train_set" / "images"
    if name == "afew_va":
        write_clip(root, "001", {"00000": (1, 1)})
        return root / "001"
    photos, landmarks = {
        "vggface2": ("train", "train_annotated_torch7"),
        "voxceleb2": ("dev/images_cropped_full_height", "vox2_best_clips_annotated_torch7"),
    }[name]
    inner = {"vggface2": "n1", "voxceleb2": "id1/video/face"}[name]
    touch(root / photos / inner / "0.jpg")
    (root / landmarks / inner).mkdir(parents=True)
    np.save(root / landmarks / inner / "0.npy", np.array(POINTS).reshape(68, 2))
    return root / landmarks / inner


@pytest.mark.parametrize("name", ["folders", "affectnet8", "afew_va", "vggface2", "voxceleb2"])
def test_linked_folders_are_followed_and_loops_end(tmp_path, name):
    """As `reconstruct` does; the same faces as without links."""
    inner = a_layout(name, tmp_path / "set")
    before, _ = rows_of(name, tmp_path / "set")
    assert len(before) == 1
    (inner / "loop").symlink_to(tmp_path / "set", target_is_directory=True)
    moved = tmp_path / "elsewhere"
    inner.rename(moved)
    inner.symlink_to(moved, target_is_directory=True)
    rows, tally = rows_of(name, tmp_path / "set")
    assert rows == before and not tally.not_taken


def test_pictures_that_no_row_has_are_named(tmp_path):
    for path in ("train/happy/a.png", "train/happy/b.cr2", "train/c.png", "d.png", "train/happy/notes.txt"):
        touch(tmp_path / path)
    rows, tally = rows_of("folders", tmp_path)
    assert [row.path for row in rows] == ["train/happy/a.png"]
    assert {path.name: reason for path, reason in tally.not_taken} == {
        "b.cr2": "a camera raw file; export it as JPEG",
        "c.png": "it is in no folder of a class",
        "d.png": "it is in no folder of a class",
    }


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_name_that_is_not_utf8_costs_itself_alone(tmp_path, capsys):
    touch(tmp_path / "set" / "happy" / "a.png")
    try:
        touch(tmp_path / "set" / "happy" / os.fsdecode(b"b\xff.png"))
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert main(["data", "import", "folders", "--root", str(tmp_path / "set"), "--out", str(tmp_path / "m.csv")]) == 0
    said = capsys.readouterr()
    assert "1 faces" in said.out and "not taken 1" in said.out
    assert "not taken: its name is not UTF-8; rename it" in said.err


# ------------------------------------------------------------------------------------------ odd files


def test_a_table_fills_every_column(tmp_path):
    """One reader for each column of the manifest; `mask` had none."""
    points = " ".join(map(str, POINTS))
    text = {
        **{"path": "a.png", "split": "val", "expression": "Joy", "valence": "0.5", "arousal": "-0.5", "identity": "p"},
        **{"clip": "c", "frame": "3", "box": "1 2 3 4", "landmarks": points, "mask": "m.png"},
    }
    assert list(text) == [field.name for field in dataclasses.fields(ManifestRow)]
    (tmp_path / "t.csv").write_text(f"{','.join(text)}\n{','.join(text.values())}\n")
    ((row,), _) = rows_of("table", tmp_path)
    assert row == ManifestRow(
        *("a.png", "validation", "happy", 0.5, -0.5, "p", "c", 3, (1.0, 2.0, 3.0, 4.0), tuple(POINTS), "m.png")
    )


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_skipped(tmp_path, mark):
    """In every text that an importer reads."""
    file = tmp_path / "t.csv"
    file.write_bytes(f"{mark}path,split,expression\r\nfaces/a.png,train,Angry\r\n".encode())
    ((row,), _) = rows_of("table", tmp_path, file=file)
    assert (row.path, row.split, row.expression) == ("faces/a.png", "train", "anger")
    write_affectnet(tmp_path, [line("1/a.jpg", 6, 0.5, 0.25)])
    listed = tmp_path / "Manually_Annotated" / "training.csv"
    listed.write_bytes(mark.encode() + listed.read_bytes())
    ((row,), _) = rows_of("affectnet", tmp_path)
    assert row.expression == "anger"
    write_clip(tmp_path, "001", {"00000": (1, 1)})
    clip = tmp_path / "001" / "001.json"
    clip.write_bytes(mark.encode() + clip.read_bytes())
    assert len(rows_of("afew_va", tmp_path)[0]) == 1


ODD_CLIPS = {
    "a list": b"[]",
    "frames in a list": b'{"frames": []}',
    "a frame that is a number": b'{"frames": {"0": 3}}',
    "nesting": b"[" * 20_000,
    "digits": b'{"frames": {"0": {"valence": 1' + b"0" * 5000 + b', "arousal": 0, "landmarks": []}}}',
    "an actor of parts": b'{"actor": {"a": 1}, "frames": {}}',
    "no text": b"\xff\xfe\x00",
    "a frame that is a path": b'{"frames": {"/etc/0": {"valence": 0, "arousal": 0, "landmarks": []}}}',
    "landmarks of a number": b'{"frames": {"0": {"valence": 0, "arousal": 0, "landmarks": 5}}}',
    "landmarks beyond numbers": b'{"frames": {"0": {"valence": 0, "arousal": 0, "landmarks": [['
    + b"],[".join([b"1" + b"0" * 400 + b",0"] * 68)
    + b"]]}}}",
}


@pytest.mark.parametrize("name", ODD_CLIPS)
def test_an_odd_clip_is_one_line(tmp_path, name):
    (tmp_path / "001").mkdir()
    (tmp_path / "001" / "001.json").write_bytes(ODD_CLIPS[name])
    with pytest.raises(AssetFormatError, match=r"001\.json") as caught:
        rows_of("afew_va", tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,label\na," + b"x" * 131_073 + b"\n", "line 2 is not CSV: field larger than field limit"),
        (b"path," + b"x" * 131_073 + b"\n", "line 1 is not CSV: field larger than field limit"),
        (b"x" * 131_072 + b",y\n", "has no column 'path'"),
        (b"path,label\n\xff,b\n", "is not a text file in UTF-8"),
        (b"path,path\na,b\n", "has two columns 'path'"),
        (b"", "has no column 'path'"),
    ],
    ids=["long cell", "long heading", "longest heading", "no text", "twice", "nothing"],
)
def test_an_odd_table_is_one_line(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(AssetFormatError, match=message) as caught:
        rows_of("table", tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("place", ["--csv", "--list", "landmarks", "mask"])
def test_what_would_never_end_is_not_opened(tmp_path, place):
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises((AssetFormatError, ImageError), match="it is a named pipe, which is not read"):
        if place == "--csv":
            rows_of("table", tmp_path, file=tmp_path / "pipe.npy")
        elif place == "mask":
            read_mask(tmp_path / "pipe.npy", (4, 4))
        elif place == "--list":
            a_layout("vggface2", tmp_path)
            rows_of("vggface2", tmp_path, file=tmp_path / "pipe.npy")
        else:
            (a_layout("affectnet8", tmp_path).parent / "annotations" / "0_lnd.npy").unlink()
            (tmp_path / "train_set" / "annotations" / "0_val.npy").unlink()
            os.mkfifo(tmp_path / "train_set" / "annotations" / "0_val.npy")
            rows_of("affectnet8", tmp_path)


def test_an_array_that_promises_more_than_it_holds_is_one_line(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    (tmp_path / "m.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ImageError, match=r"m\.npy is not a plain NumPy file"):
        read_mask(tmp_path / "m.npy", (4, 4))
