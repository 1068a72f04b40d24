"""Manifests for the measurements of docs/, from a folder of FER2013 and LFW faces.

    python tools/probe_faces.py FOLDER OUT

FOLDER holds ``index.csv`` (path, split, expression, identity) and the pictures, of FER2013 in ``fer/`` and of LFW in
``lfw/``. OUT gets ``fer.csv`` and ``lfw.csv`` for the probe, and ``both.csv`` for training, with the index's split.
FER2013 names nobody and holds some pictures several times: those that look alike become one person, so that no fold
has the same face on both sides. Validation faces of people who are in ``train`` get a split of their own.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.datasets.rows import relocated
from emoca_core.vocabulary.emotions import expression_name

SEEN = "person of train"
"""Split of validation faces that are no test."""
SIDE = 24
"""Of the small pictures that are compared, pixels."""
ALIKE = 0.9
"""Correlation from which two pictures are one. All pairs of this data set above 0.98 are copies; from about 0.93 down
they are different people, whose joining does no harm."""


def main() -> None:
    """Write both manifests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with open(args.folder / "index.csv", encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    both: list[ManifestRow] = []
    for name in ("fer", "lfw"):
        own = [entry for entry in entries if entry["path"].startswith(f"{name}/")]
        people = [entry["identity"] for entry in own] if name == "lfw" else who(args.folder, own)
        faces = apart(list(rows(own, people)))
        write(faces, args, name)
        both += faces
    write(both, args, "both")


def write(faces: Sequence[ManifestRow], args: argparse.Namespace, name: str) -> None:
    """A manifest in the output folder."""
    file = args.out / f"{name}.csv"
    written = write_manifest(relocated(faces, args.folder, args.out), file)
    print(f"{file}: {written} faces of {len({face.identity for face in faces})} people")


def rows(entries: Sequence[dict[str, str]], people: Sequence[str]) -> Iterator[ManifestRow]:
    """The entries of the index in this project's names."""
    for entry, person in zip(entries, people, strict=True):
        split = {"val": "validation"}.get(entry["split"], entry["split"])
        yield ManifestRow(entry["path"], split, expression_name(entry["expression"]), identity=person)


def apart(faces: Sequence[ManifestRow]) -> list[ManifestRow]:
    """No person in both splits: such validation faces are in neither."""
    trained = {face.identity for face in faces if face.split == "train"}
    seen = [face.split != "train" and face.identity in trained for face in faces]
    return [replace(face, split=SEEN) if known else face for face, known in zip(faces, seen, strict=True)]


def who(folder: Path, entries: Sequence[dict[str, str]]) -> list[str]:
    """A name for every picture; pictures that look alike, mirrored or not, share one."""
    small = np.stack([thumbnail(folder / entry["path"]) for entry in entries])
    return [f"fer-{group}" for group in groups_of_copies(small)]


def groups_of_copies(small: Float[ndarray, "N S S"]) -> Int[ndarray, "N"]:
    """The group of every picture: connected by correlations above ``ALIKE``."""
    flat, mirrored = (pictures.reshape(len(small), -1) for pictures in (small, small[:, :, ::-1]))
    flat, mirrored = (pictures - pictures.mean(1, keepdims=True) for pictures in (flat, mirrored))
    flat, mirrored = (
        pictures / (np.linalg.norm(pictures, axis=1, keepdims=True) + 1e-9) for pictures in (flat, mirrored)
    )
    alike = np.maximum(flat @ flat.T, flat @ mirrored.T) > ALIKE
    groups: ndarray = connected_components(coo_matrix(alike), directed=False)[1]
    return groups


def thumbnail(path: Path) -> Float[ndarray, "S S"]:
    """A picture as small grey values."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


if __name__ == "__main__":
    main()
