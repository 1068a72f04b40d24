"""The manifest: one row per face image, as Parquet or CSV. A million rows are read with flat memory.

| column | type | meaning |
|---|---|---|
| path | text | image, relative to the manifest's folder or to the image root |
| split | text | ``train``, ``validation``, ``test`` or any other name |
| expression | text | class name, e.g. ``happy``, or a synonym, e.g. ``Happiness``; empty where unknown |
| valence, arousal | number | [-1, 1]; empty where unknown |
| identity, clip | text | person and video; folds never split them |
| frame | integer | position in the clip |
| box | 4 numbers | x0 y0 x1 y1, pixels |
| landmarks | 136 numbers | x y of the 68 iBUG points, pixels |
| mask | text | segmentation of the image, a path like ``path``: .npy [H, W] or a picture, more than half is skin |

Only ``path`` is obligatory. In CSV files the numbers of ``box`` and ``landmarks`` are separated by spaces.
"""

import hashlib
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.errors import AssetFormatError, did_you_mean, first_line
from emoca_core.files import atomic_write, open_regular
from emoca_core.limits import TABLE_BYTES, TABLE_ROWS
from emoca_core.parsing import refuse_utf16, shown
from emoca_core.vocabulary.emotions import expression_name

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
_SHOWN = 120
"""Characters of a stranger's text in a message."""


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
        if path.suffix.lower() not in (".parquet", ".csv"):
            raise AssetFormatError(f"{path} is not a manifest: expected a .parquet or .csv file")
        if not path.exists():
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
        position = {expression_name(label): i for i, label in enumerate(labels)}
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
        for batch in _batches(rows, path):
            writer.write(batch)
            count += batch.num_rows
    return count


def _writer(path: Path) -> "pq.ParquetWriter | _FlatCsvWriter":
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


def _batches(rows: Iterable[ManifestRow], path: Path) -> Iterator[pa.RecordBatch]:
    iterator, start = iter(rows), 0
    while chunk := [vars(row) for row in itertools.islice(iterator, CHUNK)]:
        try:
            batch = pa.RecordBatch.from_pylist(chunk, SCHEMA)
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            raise AssetFormatError(f"{path} rows {start + 1} to {start + len(chunk)}: {error}") from None
        _check_values(batch, path, start)
        yield batch
        start += len(chunk)


def _mapped(path: Path) -> pa.Table:
    """The rows as an Arrow file in the cache, mapped into memory; written once for each version of the manifest."""
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|3"
    cached = (
        Path(platformdirs.user_cache_dir("emoca")) / "manifests" / f"{hashlib.sha256(key.encode()).hexdigest()}.arrow"
    )
    if not cached.exists():
        with atomic_write(cached) as temporary, pa.ipc.new_file(temporary, SCHEMA) as writer:
            for batch in _read(path):
                writer.write_batch(batch)
    return pa.ipc.open_file(pa.memory_map(str(cached))).read_all()


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    """Checked rows with all columns in the order of the schema; every complaint names the file."""
    start = 0
    try:
        with open_regular(path, TABLE_BYTES, AssetFormatError) as file:
            for batch in (_parquet if path.suffix.lower() == ".parquet" else _csv)(path, file):
                completed = _completed(batch, path)
                _check_values(completed, path, start)
                yield completed
                start += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = first_line(error)
        raise AssetFormatError(f"{path} is not a valid manifest: {reason[:_SHOWN]}") from None


def _parquet(path: Path, file: io.BufferedReader) -> Iterator[pa.RecordBatch]:
    try:
        content = pq.ParquetFile(file)
        _check_columns(path, content.schema_arrow.names)
        TABLE_ROWS.check(content.metadata.num_rows, path, AssetFormatError)
        for batch in content.iter_batches(CHUNK):
            batch.validate(full=True)  # texts that are not UTF-8 would be found by whoever reads them
            yield batch
    except OSError as error:  # which Arrow raises for damaged pages, too
        raise pa.ArrowInvalid(str(error)) from None


def _csv(path: Path, file: io.BufferedReader) -> Iterator[pa.RecordBatch]:
    refuse_utf16(file.peek(2), path)
    types = {field.name: pa.string() if field.name in _LENGTHS else field.type for field in SCHEMA}
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=["", "nan", "NaN"])
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    with arrow_csv.open_csv(file, convert_options=convert, parse_options=parse) as reader:
        _check_columns(path, reader.schema.names)
        yield from reader


def _completed(batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
    """All columns in the order of the schema and of its types; absent ones are null."""
    columns = []
    for field in SCHEMA:
        position = batch.schema.get_field_index(field.name)
        column = batch.column(position) if position >= 0 else pa.nulls(batch.num_rows, field.type)
        try:
            columns.append(_converted(column, field))
        except pa.ArrowException as error:
            reason = first_line(error)[:_SHOWN]
            raise AssetFormatError(f"{path}: the column '{field.name}' holds {column.type}: {reason}") from None
    return pa.record_batch(columns, schema=SCHEMA)


def _converted(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column in the schema's type: texts of numbers are split, empty texts are null, classes have our names."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.name in _LENGTHS and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = compute.utf8_split_whitespace(compute.utf8_trim_whitespace(column))
    column = column.cast(field.type)
    if field.name == "expression":
        encoded = column.dictionary_encode()
        names = pa.array([expression_name(text) for text in encoded.dictionary.to_pylist()], pa.string())
        column = names.take(encoded.indices)
    if pa.types.is_string(field.type):
        column = compute.if_else(compute.equal(column, ""), None, column)
    return column


def _check_columns(path: Path, names: Sequence[str]) -> None:
    known = SCHEMA.names
    for number, name in enumerate(names):
        if name not in known:
            hint = did_you_mean(name, known)
            raise AssetFormatError(f"{path}: unknown column '{shown(name)}'.{hint} Columns are: {', '.join(known)}")
        if name in names[:number]:
            raise AssetFormatError(f"{path}: there are two columns '{name}'")
    if "path" not in names:
        raise AssetFormatError(f"{path}: the column 'path' is missing; it has: {', '.join(map(shown, names))}")


def _check_values(batch: pa.RecordBatch, path: Path, start: int) -> None:
    """Refuse what no row may hold; the message names file and row."""
    for wrong, values, reason in _refusals(batch):
        if len(rows := np.flatnonzero(wrong)):
            raise AssetFormatError(f"{path} row {start + rows[0] + 1}: {reason.format(values[rows[0]])}")


def _refusals(batch: pa.RecordBatch) -> Iterator[tuple[ndarray, ndarray, str]]:
    """Where something is wrong, the values in question, and what is wrong with them."""
    for name in ("path", "mask"):
        holds_nul = np.asarray(compute.match_substring(batch.column(name), "\0").fill_null(False))
        yield holds_nul, holds_nul, f"the {name} holds a NUL character"
    empty = np.asarray(batch.column("path").is_null())
    yield empty, empty, "the path is empty"
    for name, length in _LENGTHS.items():
        column = batch.column(name)
        found = np.asarray(compute.list_value_length(column).fill_null(length))
        yield found != length, found, f"{name} has {{}} numbers instead of {length}"
        numbers = np.asarray(column.flatten().fill_null(math.nan)).reshape(-1, length)
        odd = np.zeros(len(column), bool)
        odd[np.flatnonzero(np.asarray(column.is_valid()))] = ~np.isfinite(numbers).all(1)
        yield odd, odd, f"{name} holds something that is no finite number; leave it empty"
    for name in ("valence", "arousal"):
        values = np.asarray(batch.column(name).fill_null(0.0))
        yield ~(np.abs(values) <= 1) & ~np.isnan(values), values, f"{name} is {{}}, outside [-1, 1]; leave it empty"
