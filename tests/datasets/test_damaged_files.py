"""Photos, manifests, masks and clips with bytes changed by chance: read, or refused in one line; nothing else."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.importers import ImportOptions, Tally, get_importer
from emoca_core.datasets.importers.values import csv_lines
from emoca_core.datasets.masks import read_mask
from emoca_core.errors import EmocaError
from emoca_core.images.photos import read_photo

TRIES = 100
PHONE = Path(__file__).parents[1] / "images" / "phone.heic"
DEEP = np.random.default_rng(0).integers(0, 4096, (40, 50, 3)).astype(np.uint16)
ROWS = [
    ManifestRow("a.png", "train", "Happy", 0.5, -0.25, "p", "c", 3, (0.0, 1.0, 2.0, 3.0), (1.0,) * 136, "m.png"),
    ManifestRow("b.png", "test", "sad"),
]


def read_manifest(path: Path) -> None:
    manifest = Manifest.open(path)
    assert all(manifest[row].path for row in range(min(len(manifest), 3)))
    manifest.classes(("happy",)), manifest.people()


def read_clip(path: Path) -> None:
    list(get_importer("afew_va")(path.parent, ImportOptions(), Tally()))


def write_clip(path: Path) -> None:
    frame = {"valence": 1, "arousal": 2, "landmarks": [[1.0, 2.0]] * 68}
    path.write_text(json.dumps({"video_id": "1", "actor": "x", "frames": {"00000": frame}}))


FILES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "m.parquet": (lambda path: write_manifest(ROWS, path), read_manifest),
    "m.csv": (lambda path: write_manifest(ROWS, path), read_manifest),
    "phone.heic": (lambda path: path.write_bytes(PHONE.read_bytes()), read_photo),
    "colour.png": (lambda path: cv2.imwrite(str(path), DEEP), read_photo),
    "colour.tif": (lambda path: cv2.imwrite(str(path), DEEP), read_photo),
    "grey.png": (lambda path: Image.fromarray(DEEP[..., 0]).save(path), read_photo),
    "photo.jpg": (lambda path: Image.fromarray((DEEP // 16).astype(np.uint8)).save(path), read_photo),
    "mask.npy": (lambda path: np.save(path, np.ones((40, 50))), lambda path: read_mask(path, (40, 50))),
    "001/001.json": (write_clip, read_clip),
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        place = chance.randrange(len(found) + 1)
        some = chance.choice([b"\0", b"\xff\xff\xff\xff", b"9" * 30, b'"', b"\n", b"{", b"nan", chance.randbytes(9)])
        found[place : place + chance.choice([0, 1, 1, len(some), 30, len(found)])] = some
    return bytes(found)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write, read = FILES[name]
    path, chance, refused = tmp_path / "set" / name, random.Random(name), 0
    path.parent.mkdir(parents=True)
    write(path)
    read(path)  # undamaged
    content = path.read_bytes()
    for _ in range(TRIES):
        path.write_bytes(damaged(content, chance))
        try:
            read(path)
        except EmocaError as error:
            refused += 1
            assert "\n" not in str(error) and path.name in str(error)
    assert refused > TRIES / 10, "the damage is none"


@pytest.mark.parametrize(
    "read", [read_manifest, lambda path: list(csv_lines(path))], ids=["a manifest", "a list of a data set"]
)
def test_a_table_in_utf16_says_what_to_do(tmp_path, read):
    (tmp_path / "m.csv").write_text("path,split,expression\na.png,train,happy\n", "utf-16")
    with pytest.raises(EmocaError, match=r"m\.csv is text in UTF-16: save it in UTF-8 \(Excel calls it 'CSV UTF-8'\)$"):
        read(tmp_path / "m.csv")
