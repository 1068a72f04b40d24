"""Manifests: round trip, vectorised access, clear refusals, flat memory."""

import dataclasses
import datetime
import math
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.manifest import SCHEMA
from emoca_core.errors import AssetFormatError

ROWS = [
    ManifestRow(
        "a.png", "train", "happy", 0.5, -0.25, "p1", "c1", 3, (0.0, 1.0, 2.0, 3.0), tuple(map(float, range(136)))
    ),
    ManifestRow("b, with comma.png", "test", "sad"),
    ManifestRow("c.png", "train", None, valence=-1.0, arousal=1.0),
]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_is_written_is_read(tmp_path, suffix):
    assert write_manifest(iter(ROWS), tmp_path / f"m{suffix}") == 3
    manifest = Manifest.open(tmp_path / f"m{suffix}")
    assert len(manifest) == 3
    first = manifest[0]
    assert (first.path, first.expression, first.valence, first.frame) == ("a.png", "happy", 0.5, 3)
    assert list(first.box) == [0, 1, 2, 3]
    assert list(first.landmarks) == list(range(136))
    assert manifest[1].path == "b, with comma.png"
    assert manifest[1].box is None
    assert manifest.image_path(first) == tmp_path / "a.png"


def test_columns_are_read_at_once(tmp_path):
    write_manifest(ROWS, tmp_path / "m.parquet")
    manifest = Manifest.open(tmp_path / "m.parquet", root="/photos")
    assert manifest.classes(("sad", "happy")).tolist() == [1, 0, -1]
    np.testing.assert_array_equal(manifest.numbers("valence"), np.float32([0.5, np.nan, -1]))
    assert manifest.rows_of("train").tolist() == [0, 2]
    assert manifest.texts("identity") == ["p1", None, None]
    assert str(manifest.image_path(manifest[0])) == "/photos/a.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,valance\na,0\n", "unknown column 'valance'. Did you mean 'valence'"),
        ("valence\n0\n", "the column 'path' is missing"),
        ("path,valence\na,high\n", "not a valid manifest: .*high"),
        ("path,valence\na,0\nb,-2\n", "row 2: valence is -2.0, outside"),
        ("path,box\na,1 2 3\n", "row 1: box has 3 numbers instead of 4"),
        ("", "not a valid manifest: Empty CSV file"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(AssetFormatError, match=message):
        Manifest.open(tmp_path / "m.csv")


ODD_TABLES = {
    "a struct": ({"path": ["a"], "expression": [{"x": 1}]}, r"m.parquet: the column 'expression' holds struct<x"),
    "lists": ({"path": ["a"], "split": [["train"]]}, "the column 'split' holds list<"),
    "bytes": ({"path": [b"a\xff"]}, "the column 'path' holds binary"),
    "halves": ({"path": ["a"], "frame": [3.5]}, "the column 'frame' holds double"),
    "too large": ({"path": ["a"], "frame": pa.array([2**63 + 5], pa.uint64())}, "the column 'frame' holds uint64"),
    "dates": ({"path": ["a"], "frame": [datetime.date(2020, 1, 1)]}, "the column 'frame' holds date32"),
    "points in pairs": ({"path": ["a"], "landmarks": [[[1.0, 2.0]] * 68]}, "the column 'landmarks' holds list"),
    "words": ({"path": ["a"], "valence": ["high"]}, "the column 'valence' holds string"),
    "no path": ({"path": pa.array([None, None])}, "row 1: the path is empty"),
    "an empty path": ({"path": ["a", ""]}, "row 2: the path is empty"),
    "a NUL": ({"path": ["a", "b\0c"]}, "row 2: the path holds a NUL"),
    "a NUL in a mask": ({"path": ["a"], "mask": ["b\0c"]}, "row 1: the mask holds a NUL"),
    "a box without a number": ({"path": ["a", "b"], "box": [None, [1, None, 3, 4]]}, "row 2: box holds something that"),
    "NaN among points": ({"path": ["a"], "landmarks": [[math.nan] * 136]}, "row 1: landmarks holds something that"),
    "infinite valence": ({"path": ["a"], "valence": [math.inf]}, r"row 1: valence is inf, outside \[-1, 1\]"),
    "no column": ({}, "the column 'path' is missing"),
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_an_odd_table_is_one_line_that_names_it(tmp_path, name):
    columns, message = ODD_TABLES[name]
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    with pytest.raises(AssetFormatError, match=message) as caught:
        Manifest.open(tmp_path / "m.parquet")
    assert str(caught.value).startswith(str(tmp_path / "m.parquet")) and "\n" not in str(caught.value)
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 0


def test_text_that_is_no_text_is_found_when_the_file_is_opened(tmp_path):
    odd = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"a\xc0"))
    pq.write_table(pa.table({"path": odd}), tmp_path / "m.parquet")
    with pytest.raises(AssetFormatError, match=r"m.parquet is not a valid manifest: .*UTF8"):
        Manifest.open(tmp_path / "m.parquet")


def test_types_that_mean_the_same_are_read(tmp_path):
    """As pandas and others write them: categories, numbers for names, large texts, empty texts for nothing."""
    columns = {
        "path": pa.array(["a", "b"], pa.large_string()),
        "expression": pa.array(["Angry", None]).dictionary_encode(),
        "identity": [17.0, 18.0],
        "clip": ["", "c"],
        "mask": ["", "m.png"],
        "frame": [3.0, None],
        "box": pa.array([[1.0, 2, 3, 4], None], pa.list_(pa.float64(), 4)),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    first, second = (Manifest.open(tmp_path / "m.parquet")[row] for row in range(2))
    assert (first.path, first.expression, first.identity, first.frame) == ("a", "anger", "17", 3)
    assert first.clip is None and first.mask is None and list(first.box) == [1, 2, 3, 4]
    assert (second.expression, second.clip, second.mask, second.box) == (None, "c", "m.png", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path," + b"x" * 131_072 + b"\na,b\n", "unknown column 'x{80}..."),
        (b"path," + b"x" * 3_000_000 + b"\na,b\n", "is not a valid manifest"),
        (b"path,path\na,b\n", "two columns 'path'"),
        (b"path,split\n,b\n", "row 1: the path is empty"),
        (b"path,split\na\0,b\n", "row 1: the path holds a NUL"),
        (b"path,split\na,b,c\n", "Expected 2 columns, got 3"),
        ("path\nä\n".encode("latin-1"), "is not a valid manifest"),
        ("path\na\n".encode("utf-16"), "is text in UTF-16"),
        (b"path,box\na,1 2 inf 4\n", "row 1: box holds something that is no finite number"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_odd_text_is_one_line_that_names_it(tmp_path, content, message):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(AssetFormatError, match=message) as caught:
        Manifest.open(tmp_path / "m.csv")
    assert str(tmp_path / "m.csv") in str(caught.value) and len(str(caught.value)) < 600


def test_text_as_spreadsheets_write_it(tmp_path):
    """A byte order mark, Windows' line ends, more than one space, a line end in a name."""
    text = '\ufeffpath,split,box\r\na.png,train,1 2  3 4 \r\n"b\n.png",validation,\r\n'
    (tmp_path / "m.CSV").write_bytes(text.encode())
    manifest = Manifest.open(tmp_path / "m.CSV")
    assert manifest.texts("path") == ["a.png", "b\n.png"] and manifest.texts("split") == ["train", "validation"]
    assert list(manifest[0].box) == [1, 2, 3, 4] and manifest[1].box is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_would_never_end_is_not_opened(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"folder{suffix}").mkdir()
    for name, kind in (("pipe", "a named pipe"), ("zero", "a device"), ("folder", "a folder")):
        with pytest.raises(AssetFormatError, match=f"{name}{suffix}: it is {kind}, which is not read"):
            Manifest.open(tmp_path / f"{name}{suffix}")


def test_a_table_that_promises_too_many_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_LIMIT_TABLE_ROWS", "2")
    write_manifest(ROWS[:2], tmp_path / "two.parquet")
    assert len(Manifest.open(tmp_path / "two.parquet")) == 2
    write_manifest(ROWS, tmp_path / "three.parquet")
    with pytest.raises(AssetFormatError, match=r"three.parquet: 3 rows are more than the limit of 2"):
        Manifest.open(tmp_path / "three.parquet")


def test_what_is_not_a_manifest_is_refused(tmp_path):
    with pytest.raises(AssetFormatError, match="there is no manifest"):
        Manifest.open(tmp_path / "m.csv")
    with pytest.raises(AssetFormatError, match=r"expected a .parquet or .csv"):
        Manifest.open(tmp_path / "m.txt")
    (tmp_path / "m.parquet").write_text("text")
    with pytest.raises(AssetFormatError, match="not a valid manifest"):
        Manifest.open(tmp_path / "m.parquet")


def test_an_unknown_split_lists_those_that_exist(tmp_path):
    write_manifest(ROWS, tmp_path / "m.parquet")
    with pytest.raises(AssetFormatError, match=r"no split 'trian'. Did you mean 'train'\? It has: test, train"):
        Manifest.open(tmp_path / "m.parquet").rows_of("trian")


def test_a_changed_file_is_read_again(tmp_path):
    for count in (1, 3):
        write_manifest(ROWS[:count], tmp_path / "m.csv")
        assert len(Manifest.open(tmp_path / "m.csv")) == count


def test_a_failed_write_leaves_nothing(tmp_path):
    def rows():
        yield ROWS[0]
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError):
        write_manifest(rows(), tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()


@pytest.mark.slow
def test_a_million_rows_use_flat_memory(tmp_path):
    """The rows with landmarks take 0.6 GB; reading 1,000 of them must not bring them into memory."""
    rows = [ManifestRow("x" * 40, "train", "happy", 0.1, 0.2, landmarks=[0.0] * 136)] * 8000
    batch = pa.RecordBatch.from_pylist([dataclasses.asdict(row) for row in rows], SCHEMA)
    with pq.ParquetWriter(tmp_path / "m.parquet", SCHEMA) as writer:
        for _ in range(125):
            writer.write(batch)
    program = (
        "import sys, resource; from emoca_core.datasets import Manifest\n"
        "m = Manifest.open(sys.argv[1]); m = Manifest.open(sys.argv[1])\n"
        "rss = lambda: [int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon')][0]\n"
        "before = rss(); assert len(m) == 1_000_000\n"
        "for i in range(0, 1_000_000, 1000): m[i]\n"
        "m.numbers('valence'); m.classes(('happy',)); print(rss() - before)"
    )
    out = subprocess.run([sys.executable, "-c", program, str(tmp_path / "m.parquet")], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) < 100_000, f"{out.stdout} kB of anonymous memory"
