"""The manifest: one row per face image, as Parquet or CSV. A million rows are read with flat memory.

| column | type | meaning |
|---|---|---|
| path | text | image, relative to the manifest's folder or to the image root |
| split | text | ``train``, ``validation``, ``test`` or any other name |
| expression | text | class name, e.g. ``happy``; empty where unknown |
| valence, arousal | number | [-1, 1]; empty where unknown |
| identity, clip | text | person and video; folds never split them |
| frame | integer | position in the clip |
| box | 4 numbers | x0 y0 x1 y1, pixels |
| landmarks | 136 numbers | x y of the 68 iBUG points, pixels |
| mask | text | segmentation of the image, a path like ``path``: .npy [H, W] or a picture, more than half is skin |

Only ``path`` is obligatory. In CSV files the numbers of ``box`` and ``landmarks`` are separated by spaces.
"""

import csv
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.errors import AssetFormatError, did_you_mean
from emoca_core.files import atomic_write

CHUNK = 8192
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("split", pa.string()),
        ("expression", pa.string()),
        ("valence", pa.float32()),
        ("arousal", pa.float32()),
        ("identity", pa.string()),
        ("clip", pa.string()),
        ("frame", pa.int64()),
        ("box", pa.list_(pa.float32())),
        ("landmarks", pa.list_(pa.float32())),
        ("mask", pa.string()),
    ]
)
_LENGTHS = {"box": 4, "landmarks": 136}


@dataclass(frozen=True)
class ManifestRow:
    """One face image. ``box`` is x0, y0, x1, y1 and ``landmarks`` x, y of 68 points, both in pixels of the image.

    ``mask`` is the path of a segmentation of the same size as the image.
    """

    path: str
    split: str | None = None
    expression: str | None = None
    valence: float | None = None
    arousal: float | None = None
    identity: str | None = None
    clip: str | None = None
    frame: int | None = None
    box: Sequence[float] | None = None
    landmarks: Sequence[float] | None = None
    mask: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A manifest, mapped from disk: rows are read when they are asked for.

    Attributes:
        table: The rows, in the order of the file.
        folder: Where relative image paths start.
    """

    table: pa.Table
    folder: Path

    @classmethod
    def open(cls, path: Path | str, root: Path | str | None = None) -> "Manifest":
        """Open a Parquet or CSV manifest.

        Args:
            path: The file.
            root: Where relative image paths start; by default the manifest's folder.

        Raises:
            AssetFormatError: Missing, neither Parquet nor CSV, an unknown column, or a value of the wrong form; the
                message names the row.
        """
        path = Path(path)
        if path.suffix not in (".parquet", ".csv"):
            raise AssetFormatError(f"{path} is not a manifest: expected a .parquet or .csv file")
        if not path.is_file():
            raise AssetFormatError(f"there is no manifest {path}")
        return cls(_mapped(path), Path(root) if root else path.parent)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, index: int) -> ManifestRow:
        """One row.

        Raises:
            IndexError: Out of range.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a manifest with {len(self)} rows")
        return ManifestRow(**self.table.slice(index, 1).to_pylist()[0])

    def image_path(self, row: ManifestRow) -> Path:
        """Where the image of a row is."""
        return self.folder / row.path

    def mask_path(self, row: ManifestRow) -> Path | None:
        """Where the segmentation of a row is, if it has one."""
        return None if row.mask is None else self.folder / row.mask

    def numbers(self, column: str) -> Float[ndarray, "N"]:
        """``valence`` or ``arousal`` of all rows; NaN where unknown."""
        return np.asarray(self.table[column].to_numpy(zero_copy_only=False), np.float32)

    def texts(self, column: str) -> list[str | None]:
        """A text column of all rows."""
        return list(self.table[column].to_pylist())

    def classes(self, labels: Sequence[str]) -> Int[ndarray, "N"]:
        """Index of every row's expression in ``labels``; -1 where it is unknown or not among them."""
        encoded = self.table["expression"].combine_chunks().dictionary_encode()
        position = {label: i for i, label in enumerate(labels)}
        codes = np.array([*(position.get(name, -1) for name in encoded.dictionary.to_pylist()), -1], np.int64)
        return np.take(codes, np.asarray(encoded.indices.fill_null(len(codes) - 1)))

    def people(self) -> Int[ndarray, "N"]:
        """A number for the person of every row: by ``identity``, by ``clip`` where that is empty, else -1."""
        identity, clip = (self.table[name].combine_chunks().dictionary_encode() for name in ("identity", "clip"))
        persons, clips = (np.asarray(column.indices.fill_null(-1), np.int64) for column in (identity, clip))
        return np.where(persons >= 0, persons, np.where(clips >= 0, clips + len(identity.dictionary), -1))

    def rows_of(self, split: str) -> Int[ndarray, "_"]:
        """Indices of the rows of a split.

        Raises:
            AssetFormatError: No row has it; the message lists the splits that exist.
        """
        splits = self.table["split"].combine_chunks().dictionary_encode()
        names = splits.dictionary.to_pylist()
        if split not in names:
            raise AssetFormatError(
                f"the manifest has no split '{split}'.{did_you_mean(split, filter(None, names))} It has: "
                f"{', '.join(sorted(filter(None, names))) or 'none'}"
            )
        return np.flatnonzero(np.asarray(splits.indices.fill_null(-1)) == names.index(split))

    def of_split(self, split: str) -> "Manifest":
        """The rows of a split alone, in order.

        Raises:
            AssetFormatError: As ``rows_of``.
        """
        return Manifest(self.table.take(self.rows_of(split)), self.folder)


def write_manifest(rows: Iterable[ManifestRow], path: Path | str) -> int:
    """Write rows as they come, atomically, and return their number.

    Raises:
        AssetFormatError: The name ends neither in .parquet nor in .csv, or a value has the wrong form.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise AssetFormatError(f"cannot write a manifest to {path}: choose a name that ends in .parquet or .csv")
    count = 0
    with atomic_write(path) as temporary, _writer(temporary) as writer:
        for batch in _batches(rows):
            writer.write(batch)
            count += batch.num_rows
    return count


def _writer(path: Path) -> Any:
    if path.suffix == ".parquet":
        return pq.ParquetWriter(path, SCHEMA)
    names = [field.name for field in SCHEMA]
    flat = pa.schema([(name, pa.string() if name in _LENGTHS else SCHEMA.field(name).type) for name in names])
    return _FlatCsvWriter(arrow_csv.CSVWriter(path, flat), flat)


@dataclass(frozen=True)
class _FlatCsvWriter:
    """CSV has no lists: writes them as numbers separated by spaces."""

    writer: arrow_csv.CSVWriter
    schema: pa.Schema

    def __enter__(self) -> "_FlatCsvWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [
            compute.binary_join(column.cast(pa.list_(pa.string())), " ") if name in _LENGTHS else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        self.writer.write_batch(pa.record_batch(columns, schema=self.schema))


def _batches(rows: Iterable[ManifestRow]) -> Iterator[pa.RecordBatch]:
    iterator, start = iter(rows), 0
    while chunk := [vars(row) for row in itertools.islice(iterator, CHUNK)]:
        try:
            batch = pa.RecordBatch.from_pylist(chunk, SCHEMA)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise AssetFormatError(f"rows {start + 1} to {start + len(chunk)}: {error}") from None
        _check_lengths(batch, start)
        yield batch
        start += len(chunk)


def _mapped(path: Path) -> pa.Table:
    """The rows as an Arrow file in the cache, mapped into memory; written once for each version of the manifest."""
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|2"
    cached = (
        Path(platformdirs.user_cache_dir("emoca")) / "manifests" / f"{hashlib.sha256(key.encode()).hexdigest()}.arrow"
    )
    if not cached.exists():
        read = _read_parquet if path.suffix == ".parquet" else _read_csv
        try:
            with atomic_write(cached) as temporary, pa.ipc.new_file(temporary, SCHEMA) as writer:
                start = 0
                for batch in read(path):
                    _check_lengths(batch, start)
                    writer.write_batch(batch)
                    start += batch.num_rows
        except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
            raise AssetFormatError(f"{path} is not a valid manifest: {str(error).splitlines()[0]}") from None
    return pa.ipc.open_file(pa.memory_map(str(cached))).read_all()


def _read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(path)
    _check_columns(path, file.schema_arrow.names)
    for batch in file.iter_batches(CHUNK):
        yield _completed(batch)


def _read_csv(path: Path) -> Iterator[pa.RecordBatch]:
    with open(path, encoding="utf-8", newline="") as file:
        names = next(csv.reader(file), [""])
    _check_columns(path, names)
    types = {name: pa.string() if name in _LENGTHS else SCHEMA.field(name).type for name in names}
    options = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=["", "nan", "NaN"])
    with arrow_csv.open_csv(path, convert_options=options) as reader:
        for batch in reader:
            yield _completed(batch)


def _completed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """All columns in the order of the schema; absent ones are null, numbers written as text are split."""
    columns = []
    for field in SCHEMA:
        position = batch.schema.get_field_index(field.name)
        column = batch.column(position) if position >= 0 else pa.nulls(batch.num_rows, field.type)
        if field.name in _LENGTHS and pa.types.is_string(column.type):
            column = compute.split_pattern(column, " ").cast(pa.list_(pa.float32()))
        columns.append(column.cast(field.type))
    return pa.record_batch(columns, schema=SCHEMA)


def _check_columns(path: Path, names: Sequence[str]) -> None:
    known = SCHEMA.names
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise AssetFormatError(f"{path}: unknown column '{name}'.{hint} Columns are: {', '.join(known)}")
    if "path" not in names:
        raise AssetFormatError(f"{path}: the column 'path' is missing; it has: {', '.join(names)}")


def _check_lengths(batch: pa.RecordBatch, start: int) -> None:
    for name, length in _LENGTHS.items():
        found = compute.fill_null(compute.list_value_length(batch.column(name)), length)
        wrong = np.flatnonzero(np.asarray(found) != length)
        if len(wrong):
            row = int(wrong[0])
            raise AssetFormatError(f"row {start + row + 1}: {name} has {found[row]} numbers instead of {length}")
    for name in ("valence", "arousal"):
        values = np.asarray(batch.column(name).fill_null(0.0))
        wrong = np.flatnonzero(~(np.abs(values) <= 1) & ~np.isnan(values))
        if len(wrong):
            row = int(wrong[0])
            raise AssetFormatError(f"row {start + row + 1}: {name} is {values[row]}, outside [-1, 1]; leave it empty")
