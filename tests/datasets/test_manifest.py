"""Manifests: round trip, vectorised access, clear refusals, flat memory."""

import dataclasses
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
        ("", "unknown column ''"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(AssetFormatError, match=message):
        Manifest.open(tmp_path / "m.csv")


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
