"""Tables of ARKit values as other programs write them: any order of columns, case, prefix and form of side."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.errors import AssetFormatError, did_you_mean
from emoca_core.limits import TEXT_BYTES
from emoca_core.parsing import read_text, shown
from emoca_core.vocabulary.arkit import ARKIT_NAMES, arkit_name

_TIME_CODE = re.compile(r"(\d+):(\d\d):(\d\d)[:;.](\d+(?:\.\d+)?)")
_SECONDS = {"time": 1.0, "times": 1.0, "timestamp": 1.0, "seconds": 1.0, "t": 1.0}
_MILLISECONDS = {"timestampms": 1e-3, "timems": 1e-3, "milliseconds": 1e-3, "ms": 1e-3}
_UNITS = _SECONDS | _MILLISECONDS
"""Names of columns that hold numbers of time, and seconds for 1."""
_HEAD = ("headyaw", "headpitch", "headroll")
_USUAL_RATE = 60.0
"""Of the app Live Link Face."""
_RATES = (24, 25, 30, 48, 50, 60, 90, 100, 120)
_PERCENT = 1.5
"""Values beyond are those of a table in percent."""
_MISSING_SHOWN = 8


@dataclass(frozen=True)
class ArkitTable:
    """What such a table holds.

    Attributes:
        times: Seconds since the first row.
        values: The 52, in the order of ``ARKIT_NAMES``; 0 in columns that are missing.
        head: Yaw, pitch and roll of the head, radians (see ``yaw_pitch_roll``); ``None`` without such columns.
        notes: What people should know: missing columns, rows that were left out, what was assumed.
    """

    times: Float[ndarray, "N"]
    values: Float[ndarray, "N 52"]
    head: Float[ndarray, "N 3"] | None
    notes: tuple[str, ...]


def read_arkit_table(path: Path, rate: float | None = None) -> ArkitTable:
    """Read a CSV file with a row for each frame and a column for each of the 52 values.

    Times are those of a column named so (seconds, or milliseconds where it says ``ms``), or of a time code
    ``hours:minutes:seconds:frames``. Rows whose time does not grow are left out and counted.

    Args:
        path: The file; commas, semicolons or tabs between its cells.
        rate: Frames a second of its time code, or of its rows; by default found from the time code, else 60.

    Raises:
        AssetFormatError: No such table: empty, no known column, a cell that is no number; the message names the line.

    Source: columns and time code of recordings of Epic's app Live Link Face.
    """
    lines = _lines(path)
    header, rows = [cell.strip() for cell in lines[0][1]], lines[1:]
    found = _columns(path, header)
    notes = []
    if missing := [name for name in ARKIT_NAMES if name not in found and name != "tongueOut"]:
        names = ", ".join(missing[:_MISSING_SHOWN]) + (", ..." if len(missing) > _MISSING_SHOWN else "")
        notes.append(f"no column for {len(missing)} of the 52 values, which stay 0: {names}")
    values = np.zeros((len(rows), len(ARKIT_NAMES)))
    for name, column in found.items():
        values[:, ARKIT_NAMES.index(name)] = _numbers(path, rows, column, header[column])
    if values.max() > _PERCENT:
        values /= 100
        notes.append("values are taken for percent")
    places = {_bare(name): column for column, name in enumerate(header)}
    head = None
    if all(name in places for name in _HEAD):
        head = np.stack([_numbers(path, rows, places[name], header[places[name]]) for name in _HEAD], axis=1)
    times, said = _times(path, rows, places, rate)
    kept = _growing(times)
    if not kept.all():
        notes.append(f"{int((~kept).sum())} of {len(kept)} rows are left out: their time does not grow")
    return ArkitTable(times[kept] - times[0], values[kept], None if head is None else head[kept], (*notes, *said))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of every line that is not empty; the header, and at least one more."""
    text = read_text(path, TEXT_BYTES)
    first = text.lstrip("\n").partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        reader = csv.reader(text.splitlines(), delimiter=separator)
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise AssetFormatError(f"{path} is not a CSV file: {error}") from None
    if len(lines) < 2:
        raise AssetFormatError(f"{path} is empty: it needs a line of column names and a row for each frame")
    return lines


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for column, cell in enumerate(header):
        name = arkit_name(cell)
        if name is not None and name in found:
            raise AssetFormatError(
                f"{path}: columns '{shown(header[found[name]])}' and '{shown(cell)}' are both {name}"
            )
        if name is not None:
            found[name] = column
    if not found:
        hint = did_you_mean(header[-1], ARKIT_NAMES)
        raise AssetFormatError(
            f"{path} has no column with an ARKit name such as jawOpen; it begins with: "
            f"{', '.join(map(shown, header[:5]))}.{hint}"
        )
    return found


def _numbers(path: Path, rows: Sequence[tuple[int, list[str]]], column: int, name: str) -> Float[ndarray, "N"]:
    try:
        values = np.array([float(cells[column]) for _, cells in rows])
    except (ValueError, IndexError):
        values = np.array([_number(cells, column) for _, cells in rows])
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        line, cells = rows[int(bad[0])]
        cell = f"'{shown(cells[column])}' is no number" if column < len(cells) else "the row ends before it"
        raise AssetFormatError(f"{path}, line {line}, column {shown(name)}: {cell}")
    return values


def _number(cells: Sequence[str], column: int) -> float:
    try:
        return float(cells[column])
    except (ValueError, IndexError):
        return np.nan


def _times(
    path: Path, rows: Sequence[tuple[int, list[str]]], places: dict[str, int], rate: float | None
) -> tuple[Float[ndarray, "N"], tuple[str, ...]]:
    """Seconds of each row, and what was assumed."""
    for name, unit in _UNITS.items():
        if name in places:
            return unit * _numbers(path, rows, places[name], name), ()
    if "timecode" not in places:
        note = () if rate else (f"no column of times: {_USUAL_RATE:g} rows a second are assumed; --fps says otherwise",)
        return np.arange(len(rows)) / (rate or _USUAL_RATE), note
    column = places["timecode"]
    parts = np.array([_time_code(path, line, cells[column] if column < len(cells) else "") for line, cells in rows])
    seconds, frames = parts.T
    told = rate or _rate_of(seconds, frames)
    if told is None:
        told = max(_USUAL_RATE, frames.max() + 1)
        said = f"its time code does not tell how many frames a second has: {told:g} are assumed; --fps says otherwise"
        return seconds + frames / told, (said,)
    return seconds + frames / told, ()


def _rate_of(seconds: Float[ndarray, "N"], frames: Float[ndarray, "N"]) -> float | None:
    """The usual rate at which frames go on evenly from one second to the next; ``None`` where no such place tells."""
    crossed, steps = np.diff(seconds) == 1, np.diff(frames)
    if not crossed.any() or crossed.all():
        return None
    usual = float(np.median(steps[~crossed]))
    possible = [float(rate) for rate in _RATES if rate > frames.max()]
    away = [np.abs(rate + steps[crossed] - usual).min() for rate in possible]
    return possible[int(np.argmin(away))] if away and min(away) < usual / 2 else None


def _time_code(path: Path, line: int, text: str) -> tuple[float, float]:
    """Whole seconds, and frames."""
    match = _TIME_CODE.fullmatch(text.strip())
    if match is None:
        raise AssetFormatError(f"{path}, line {line}: '{shown(text)}' is no time code such as 10:20:30:12.345")
    hours, minutes, seconds = (int(part) for part in match.groups()[:3])
    return 3600.0 * hours + 60 * minutes + seconds, float(match[4])


def _growing(times: Float[ndarray, "N"]) -> ndarray:
    """Rows that are later than all before them."""
    before = np.maximum.accumulate(np.concatenate([[-np.inf], times[:-1]]))
    return np.asarray(times > before)


def _bare(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
