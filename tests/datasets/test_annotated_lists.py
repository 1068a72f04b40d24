"""VGGFace2 and VoxCeleb2 in DECA's layout, written by the tests, and what becomes of their segmentations."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from emoca_core import get_registry
from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.importers import ImportOptions, Tally, get_importer
from emoca_core.datasets.masks import read_mask, warp_mask
from emoca_core.errors import AssetFormatError, ImageError
from emoca_core.images.crops import SHARED_CROP, transform_points
from emoca_core.interfaces import Detection

POINTS = np.random.default_rng(0).uniform(20, 70, (68, 2)).astype(np.float32)
HEIGHT, WIDTH = 80, 100


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save_array(path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def save_photo(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(path)


def left_half() -> np.ndarray:
    """Skin on the left, with values on both sides of the published threshold."""
    return np.where(np.arange(WIDTH) < WIDTH // 2, 0.51, 0.49) * np.ones((HEIGHT, 1))


def write_vggface2(root, names, with_mask=()):
    for name in names:
        save_photo(root / "train" / f"{name}.jpg")
        save_array(root / "train_annotated_torch7" / f"{name}.npy", POINTS)
    for name in with_mask:
        save_array(root / "seg" / f"{name}.npy", left_half())
    return root


def write_voxceleb2(root, names):
    for name in names:
        save_photo(root / "dev" / "images_cropped_full_height" / f"{name}.png")
        save_array(root / "vox2_best_clips_annotated_torch7" / f"{name}.npy", POINTS)
        save_array(root / "seg" / f"{name}.npy", left_half())
    return root


def rows_of(layout, root, **options):
    tally = Tally()
    return list(get_importer(layout)(root, ImportOptions(**options), tally)), tally


ONE, OTHER = [f"n000001/000{i}_01" for i in range(5)], "n000009/0003_02"


def test_vggface2_never_takes_the_last_column_for_the_person_of_its_row(tmp_path):
    write_vggface2(tmp_path, [*ONE, OTHER], with_mask=ONE[:2])
    save_array(tmp_path / "list.npy", np.array([[*ONE, OTHER], [*ONE[::-1], OTHER]]))
    rows, tally = rows_of("vggface2", tmp_path, file=tmp_path / "list.npy")
    assert [row.identity for row in rows] == ["n000001"] * 5 + ["n000009"]  # each photo once
    assert rows[0].path == "train/n000001/0000_01.jpg"
    assert (rows[0].mask, rows[5].mask) == ("seg/n000001/0000_01.npy", None)
    assert rows[0].split == "train" and rows[0].clip is None
    np.testing.assert_array_equal(np.reshape(rows[0].landmarks, (68, 2)), POINTS)
    assert tally.unknown == {"photo without a segmentation": 4}


def test_vggface2_without_a_list_and_with_gaps(tmp_path):
    write_vggface2(tmp_path, [*ONE, OTHER])
    (tmp_path / "train" / f"{ONE[1]}.jpg").unlink()
    rows, tally = rows_of("vggface2", tmp_path)
    assert len(rows) == 5 and tally.dropped == {"listed photo is missing": 1}
    (tmp_path / "train_annotated_torch7" / f"{ONE[2]}.npy").unlink()
    mixed = [ONE[0], ONE[2], OTHER, ONE[3], ONE[4], OTHER]
    save_array(tmp_path / "list.npy", np.array([mixed], "S"))  # bytes are text too
    rows, tally = rows_of("vggface2", tmp_path, file=tmp_path / "list.npy")
    assert [row.identity for row in rows] == ["n000001", "n000009", "n000001", "n000001"]
    assert tally.dropped == {"photo without landmarks": 1}
    assert tally.unknown["row of the list whose first five photos are not of one person"] == 1


def test_voxceleb2_keeps_the_first_frame_of_every_clip(tmp_path):
    names = [f"id001/video{v}/00001/{n}" for v in ("A", "B") for n in (0, 1, 2)]
    write_voxceleb2(tmp_path, names)
    save_array(tmp_path / "list.npy", np.array(names))
    for options in ({"file": tmp_path / "list.npy"}, {}):
        rows, tally = rows_of("voxceleb2", tmp_path, **options)
        assert [(row.clip, row.frame) for row in rows] == [(f"id001/video{v}", n) for v in ("A", "B") for n in range(3)]
        assert {row.identity for row in rows} == {"id001"}
        assert rows[0].path == "dev/images_cropped_full_height/id001/videoA/00001/0.png"
        assert rows[0].mask == "seg/id001/videoA/00001/0.npy"
        assert not tally.dropped and not tally.unknown


@pytest.mark.parametrize(
    ("layout", "names", "message"),
    [
        ("vggface2", np.array([["a/b"] * 5]), "5 photos in a row instead of 6"),
        ("vggface2", np.array(["a/b"]), "no list of this layout"),
        ("vggface2", np.zeros((2, 6)), "holds float64"),
        ("vggface2", np.array([["ab"] * 6]), "'ab' does not say who is on the photo"),
        ("vggface2", np.array([["a/b"] * 6], object), "not a plain NumPy file"),
        ("voxceleb2", np.array(["a/b/c"]), "'a/b/c' is no frame of VoxCeleb2"),
    ],
)
def test_lists_of_another_form_are_named(tmp_path, layout, names, message):
    write_vggface2(tmp_path, [])
    for folder in ("train", "train_annotated_torch7", "dev/images_cropped_full_height"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "vox2_best_clips_annotated_torch7").mkdir()
    np.save(tmp_path / "list.npy", names, allow_pickle=True)
    with pytest.raises(AssetFormatError, match=message):
        rows_of(layout, tmp_path, file=tmp_path / "list.npy")


def test_missing_folders_and_wrong_landmarks_are_named(tmp_path):
    with pytest.raises(AssetFormatError, match="lacks the folder train with the photos"):
        rows_of("vggface2", tmp_path)
    write_vggface2(tmp_path, ONE)
    with pytest.raises(AssetFormatError, match="--masks names the folder"):
        rows_of("vggface2", tmp_path, masks=tmp_path / "nowhere")
    save_array(tmp_path / "train_annotated_torch7" / f"{ONE[3]}.npy", POINTS[:60])
    with pytest.raises(AssetFormatError, match=r"0003_01\.npy: the landmarks have 120 numbers"):
        rows_of("vggface2", tmp_path)


def test_the_command_moves_masks_with_images_and_the_check_reads_them(tmp_path, capsys):
    root = write_voxceleb2(tmp_path / "vox2", ["id1/v/1/7", "id1/v/1/8"])
    made = tmp_path / "lists" / "vox.csv"
    assert main(["data", "import", "voxceleb2", "--root", str(root), "--out", str(made)]) == 0
    manifest = Manifest.open(made)
    assert manifest.mask_path(manifest[0]).resolve() == root / "seg" / "id1" / "v" / "1" / "7.npy"
    assert main(["data", "check", str(made)]) == 0
    save_array(root / "seg" / "id1" / "v" / "1" / "8.npy", np.ones((4, 4)))
    assert main(["data", "check", str(made)]) == 1
    assert "8.npy: the mask is 4 x 4, its photo 80 x 100" in capsys.readouterr().err
    out = tmp_path / "faces"
    write_manifest([manifest[0]], tmp_path / "lists" / "one.parquet")
    keep = ["--keep-landmarks", "--size", "64", "--workers", "1"]
    assert main(["data", "preprocess", str(tmp_path / "lists" / "one.parquet"), "--out", str(out), *keep]) == 0
    cut = Manifest.open(out / "manifest.parquet")
    row = cut[0]
    before = _cropped(64).crop_to_image
    np.testing.assert_array_equal(read_mask(cut.mask_path(row), (64, 64)), _expected(before, 64))
    with open(out / "failures.csv", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 1


def _cropped(size):
    points = POINTS.astype(np.float64)
    detection = Detection(np.concatenate([points.min(0), points.max(0)]), 1.0, {"ibug68": points})
    return replace(SHARED_CROP, size=size)(np.zeros((HEIGHT, WIDTH, 3), np.uint8), detection)


def _expected(crop_to_image, size):
    """By definition: a crop pixel is skin if the photo's mask, interpolated at its place, is more than half."""
    rows, columns = np.indices((size, size))
    x, y = transform_points(crop_to_image, np.stack([columns, rows], -1).astype(float)).transpose(2, 0, 1)
    edge = WIDTH // 2 - 0.5  # halfway between the last column with skin and the first without
    return (x < edge) & (x > -0.5) & (y > -0.5) & (y < HEIGHT - 0.5)


@pytest.mark.parametrize("crop", ["whole", "shared"])
def test_samples_carry_masks_cut_like_their_images(tmp_path, crop):
    for name in "ab":
        save_photo(tmp_path / f"{name}.png")
    save_array(tmp_path / "a.npy", left_half())
    flat = tuple(map(float, POINTS.reshape(-1)))
    rows = [ManifestRow("a.png", landmarks=flat, mask="a.npy"), ManifestRow("b.png", landmarks=flat)]
    write_manifest(rows, tmp_path / "m.parquet")
    params = {"file": tmp_path / "m.parquet", "crop": crop, "image_size": 48}
    faces = get_registry().build("dataset", "manifest", params)
    masked, without = faces[0].mask, faces[1].mask
    assert masked.shape == (1, 48, 48) and without.eq(1).all()  # no mask: skin everywhere
    if crop == "whole":
        expected = np.broadcast_to(np.arange(48) < 24, (48, 48))
    else:
        expected = _expected(_cropped(48).crop_to_image, 48)
    assert torch.equal(masked[0].bool(), torch.from_numpy(expected.copy()))
    write_manifest(rows[1:], tmp_path / "none.parquet")
    plain = get_registry().build("dataset", "manifest", params | {"file": tmp_path / "none.parquet"})
    assert plain[0].mask is None


def test_masks_are_read_from_arrays_and_pictures_alike(tmp_path):
    array = left_half()
    np.save(tmp_path / "m.npy", array[..., None])
    Image.fromarray((array > 0.5).astype(np.uint8) * 255).save(tmp_path / "m.png")
    one, other = (read_mask(tmp_path / f"m.{kind}", array.shape) for kind in ("npy", "png"))
    np.testing.assert_array_equal(one, array > 0.5)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(warp_mask(one, np.eye(3), array.shape), one)
    (tmp_path / "bad.npy").write_text("text")
    with pytest.raises(ImageError, match=r"bad\.npy is not a plain NumPy file"):
        read_mask(tmp_path / "bad.npy", array.shape)
    with pytest.raises(ImageError, match="no such file"):
        read_mask(tmp_path / "nowhere.npy", array.shape)
