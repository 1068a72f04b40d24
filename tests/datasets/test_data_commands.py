"""``emoca data``: from a published layout to checked crops, with stops and bad files on the way."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emoca_core.claims import LOCK, Claim
from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.preprocess import PART, PreprocessSettings, preprocess
from emoca_core.errors import EmocaError, OutputError
from emoca_core.images.crops import SHARED_CROP, transform_points
from emoca_core.interfaces import Detection, Landmarker
from emoca_plugins.encoders.box_crops import SmirkCrop


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


RING = np.stack([np.cos(np.arange(68)), np.sin(np.arange(68))], 1)


class BrightSpots(Landmarker):
    """A face is a white square; its points lie on a circle in it. Knows no other faces."""

    detected = 0

    def detect(self, photo):
        type(self).detected += 1
        middle, faces = photo.shape[1] // 2, []
        for left, half in ((0, photo[:, :middle]), (middle, photo[:, middle:])):
            rows, columns = np.nonzero(half[..., 0] == 255)
            if len(rows):
                box = np.array([columns.min() + left, rows.min(), columns.max() + left, rows.max()], float)
                centre, radius = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
                faces.append(Detection(box, 0.9, {"ibug68": centre + radius * RING}))
        return sorted(faces, key=lambda face: -(face.box[2:] - face.box[:2]).prod())


def picture(path: Path, *squares: tuple[int, int, int]) -> None:
    """A grey photo of 200 x 120 pixels with white squares (left, top, side)."""
    pixels = np.full((120, 200, 3), 60, np.uint8)
    for left, top, side in squares:
        pixels[top : top + side, left : left + side] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path) -> Manifest:
    """Enough rows for two parts; one photo is empty of faces, one damaged, one missing."""
    rows = []
    for number in range(PART + 6):
        picture(tmp_path / "in" / f"{number}.png", (20 + number % 30, 30, 40))
        rows.append(ManifestRow(f"{number}.png", "train", "happy", 0.5, 0.25, f"p{number}"))
    picture(tmp_path / "in" / "3.png")
    (tmp_path / "in" / "5.png").write_bytes((tmp_path / "in" / "6.png").read_bytes()[:100])
    (tmp_path / "in" / "66.png").unlink()
    write_manifest(rows, tmp_path / "in" / "m.parquet")
    return Manifest.open(tmp_path / "in" / "m.parquet")


def read_failures(out: Path) -> list[dict[str, str]]:
    with open(out / "failures.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_crops_carry_labels_landmarks_and_the_pixels_of_the_rule(photos, tmp_path):
    out = tmp_path / "out"
    report = preprocess(photos, out, BrightSpots(), PreprocessSettings(SHARED_CROP))
    assert (report.done, report.failed) == (PART + 3, 3)
    failures = read_failures(out)
    assert [(f["row"], f["path"]) for f in failures] == [("3", "3.png"), ("5", "5.png"), ("66", "66.png")]
    assert "no face was found" in failures[0]["reason"]
    assert "damaged" in failures[1]["reason"]
    assert "no such file" in failures[2]["reason"]
    made = Manifest.open(report.manifest)
    row = made[1]
    photo = np.asarray(Image.open(tmp_path / "in" / "1.png"))
    (detection,) = BrightSpots().detect(photo)
    face = SHARED_CROP(photo, detection)
    np.testing.assert_array_equal(np.asarray(Image.open(made.image_path(row))), face.image)
    expected = transform_points(face.image_to_crop, detection.landmarks["ibug68"])
    np.testing.assert_allclose(np.reshape(row.landmarks, (68, 2)), expected, atol=1e-3)  # stored as float32
    corners = transform_points(face.image_to_crop, detection.box.reshape(2, 2)).reshape(-1)
    np.testing.assert_allclose(row.box, corners, atol=1e-3)
    assert (row.split, row.expression, row.valence, row.arousal, row.identity) == ("train", "happy", 0.5, 0.25, "p1")


def test_a_stopped_run_goes_on_where_it_was(photos, tmp_path):
    class Stopped(BrightSpots):
        detected = 0

        def detect(self, photo):
            if type(self).detected > PART:
                raise KeyboardInterrupt
            return super().detect(photo)

    Stopped.__name__, out = "BrightSpots", tmp_path / "out"
    settings = PreprocessSettings(SmirkCrop(size=64))
    with pytest.raises(KeyboardInterrupt):
        preprocess(photos, out, Stopped(), settings)
    assert not (out / "manifest.parquet").exists()
    BrightSpots.detected = 0
    report = preprocess(photos, out, BrightSpots(), settings)
    assert 0 < BrightSpots.detected <= 6  # only the second part
    whole = preprocess(photos, tmp_path / "whole", BrightSpots(), settings)
    assert (report.done, report.failed) == (whole.done, whole.failed)
    assert report.manifest.read_bytes() == whole.manifest.read_bytes()
    for row in range(report.done):
        faces = [Manifest.open(r.manifest).image_path(Manifest.open(r.manifest)[row]) for r in (report, whole)]
        assert faces[0].read_bytes() == faces[1].read_bytes()
    with pytest.raises(OutputError, match=r"other settings \(changed: format\)"):
        preprocess(photos, out, BrightSpots(), PreprocessSettings(SmirkCrop(size=64), format="jpg"))


def test_of_several_faces_the_labelled_one_is_taken(tmp_path):
    picture(tmp_path / "a.png", (10, 10, 60), (140, 30, 30))
    rows = [
        ManifestRow("a.png", identity="largest"),
        ManifestRow("a.png", identity="small", box=(135.0, 25.0, 175.0, 65.0)),
        ManifestRow("a.png", identity="nobody", box=(100.0, 100.0, 110.0, 110.0)),
    ]
    write_manifest(rows, tmp_path / "m.csv")
    report = preprocess(
        Manifest.open(tmp_path / "m.csv"), tmp_path / "out", BrightSpots(), PreprocessSettings(crop=None)
    )
    made = Manifest.open(report.manifest)
    assert [list(made[i].box) for i in range(2)] == [[10, 10, 69, 69], [140, 30, 169, 59]]
    assert made.image_path(made[0]).resolve() == tmp_path / "a.png"  # whole images stay where they are
    assert [f["row"] for f in read_failures(tmp_path / "out")] == ["2"]


def test_known_landmarks_are_kept_without_looking(tmp_path):
    picture(tmp_path / "a.png")
    points = 30 * RING + (100, 60)
    write_manifest([ManifestRow("a.png", landmarks=points.reshape(-1).tolist())], tmp_path / "m.parquet")
    manifest = Manifest.open(tmp_path / "m.parquet")
    BrightSpots.detected = 0
    settings = PreprocessSettings(SHARED_CROP, landmarks="keep", format="jpg")
    report = preprocess(manifest, tmp_path / "out", BrightSpots(), settings)
    assert BrightSpots.detected == 0
    made = Manifest.open(report.manifest)[0]
    assert made.path.endswith("_a.jpg")
    # the middle of the points' box is the middle of the crop
    middle = np.reshape(made.landmarks, (68, 2))
    np.testing.assert_allclose((middle.min(0) + middle.max(0)) / 2, 111.5, atol=1e-3)


@pytest.mark.slow
def test_two_processes_make_the_same(tmp_path, monkeypatch):
    from skimage.data import astronaut

    monkeypatch.setattr("emoca_core.datasets.preprocess.PART", 2)
    Image.fromarray(astronaut()[:320, 60:380]).save(tmp_path / "a.png")
    write_manifest([ManifestRow("a.png", identity=str(i)) for i in range(5)], tmp_path / "m.parquet")
    for workers in ("1", "2"):
        arguments = ["--out", str(tmp_path / workers), "--workers", workers, "--size", "64"]
        assert main(["data", "preprocess", str(tmp_path / "m.parquet"), *arguments]) == 0
    one, two = (Manifest.open(tmp_path / name / "manifest.parquet") for name in ("1", "2"))
    assert one.table.equals(two.table)
    assert one.texts("identity") == ["0", "1", "2", "3", "4"]
    assert one.image_path(one[0]).read_bytes() == two.image_path(two[0]).read_bytes()


WAITING = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from emoca_core.datasets.preprocess import _take_job

if __name__ == "__main__":
    import os
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _take_job, (None,)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes the Linux way")
def test_no_worker_outlives_a_killed_run(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "waiting.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with run:
        worker = int(run.stdout.readline())
        os.kill(worker, 0)  # it is there
        run.kill()
    deadline = time.monotonic() + 60
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(worker)


def _alive(process: int) -> bool:
    """Whether a process runs; one that has ended may remain in the table until its new parent looks at it."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# -------------------------------------------------------------------------------- the command line


def test_import_check_split(tmp_path, capsys):
    for place, split in enumerate(("train", "test")):
        for name in ("happy", "angry"):
            for number in range(5):
                square = (10 * number, 40 * place, 20 + len(name) % 2)  # no two pictures are alike
                picture(tmp_path / "fer" / split / name / f"{number}.png", square)
    out = tmp_path / "lists" / "m.parquet"
    assert main(["data", "import", "folders", "--root", str(tmp_path / "fer"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "20 faces" in said
    assert "train 10" in said
    assert "anger 10" in said
    manifest = Manifest.open(out)
    assert manifest.image_path(manifest[0]).is_file()  # although the manifest is in another folder

    (tmp_path / "fer" / "train" / "happy" / "3.png").write_bytes(b"not a picture")
    good = tmp_path / "elsewhere" / "deep" / "good.csv"
    assert main(["data", "check", str(out), "--write", str(good), "--workers", "2"]) == 1
    captured = capsys.readouterr()
    assert "19 images can be read, 1 cannot" in captured.out
    assert "3.png" in captured.err
    assert captured.err.count("\n") == 1
    assert main(["data", "check", str(good)]) == 0

    parts = ["--split", "train=0.5", "validation=0.5", "--seed", "1"]
    assert main(["data", "split", str(good), "--out", str(tmp_path / "s.parquet"), *parts]) == 0
    said = capsys.readouterr().out
    assert "validation" in said
    assert len(said.split("  split ")[1].strip()) == 64
    sizes = [len(Manifest.open(tmp_path / "s.parquet").rows_of(name)) for name in ("train", "validation")]
    assert sorted(sizes) == [9, 10]


def test_import_with_cleaning_and_folds(tmp_path, capsys):
    lines = "".join(f"{i}.png,neutral,{0.1 * (i % 4)},0\n" for i in range(20))
    (tmp_path / "labels.csv").write_text("file,label,valence,arousal\n" + lines)
    arguments = ["data", "import", "table", "--root", str(tmp_path), "--out", str(tmp_path / "m.csv")]
    columns = ["--columns", "path=file", "expression=label"]
    assert main([*arguments, *columns, "--like-emonet", "--folds", "5"]) == 0
    said = capsys.readouterr().out
    assert "10 faces" in said
    assert "dropped 10: like EmoNet: neutral contradicts valence and arousal" in said
    assert "fold_0 2, fold_1 2, fold_2 2, fold_3 2, fold_4 2" in said
    assert len(Manifest.open(tmp_path / "m.csv").rows_of("fold_3")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "afectnet", "--root", ".", "--out", "m.parquet"], "Did you mean 'affectnet'"),
        (["import", "folders", "--root", "nowhere", "--out", "m.parquet"], "nowhere is not a folder"),
        (["import", "folders", "--root", "data", "--out", "m.txt"], r"ends in .parquet or .csv"),
        (["import", "table", "--root", ".", "--out", "m.csv", "--columns", "path"], "expected NAME=VALUE"),
        (["import", "table", "--root", ".", "--out", "m.csv", "--columns", "path=a", "path=b"], "has two values"),
        (["split", "faces.csv", "--out", "m.csv", "--split", "train=lots"], "could not convert string to float"),
        (["split", "faces.csv", "--out", "m.csv"], "--split --folds is required"),
        (["split", "faces.csv", "--out", "m.csv", "--folds", "99"], "2 groups cannot be split into 99 parts"),
        *(
            (["split", "faces.csv", "--out", "m.csv", "--split", *shares], "--split: shares are numbers above 0")
            for shares in (["a=inf"], ["a=nan"], ["a=0"], ["a=-1"], ["a=1e400"], ["a=1.5"], ["a=0.9", "b=0.9"])
        ),
        *(
            (["import", "table", "--root", ".", "--out", "m.csv", "--va-range", *ends], "must be finite, the first")
            for ends in (["0", "inf"], ["nan", "1"], ["9", "1"], ["2", "2"])
        ),
        (["check", "nothing.csv"], "there is no manifest nothing.csv"),
        (["check", "faces.csv", "--classes", "happy,joy"], "a set of classes names every class once, not: happy, joy"),
        (["check", "faces.csv", "--workers", "0"], "'0' is no whole number from 1"),
        (["preprocess", "faces.csv", "--out", "o", "--crop", "shred"], "Did you mean 'shared'"),
        (["preprocess", "faces.csv", "--out", "o", "--landmarker", "medapipe"], "Did you mean 'mediapipe'"),
    ],
)
def test_bad_input_is_one_clear_message(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "happy").mkdir(parents=True)
    (tmp_path / "data" / "happy" / "a.png").touch()
    write_manifest([ManifestRow("a.png"), ManifestRow("b.png")], tmp_path / "faces.csv")
    assert main(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "o").exists()


def test_nothing_usable_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("emoca_core.registry.Registry.build", lambda *_: BrightSpots())
    picture(tmp_path / "a.png")
    write_manifest([ManifestRow("a.png")], tmp_path / "m.parquet")
    assert (
        main(["data", "preprocess", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "o"), "--workers", "1"]) == 2
    )
    assert "1 images failed" in capsys.readouterr().err


def test_join_takes_whole_manifests_and_single_splits(tmp_path, capsys):
    def rows(prefix: str, *splits: str) -> list[ManifestRow]:
        return [ManifestRow(path=f"{prefix}{n}.png", identity=f"{n}", split=split) for n, split in enumerate(splits)]

    one, other = tmp_path / "one" / "faces.parquet", tmp_path / "other.csv"
    one.parent.mkdir()
    write_manifest(iter(rows("images/a", "train", "validation", "train")), one)
    write_manifest(iter(rows("b", "test", "train")), other)
    out = tmp_path / "joined" / "both.parquet"
    out.parent.mkdir()
    words = [f"{one}:train", str(other), f"{one}:validation", f"{one}:validation"]
    assert main(["data", "join", *words, "--out", str(out)]) == 0
    joined = Manifest.open(out)
    paths = [joined[number].path for number in range(len(joined))]
    one_images = os.path.join("..", "one", "images")
    assert paths == [
        *(os.path.join(one_images, "a0.png"), os.path.join(one_images, "a2.png")),
        *(os.path.join("..", "b0.png"), os.path.join("..", "b1.png")),
        *2 * (os.path.join(one_images, "a1.png"),),
    ]
    assert [joined[number].split for number in range(6)] == ["train", "train", "test", "train", *2 * ["validation"]]
    assert "6 faces" in capsys.readouterr().out


def test_join_names_the_splits_that_there_are(tmp_path, capsys):
    write_manifest(iter([ManifestRow(path="a.png", split="train")]), tmp_path / "faces.csv")
    out = tmp_path / "out.csv"
    assert main(["data", "join", f"{tmp_path / 'faces.csv'}:trian", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "trian" in error and "train" in error and "Traceback" not in error
    assert not out.exists()


def test_a_folder_is_filled_by_one_process_at_a_time(photos, tmp_path):
    out, settings = tmp_path / "out", PreprocessSettings(SHARED_CROP)
    out.mkdir()
    claim = Claim.take(out)
    with pytest.raises(OutputError, match="another process is filling"):
        preprocess(photos, out, BrightSpots(), settings)
    assert [path.name for path in out.iterdir()] == [LOCK]
    claim.release()
    preprocess(photos, out, BrightSpots(), settings)
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("name", ["settings.json", "000000000.json", "000000000.parquet"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_damaged_progress_is_one_line_that_names_it(photos, tmp_path, name, content):
    out, settings = tmp_path / "out", PreprocessSettings(SHARED_CROP)
    preprocess(photos, out, BrightSpots(), settings)
    (out / "progress" / name).write_bytes(content)
    with pytest.raises(EmocaError, match=rf"^[^\n]*{name}[^\n]*$"):
        preprocess(photos, out, BrightSpots(), settings)
