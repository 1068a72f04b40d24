"""``emoca encode``: what is in a row, shards that a stop does not lose, two processes, the benchmark as a reader."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import toy_encode
from launch import run_workers

import emoca_core.probe.sources  # noqa: F401 - asks for the registry
from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.encoded import CARD, Encoded
from emoca_core.datasets.marked import marked
from emoca_core.encoding import EncodeSettings, encode_manifest
from emoca_core.errors import AssetFormatError, EmocaError, OutputError
from emoca_core.images.crops import SHARED_CROP, crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.probe.detections import Detections
from emoca_core.probe.sources import find_sources
from emoca_core.reconstruction import reconstruct

HERE = Path(__file__).parent
FACES = (1, 2, 0, 1, 1, 0, 0, 0, 1, 3)
"""Faces in each picture; the last but five to the last but three make a shard of 3 without any."""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The catalogue with the toy method, which the process uses."""
    (tmp_path / "toys.yaml").write_text(toy_encode.RECIPES)
    monkeypatch.setenv("EMOCA_CATALOGUE", str(tmp_path / "toys.yaml"))
    toy_encode.use_toys(monkeypatch.setattr)
    return tmp_path / "toys.yaml"


@pytest.fixture
def faces(tmp_path):
    """A manifest of ten pictures, one of them no picture."""
    rows = []
    for i, count in enumerate(FACES):
        pixels = np.full((120, 160, 3), 60 + 12 * i, np.uint8)
        pixels[:, :, 1] += np.arange(160, dtype=np.uint8) // 2
        pixels[0, 0] = count, 0, 0
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append(ManifestRow(f"{i}.png", "train" if i < 5 else "test", "happy", identity=f"p{i % 3}"))
    (tmp_path / "3.png").write_bytes(b"no picture")
    write_manifest(rows, tmp_path / "faces.csv")
    return Manifest.open(tmp_path / "faces.csv")


def test_a_row_holds_what_a_reconstruction_says(toy, faces, tmp_path):
    counts = encode_manifest(faces, "toy", tmp_path / "codes", EncodeSettings(emotion="ToyBackbone", batch_size=2))
    assert counts == {"ok": 5, "no_face": 4, "unreadable": 1}
    table = pq.read_table(tmp_path / "codes")
    status = ["ok", "ok", "no_face", "unreadable", "ok", "no_face", "no_face", "no_face", "ok", "ok"]
    assert table["status"].to_pylist() == status
    assert table["path"].to_pylist() == [f"{i}.png" for i in range(10)]
    assert table["row"].to_pylist() == list(range(10))
    assert table["identity"].to_pylist() == [f"p{i % 3}" for i in range(10)]
    from emoca_core import load_method

    method = load_method("toy", device="cpu")
    for i, row in enumerate(table.to_pylist()):
        if status[i] != "ok":
            assert {row["code.shape"], row["K"], row["quality"], row["emotion.happy"], row["score"]} == {None}
            continue
        face = reconstruct(method, faces.folder / f"{i}.png")[0]  # the largest
        for name, block in face.codes.items():
            np.testing.assert_array_equal(np.float32(row[f"code.{name}"]), block.ravel())
        np.testing.assert_allclose(np.reshape(row["K"], (3, 3)), face.camera.intrinsics)
        np.testing.assert_allclose(np.reshape(row["R"], (3, 3)), face.camera.rotation)
        np.testing.assert_allclose(row["t"], face.camera.translation)
        np.testing.assert_allclose(np.reshape(row["fitted_landmarks"], (68, 2)), face.landmarks, rtol=1e-6)
        np.testing.assert_allclose(np.reshape(row["landmarks"], (68, 2)), face.detection.landmarks["ibug68"], rtol=1e-6)
        assert row["quality"] == "doubtful", "toys do not fit their landmarks"
        assert row["doubts"] == "; ".join(r for r in face.quality.reasons if "ARKit" not in r)
        assert row["quality.landmark_error"] == pytest.approx(face.quality.figures["landmark_error"])
        photo = read_photo(faces.folder / f"{i}.png")
        cropped = SHARED_CROP(photo.pixels, face.detection)
        seen = toy_encode.ToyBackbone().requires_grad_(False)(
            crops_to_batch([cropped], [face.detection], [photo.size]).image
        )
        assert row["valence"] == pytest.approx(float(seen.valence[0].clamp(-1, 1)))
        assert row["emotion.sad"] == pytest.approx(float(seen.logits.softmax(1)[0, 1]))
    assert Encoded.open(tmp_path / "codes").units["expression"] == "activation"


def assert_same(table: pa.Table, other: pa.Table) -> None:
    """Equal but for the last bits: other batches are summed in another order."""
    assert table.schema.equals(other.schema)
    for name in table.column_names:
        mine, theirs = table[name], other[name]
        assert mine.is_null().equals(theirs.is_null()), name
        mine, theirs = mine.drop_null().to_pylist(), theirs.drop_null().to_pylist()
        if name == "doubts" or not mine or isinstance(mine[0], str):
            assert [text[:20] for text in mine] == [text[:20] for text in theirs], name
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_size_of_shards_changes_nothing_but_the_files(toy, faces, tmp_path):
    encode_manifest(faces, "toy", tmp_path / "one")
    encode_manifest(faces, "toy", tmp_path / "many", EncodeSettings(shard=3))
    files = sorted(file.name for file in (tmp_path / "many").glob("*.parquet"))
    assert files == [f"part-{start:09d}.parquet" for start in (0, 3, 6, 9)]
    whole, parts = pq.read_table(tmp_path / "one"), pq.read_table(tmp_path / "many")
    assert_same(parts, whole)
    # nobody is in pictures 5 to 7, yet their shards have all columns
    faceless = encode_manifest(faces, "toy", tmp_path / "small", EncodeSettings(shard=1))
    assert faceless["ok"] == 5
    shard = pq.read_table(tmp_path / "small" / "part-000000006.parquet")
    assert shard.schema.equals(whole.schema)
    assert_same(pq.read_table(tmp_path / "small"), whole)
    assert shard["code.shape"].null_count == 1


def test_a_killed_run_goes_on_at_the_shard(faces, tmp_path, toy):
    command = ["encode", str(faces.folder / "faces.csv"), "--recipe", "toy", "--shard", "2", "--emotion", "none"]
    command += ["--catalogue", str(toy)]
    command = [sys.executable, str(HERE / "toy_encode.py"), *command, "--out", str(tmp_path / "codes")]
    environment = os.environ | {"TOY_WORK": str(tmp_path / "work")}
    died = subprocess.run(command, env=environment | {"TOY_DIES_AT": "6"}, capture_output=True, check=False)
    assert died.returncode == 9
    done = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "codes").glob("*.parquet")}
    assert 0 < len(done) < 5
    with pytest.raises(AssetFormatError, match=r"not finished.*goes on"):
        Encoded.open(tmp_path / "codes")
    looked = len((tmp_path / "work").read_text().split())
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr  # a picture is none
    assert "5 faces of 10 images, 4 without a face, 1 unreadable" in again.stderr
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "codes").glob("*.parquet")}
    assert len(after) == 5
    kept = [name for name, time in done.items() if after[name] == time]
    assert kept, "what was done is kept"
    readable_left = 9 - sum(i != 3 for i in range(2 * len(done)))
    assert len((tmp_path / "work").read_text().split()) == looked + readable_left, "nothing is done twice"
    encode_manifest(faces, "toy", tmp_path / "whole", EncodeSettings(shard=2))
    assert pq.read_table(tmp_path / "codes").equals(pq.read_table(tmp_path / "whole"))


def test_two_processes_share_the_shards(faces, tmp_path, toy, monkeypatch):
    monkeypatch.setenv("TOY_WORK", str(tmp_path / "work"))
    command = ["encode", str(faces.folder / "faces.csv"), "--recipe", "toy", "--shard", "2", "--emotion", "none"]
    command += ["--catalogue", str(toy)]
    done = run_workers(str(HERE / "toy_encode.py"), *command, "--out", str(tmp_path / "codes"))  # counts them
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "codes"), "one speaks"
    work = (tmp_path / "work").read_text().split()
    assert set(work) == {"0", "1"}, "both look"
    assert len(work) == 9, "nobody looks twice"
    monkeypatch.delenv("TOY_WORK")
    encode_manifest(faces, "toy", tmp_path / "whole", EncodeSettings(shard=2))
    assert pq.read_table(tmp_path / "codes").equals(pq.read_table(tmp_path / "whole"))


def test_other_settings_and_other_folders_are_not_mixed(toy, faces, tmp_path):
    out = tmp_path / "codes"
    encode_manifest(faces, "toy", out)
    with pytest.raises(OutputError, match=r"other settings.*--overwrite"):
        encode_manifest(faces, "toy", out, EncodeSettings(crop="shared"))
    (out / "mine.txt").write_text("not yours")
    with pytest.raises(OutputError, match="did not make"):
        encode_manifest(faces, "toy", out, EncodeSettings(crop="shared"), overwrite=True)
    assert (out / "mine.txt").read_text() == "not yours"
    (out / "mine.txt").unlink()
    assert encode_manifest(faces, "toy", out, EncodeSettings(crop="shared"), overwrite=True)["ok"] == 5
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/me.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match="holds no codes"):
        encode_manifest(faces, "toy", tmp_path / "photos")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "toyy"], "Did you mean 'toy'"),
        (["--recipe", "blind"], "no landmarker"),
        (["--recipe", "toy", "--split", "x"], "x"),
    ],
)
def test_bad_commands_are_one_line(toy, faces, tmp_path, capsys, options, message):
    command = [
        "encode",
        str(faces.folder / "faces.csv"),
        *options,
        "--emotion",
        "none",
        "--out",
        str(tmp_path / "codes"),
    ]
    assert main([*command, "--catalogue", str(toy)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_nobody_in_the_pictures_is_an_error(toy, faces, tmp_path):
    table = faces.table.take(pa.array([2, 5, 6]))
    with pytest.raises(EmocaError, match="no face in 3 images"):
        encode_manifest(Manifest(table, faces.folder), "toy", tmp_path / "codes")


def test_the_benchmark_reads_it_by_path(toy, faces, tmp_path):
    encode_manifest(faces, "toy", tmp_path / "codes", EncodeSettings(shard=4))
    (source,), unavailable = find_sources([str(tmp_path / "codes")])
    assert not unavailable
    assert source.name == "codes"
    assert source.inputs == ("expression", "shape")
    table = pq.read_table(tmp_path / "codes")
    found = source.encode_rows(faces, Detections({}, {}), [8, 0, 2])
    expected = [table["code.expression"][8].as_py() + table["code.shape"][8].as_py()]
    np.testing.assert_array_equal(found[0].numpy(), np.float32(expected[0]))
    assert torch.isfinite(found[:2]).all()
    assert torch.isnan(found[2]).all(), "no face, no code"
    stranger = Manifest(pa.Table.from_pylist([{"path": "else.png"}]), faces.folder)
    with pytest.raises(EmocaError, match=r"no code of else\.png"):
        source.encode_rows(stranger, Detections({}, {}), [0])


def test_faces_are_cut_without_looking_for_them_again(toy, faces, tmp_path, monkeypatch, capsys):
    encode_manifest(faces, "toy", tmp_path / "codes", EncodeSettings(shard=4))
    monkeypatch.setenv("TOY_WORK", str(tmp_path / "work"))
    command = ["data", "preprocess", str(faces.folder / "faces.csv"), "--landmarker", "ToyLandmarker", "--workers", "1"]
    assert main([*command, "--out", str(tmp_path / "seen")]) == 1
    assert len((tmp_path / "work").read_text().split()) == 9, "one look at each readable picture"
    (tmp_path / "work").unlink()
    assert main([*command, "--codes", str(tmp_path / "codes"), "--out", str(tmp_path / "known")]) == 1
    assert not (tmp_path / "work").exists(), "nobody looked"
    seen, known = (Manifest.open(tmp_path / out / "manifest.parquet") for out in ("seen", "known"))
    assert len(seen) == len(known) == 5
    for row in range(5):
        one, other = seen[row], known[row]
        assert (one.path, one.split, one.identity, one.expression) == (
            (other.path, other.split, other.identity, other.expression)
        )
        np.testing.assert_allclose(other.landmarks, one.landmarks, atol=1e-3)  # codes hold float32
        pictures = [np.asarray(Image.open(m.image_path(m[row])), int) for m in (seen, known)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
    failures = (tmp_path / "known" / "failures.csv").read_text()
    assert failures.count("no face was found") == 4
    assert failures.count("3.png") >= 1


def test_marks_of_another_face_stay(toy, faces, tmp_path):
    encode_manifest(faces, "toy", tmp_path / "codes")
    codes = Encoded.open(tmp_path / "codes")
    found = codes.table(["box", "landmarks"]).to_pylist()
    near = [float(np.float32(x)) for x in np.array(found[0]["box"]) + 1]
    rows = [
        ManifestRow("0.png", box=near),
        ManifestRow("1.png", box=(0.0, 0.0, 3.0, 3.0)),
        ManifestRow("2.png", box=(0.0, 0.0, 3.0, 3.0)),
        ManifestRow("5.png"),
        ManifestRow("8.png"),
    ]
    write_manifest(rows, tmp_path / "marks.csv")
    made = marked(Manifest.open(tmp_path / "marks.csv"), codes)
    assert made[0].box == found[0]["box"], "the same face: the code's box"
    assert made[0].landmarks == found[0]["landmarks"]
    for row in (1, 2):  # another face than the largest; a face where none was found
        assert (made[row].box, made[row].landmarks) == ([0, 0, 3, 3], None)
    assert (made[3].box, made[3].landmarks) == (None, None), "no face"
    assert made[4].landmarks == found[8]["landmarks"]
    write_manifest([ManifestRow("else.png")], tmp_path / "else.csv")
    with pytest.raises(EmocaError, match=r"no code of else\.png"):
        marked(Manifest.open(tmp_path / "else.csv"), codes)


def test_damaged_folders_are_refused(toy, faces, tmp_path):
    encode_manifest(faces, "toy", tmp_path / "codes", EncodeSettings(shard=5))
    shard = tmp_path / "codes" / "part-000000005.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-40])
    with pytest.raises(AssetFormatError, match="damaged: remove it"):
        Encoded.open(tmp_path / "codes").blocks(["shape"])
    shard.write_bytes(whole)
    with pytest.raises(AssetFormatError, match=r"no column 'code\.detail'"):
        Encoded.open(tmp_path / "codes").blocks(["detail"])
    card = json.loads((tmp_path / "codes" / CARD).read_text())
    (tmp_path / "codes" / CARD).write_text(json.dumps(card | {"rows": 11}))
    with pytest.raises(AssetFormatError, match="10 rows, its card says 11"):
        Encoded.open(tmp_path / "codes").table(["path"])
    (tmp_path / "codes" / CARD).write_text(json.dumps(card | {"files": ["../part.parquet"]}))
    with pytest.raises(AssetFormatError):
        Encoded.open(tmp_path / "codes")
