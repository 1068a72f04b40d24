"""Reading single cells, with the place in every complaint."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray

from emoca_core.datasets.importers import Tally
from emoca_core.datasets.importers.names import AFFECTNET_CLASSES
from emoca_core.errors import AssetFormatError
from emoca_core.files import open_regular
from emoca_core.limits import TABLE_BYTES
from emoca_core.parsing import refuse_utf16

INVALID_VA = -2.0
"""AffectNet's mark for a valence or arousal that was not annotated."""
_EMPTY = frozenset({"", "null", "none", "nan", "na"})
_ROUNDING = 1e-6


def is_empty(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().lower() in _EMPTY


def number(text: str, place: str, what: str) -> float:
    """A finite number.

    Raises:
        AssetFormatError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AssetFormatError(f"{place}: {what} is '{text}', not a number")
    return value


def level_or_mark(value: float, place: str, what: str, tally: Tally) -> float | None:
    """As ``level``, but ``None`` for AffectNet's mark of a missing one, which is counted."""
    if value == INVALID_VA:
        tally.unknown[f"{what} not annotated (-2)"] += 1
        return None
    return level(value, place, what)


def level(value: float, place: str, what: str) -> float:
    """A valence or arousal in [-1, 1].

    Raises:
        AssetFormatError: Outside.
    """
    if abs(value) > 1 + _ROUNDING:
        raise AssetFormatError(f"{place}: {what} is {value:g}, outside [-1, 1]")
    return max(-1.0, min(1.0, value))


def affectnet_class(text: str, place: str) -> str:
    """The class behind one of AffectNet's codes.

    Raises:
        AssetFormatError: Not a code from 0 to 10.
    """
    code = number(text, place, "expression")
    if code not in range(len(AFFECTNET_CLASSES)):
        raise AssetFormatError(f"{place}: expression is {text}, expected a code from 0 to {len(AFFECTNET_CLASSES) - 1}")
    return AFFECTNET_CLASSES[int(code)]


def points(values: Sequence[object] | ndarray, place: str) -> tuple[float, ...]:
    """68 points as 136 numbers.

    Raises:
        AssetFormatError: Another number of values, or one that is not a finite number.
    """
    if len(values) != 136:
        raise AssetFormatError(f"{place}: the landmarks have {len(values)} numbers instead of 136")
    try:
        numbers = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        numbers = np.array(math.nan)
    if not np.isfinite(numbers).all():
        raise AssetFormatError(f"{place}: the landmarks are not all numbers")
    return tuple(numbers.tolist())


def csv_lines(path: Path, errors: str = "strict") -> Iterator[tuple[str, list[str]]]:
    """The lines of a CSV file, each with its place for complaints; a byte order mark is skipped.

    Args:
        path: A regular file.
        errors: What becomes of bytes that are not UTF-8, as for ``open``.

    Raises:
        AssetFormatError: It is not text, or not CSV.
    """
    with open_regular(path, TABLE_BYTES, AssetFormatError) as binary:
        refuse_utf16(binary.peek(2), path)
        reader = csv.reader(io.TextIOWrapper(binary, "utf-8-sig", errors, newline=""))
        try:
            for cells in reader:
                yield f"{path} line {reader.line_num}", cells
        except UnicodeDecodeError as error:
            raise AssetFormatError(f"{path} is not a text file in UTF-8: {error.reason}") from None
        except csv.Error as error:
            raise AssetFormatError(f"{path} line {reader.line_num} is not CSV: {error}") from None


def folder(root: Path) -> Path:
    """The data set's folder.

    Raises:
        AssetFormatError: There is none.
    """
    if not root.is_dir():
        raise AssetFormatError(f"{root} is not a folder")
    return root
