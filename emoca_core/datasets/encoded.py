"""Codes of many faces as a folder of Parquet files: what ``emoca encode`` writes, and what reads it as a cache.

``pandas.read_parquet``, DuckDB, Polars and Spark read the folder as one table; the card beside the shards begins with
an underscore, which all of them skip. Columns: docs/encode.md.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel, ConfigDict

from emoca_core.errors import AssetFormatError, EmocaError, first_line
from emoca_core.interfaces import FaceParameters, PerspectiveCamera, Unit, WeakPerspectiveCamera
from emoca_core.limits import TABLE_BYTES, TABLE_ROWS
from emoca_core.parsing import read_record
from emoca_core.version import VERSION

T = TypeVar("T")

CARD = "_encoded.json"
CODE = "code."
"""Beginning of the columns of a face code, one for each block."""
WEAK = 3
"""Numbers of a weak-perspective camera; perspective ones have 7."""
UNITS = b"emoca.units"
"""Key of the shards' metadata: unit of every block."""


class EncodedCard(BaseModel):
    """``_encoded.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["emoca-encoded-1"] = "emoca-encoded-1"
    recipe: str
    probe: tuple[str, ...]
    """Blocks that a probe of the recipe reads."""
    emotion: str | None
    """Backbone of the columns of emotion."""
    crop: Literal["native", "shared"]
    rows: int
    made_of: str
    """SHA-256 of images, weights, parameters and code: a run with others does not go on in this folder."""
    version: str = VERSION
    files: tuple[str, ...]
    """The shards, in the order of the rows; what this program may delete with the card."""


@dataclass(frozen=True)
class Encoded:
    """The codes of a manifest's faces.

    Attributes:
        folder: Where they lie.
        card: What made them.

    Example: ``Encoded.open("codes.parquet").blocks(["expression", "jaw_pose"])`` has a row for each of the manifest.
    """

    folder: Path
    card: EncodedCard

    @classmethod
    def open(cls, folder: Path | str) -> "Encoded":
        """Open a finished folder.

        Raises:
            AssetFormatError: It is something else, or not finished.
        """
        folder = Path(folder)
        card = read_record(folder / CARD, EncodedCard)
        TABLE_ROWS.check(card.rows, folder, AssetFormatError)
        if missing := [name for name in card.files if not (folder / name).is_file()]:
            raise AssetFormatError(
                f"{folder} is not finished: {len(missing)} of {len(card.files)} shards are missing; "
                "the same 'emoca encode' command goes on"
            )
        return cls(folder, card)

    def __len__(self) -> int:
        return self.card.rows

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and units, as every shard has them."""
        return _read(self.folder / self.card.files[0], pq.read_schema) if self.card.files else pa.schema([])

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all rows.

        Raises:
            AssetFormatError: A column that is not there, or a damaged shard.
        """
        if odd := [name for name in columns if name not in self.schema.names]:
            raise AssetFormatError(f"{self.folder} has no column '{odd[0]}'; it has: {', '.join(self.schema.names)}")
        table = pa.concat_tables([_shard(self.folder / name, columns) for name in self.card.files])
        if table.num_rows != self.card.rows:
            raise AssetFormatError(f"{self.folder} has {table.num_rows} rows, its card says {self.card.rows}")
        return table

    def blocks(self, names: Sequence[str]) -> Float[ndarray, "N D"]:
        """Blocks of the face codes beside each other; NaN in rows without a face.

        Raises:
            AssetFormatError: A block that the method does not predict.
        """
        table = self.table([CODE + name for name in names])
        return np.concatenate([lists_to_array(column, column.type.list_size) for column in table.columns], axis=1)

    def rows_of(self, paths: Sequence[str]) -> list[int]:
        """Where the codes of some images are, by the paths that the encoded manifest gave them.

        Raises:
            EmocaError: One of them was not encoded.
        """
        if unknown := next((path for path in paths if path not in self._rows), None):
            raise EmocaError(f"{self.folder} has no code of {unknown}: encode this manifest")
        return [self._rows[path] for path in paths]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {path: row for row, path in enumerate(self.table(["path"])["path"].to_pylist())}

    def parameters(self) -> FaceParameters:
        """The codes of all rows, NaN in rows without a face; cameras are those of the crops."""
        names = [name.removeprefix(CODE) for name in self.schema.names if name.startswith(CODE)]
        blocks = {name: torch.from_numpy(self.blocks([name])) for name in names}
        camera = blocks.pop("camera", None)
        if "lighting" in blocks:
            blocks["lighting"] = blocks["lighting"].view(-1, 9, 3)
        code = FaceParameters(units={name: unit for name, unit in self.units.items() if name in blocks})
        if camera is None:
            return code.replace(**blocks)
        weak = camera.shape[1] == WEAK
        seen_by = WeakPerspectiveCamera.from_code(camera) if weak else PerspectiveCamera.from_code(camera)
        return code.replace(**blocks, camera=seen_by)

    @property
    def units(self) -> dict[str, Unit]:
        """Unit of every block."""
        return dict(json.loads((self.schema.metadata or {}).get(UNITS, b"{}")))


def lists_to_array(column: pa.ChunkedArray, length: int) -> Float[ndarray, "N D"]:
    """A column of lists of one length; NaN where there is none."""
    values = np.full((len(column), length), np.nan, np.float32)
    known = np.asarray(column.is_valid())
    values[known] = column.drop_null().combine_chunks().flatten().to_numpy().reshape(-1, length)
    return values


def _shard(path: Path, columns: Sequence[str]) -> pa.Table:
    TABLE_BYTES.check(path.stat().st_size, path, AssetFormatError)
    table: pa.Table = _read(path, lambda file: pq.read_table(file, columns=list(columns)))
    return table.replace_schema_metadata(None)


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except (pa.ArrowException, OSError) as error:
        raise AssetFormatError(
            f"{path} is damaged: remove it, and the same 'emoca encode' command makes it again ({first_line(error)})"
        ) from None
