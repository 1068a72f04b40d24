"""An index: the features of many faces and who they are, as a folder that is checked when it is opened.

| file | |
|---|---|
| ``features.safetensors`` | ``features`` float32 [N, D] |
| ``faces.parquet`` | a manifest with a row for each feature; ``box`` is the square that was looked at |
| ``index.json`` | what made it, counts, hashes |
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
from jaxtyping import Float, Int
from numpy import ndarray
from pydantic import BaseModel, ConfigDict

from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.errors import AssetFormatError, OutputError, ParamsError, unknown_name
from emoca_core.files import atomic_folder, delete_made, sha256_of, write_json, writing_to
from emoca_core.parsing import read_record
from emoca_core.probe.codes import CodeSource
from emoca_core.retrieval.search import Neighbours, nearest
from emoca_core.version import VERSION
from emoca_core.weights.write_tensors import write_tensors

CARD, FEATURES, FACES = "index.json", "features.safetensors", "faces.parquet"
GROUPS = {"identity": ("identity", "clip"), "clip": ("clip",), "photo": ()}
"""What a query leaves out, and the columns that say it, the first that is known."""


class Counts(BaseModel):
    """What became of the images."""

    images: int
    faces: int
    unreadable: int
    without_face: int
    without_code: int
    """Faces that the method could not encode."""


class IndexCard(BaseModel):
    """``index.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["emoca-index-1"] = "emoca-index-1"
    by: str
    """``emotion:BACKBONE`` or ``codes:METHOD``, as it was asked for."""
    inputs: tuple[str, ...]
    """Feature, or blocks of the face code."""
    crop: Literal["native", "shared"]
    landmarker: str
    dimensions: int
    counts: Counts
    made_of: str
    """SHA-256 of weights, parameters and crop: queries must be encoded by the same."""
    code: str
    """SHA-256 of the Python files: other ones are worth a warning."""
    version: str = VERSION
    sha256: dict[str, str]
    """Of the other files."""
    files: tuple[str, ...] = (FEATURES, FACES)
    """What this program may delete with the card."""


@dataclass(frozen=True)
class Index:
    """Faces that can be searched.

    Attributes:
        folder: Where it lies.
        card: What made it.
        features: One vector for each face.
        faces: A row for each face: path, labels, person, clip, and the square in the photo that was looked at.

    Example: ``index.search(index.features[:1], top=5, own=[0])`` finds the neighbours of its first face.
    """

    folder: Path
    card: IndexCard
    features: Float[ndarray, "N D"]
    faces: Manifest

    def __len__(self) -> int:
        return len(self.features)

    def search(
        self,
        queries: Float[ndarray, "Q _"],
        top: int = 10,
        metric: str = "l2",
        distinct: str | None = None,
        own: Iterable[int] | None = None,
        copies: Sequence[int] = (),
    ) -> Neighbours:
        """The nearest faces of every query.

        Args:
            queries: Features by the same backbone or method.
            top: Neighbours of each.
            metric: How distances are measured.
            distinct: One neighbour of each person, clip or photo alone.
            own: Row of the index that each query is, or -1: its photo is left out, with ``distinct`` its whole group.
            copies: Rows whose photos are one and the same: their groups are one.

        Raises:
            ParamsError: Queries of another size, or the index names no people or clips.
        """
        kin = self.groups(distinct or "photo")
        if copies:
            kin = np.where(np.isin(kin, kin[list(copies)]), kin[copies[0]], kin)
        rows = None if own is None else np.asarray(list(own), np.int64)
        own_groups = None if rows is None else np.where(rows >= 0, kin[rows], -1)
        return nearest(self.features, queries, top, metric, kin, own_groups, kin if distinct else None)

    def groups(self, by: str) -> Int[ndarray, "N"]:
        """A number for the person, clip or photo of every face; faces without one have their photo's.

        Raises:
            UnknownNameError: Neither of these three.
            ParamsError: No face has one.
        """
        if by not in GROUPS:
            raise unknown_name("group", by, GROUPS)
        photos = [f"photo:{path}" for path in self.faces.texts("path")]
        columns = GROUPS[by]
        names = photos
        for column in reversed(columns):
            found = self.faces.texts(column)
            names = [f"{column}:{own}" if own else other for own, other in zip(found, names, strict=True)]
        if columns and names == photos:
            raise ParamsError(
                f"{self.folder}: no face has {' or '.join(columns)}, so none can be left out by it: index a manifest "
                "that has it, or take 'photo'"
            )
        groups: ndarray = np.unique(names, return_inverse=True)[1]
        return groups


def write_index(
    out: Path,
    by: str,
    source: CodeSource,
    landmarker: str,
    counts: Counts,
    features: Float[ndarray, "N D"],
    rows: Iterable[ManifestRow],
) -> Index:
    """Write a new folder, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with writing_to(out), atomic_folder(out) as folder:
        write_tensors(folder / FEATURES, {"features": np.ascontiguousarray(features, np.float32)})
        write_manifest(rows, folder / FACES)
        card = IndexCard(
            by=by,
            inputs=source.inputs,
            crop=source.crop,
            landmarker=landmarker,
            dimensions=features.shape[1],
            counts=counts,
            made_of=made_of(source),
            code=code_of(source),
            sha256={name: sha256_of(folder / name) for name in (FEATURES, FACES)},
        )
        write_json(folder / CARD, card.model_dump(mode="json"))
    return open_index(out)


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is in the way, before anything is computed.

    Raises:
        OutputError: There is something that may not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / CARD).is_file():
        raise OutputError(f"{out} is there already and is no index: choose another --out")
    if not overwrite:
        raise OutputError(f"{out} is there already: --overwrite replaces it")


def remove_old(out: Path) -> None:
    """Make room for a new index.

    Raises:
        OutputError: Something in the folder is not the index's.
    """
    if out.exists() and any(out.iterdir()) and not delete_made(out, CARD):
        raise OutputError(f"{out} holds files that are not the index's: move them, or choose another --out")


def open_index(folder: Path | str) -> Index:
    """Open what ``emoca index`` wrote.

    Raises:
        AssetFormatError: Not an index, or damaged.
    """
    folder = Path(folder)
    if not (folder / CARD).is_file():
        raise AssetFormatError(f"{folder} is no index: `emoca index PHOTOS --by emotion:NAME --out {folder}` makes one")
    card = read_record(folder / CARD, IndexCard)
    for name in (FEATURES, FACES):
        if not (folder / name).is_file() or sha256_of(folder / name) != card.sha256.get(name):
            raise AssetFormatError(f"{folder / name} is missing or damaged: build the index again with --overwrite")
    faces = Manifest.open(folder / FACES)
    try:
        features = safetensors.torch.load_file(folder / FEATURES)["features"].numpy()
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise AssetFormatError(f"{folder / FEATURES} holds no features: {error}") from None
    if features.dtype != np.float32 or features.shape != (len(faces), card.dimensions) or not len(faces):
        raise AssetFormatError(
            f"{folder} does not fit together: {len(faces)} faces of {card.dimensions} numbers, but features of shape "
            f"{features.shape}"
        )
    if not np.isfinite(features).all():
        raise AssetFormatError(f"{folder / FEATURES} holds numbers that are not finite")
    return Index(folder, card, features, faces)


def made_of(source: CodeSource) -> str:
    """Hash of all that a feature depends on, but the Python files."""
    description = {key: value for key, value in source.description().items() if key != "code"}
    return _hash({**description, "rule": repr(source.rule)})


def code_of(source: CodeSource) -> str:
    """Hash of the Python files that make a feature."""
    return _hash({"code": source.description().get("code")})


def _hash(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
