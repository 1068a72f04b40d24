"""Faces that are decoded once are the faces that are decoded every time."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from emoca_core import get_registry
from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.errors import ImageError


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """Pictures of two sizes, the second half with a box and landmarks."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))
    random, rows = np.random.default_rng(0), []
    for i in range(6):
        size = (40, 60) if i % 2 else (50, 50)
        Image.fromarray(random.integers(0, 255, (*size, 3)).astype(np.uint8)).save(tmp_path / f"{i}.png")
        points = random.uniform(8, 36, 136).astype(np.float32).tolist()
        rows.append(ManifestRow(f"{i}.png", "train", "happy", 0.1 * i, box=[5.0, 5.0, 35.0, 35.0], landmarks=points))
    write_manifest(rows, tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


def faces(manifest, **params):
    return get_registry().build("dataset", "manifest", {"file": manifest, "image_size": 32, **params})


@pytest.mark.parametrize("crop", ["whole", "shared"])
def test_kept_faces_are_those_that_are_decoded(manifest, crop, monkeypatch):
    expected = list(map(faces(manifest, crop=crop).__getitem__, range(6)))
    faces(manifest, crop=crop, keep=True)
    monkeypatch.setattr("emoca_plugins.datasets.manifest.read_photo", lambda path: pytest.fail("decoded again"))
    kept = faces(manifest, crop=crop, keep=True)
    for i, sample in enumerate(expected):
        assert torch.equal(kept[i].image, sample.image) and torch.equal(kept[i].landmarks, sample.landmarks)
        assert (kept[i].key, kept[i].expression, kept[i].valence) == (sample.key, 1, sample.valence)


def test_another_picture_or_size_is_decoded_anew(manifest):
    first = faces(manifest, keep=True)[3].image
    status = (manifest.parent / "3.png").stat()
    Image.new("RGB", (60, 40), (250, 0, 0)).save(manifest.parent / "3.png")
    os.utime(manifest.parent / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    again = faces(manifest, keep=True)[3].image
    assert not torch.equal(again, first) and again[0].min() > 0.9
    assert faces(manifest, keep=True, image_size=16)[3].image.shape == (3, 16, 16)
    assert len(list((manifest.parent / "cache" / "cuts").iterdir())) == 3


def test_a_picture_that_cannot_be_read_leaves_nothing_behind(manifest):
    (manifest.parent / "5.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"5\.png"):
        faces(manifest, keep=True)
    assert not list((manifest.parent / "cache" / "cuts").iterdir())
