"""Reading single cells, with the place in every complaint."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from emoca_core.datasets.importers import Tally
from emoca_core.datasets.importers.names import AFFECTNET_CLASSES
from emoca_core.errors import AssetFormatError

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


def points(values: Sequence[Any] | ndarray, place: str) -> tuple[float, ...]:
    """68 points as 136 numbers.

    Raises:
        AssetFormatError: Another number of values, or one that is not a finite number.
    """
    if len(values) != 136:
        raise AssetFormatError(f"{place}: the landmarks have {len(values)} numbers instead of 136")
    try:
        numbers = tuple(map(float, values))
    except (ValueError, TypeError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise AssetFormatError(f"{place}: the landmarks are not all numbers")
    return numbers


def load_array(file: Path) -> ndarray:
    """The array of a NumPy file without Python objects.

    Raises:
        AssetFormatError: There is no such file, or it is another one.
    """
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except FileNotFoundError:
        raise AssetFormatError(f"there is no {file}") from None
    except (ValueError, EOFError, OSError) as error:
        raise AssetFormatError(f"{file} is not a plain NumPy file: {str(error).splitlines()[0]}") from None


def folder(root: Path) -> Path:
    """The data set's folder.

    Raises:
        AssetFormatError: There is none.
    """
    if not root.is_dir():
        raise AssetFormatError(f"{root} is not a folder")
    return root
