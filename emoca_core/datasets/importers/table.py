"""Any CSV file with a line for each face: which column means what is said by the user, or by its name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.names import split_name
from emoca_core.datasets.importers.values import csv_lines, folder, is_empty, level, level_or_mark, number, points
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError, unknown_name
from emoca_core.parsing import shown
from emoca_core.vocabulary.emotions import expression_name

COLUMNS = tuple(one.name for one in fields(ManifestRow))


def read_table(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Rows of one CSV file; paths in it start at ``root``.

    Raises:
        AssetFormatError: No file, no such column, or a cell of the wrong form; the message names the line.
        UnknownNameError: A column is to be mapped to something that manifests do not have.
    """
    path = options.file or _only_table(folder(root))
    if unknown := [name for name in options.columns if name not in COLUMNS]:
        raise unknown_name("manifest column", unknown[0], COLUMNS)
    readers = _readers(options, tally)
    lines = csv_lines(path)
    _, names = next(lines, ("", []))
    source = _sources(path, names, options.columns)
    for place, cells in lines:
        if not cells:  # an empty line
            continue
        values = {name: _cell(cells, names.index(column), column, place) for name, column in source.items()}
        if is_empty(values["path"]):
            raise AssetFormatError(f"{place}: the path is empty")
        yield ManifestRow(**{name: readers[name](text, place) for name, text in values.items() if not is_empty(text)})


def _only_table(root: Path) -> Path:
    files = sorted(path for path in root.glob("*.csv") if not path.name.startswith("."))
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise AssetFormatError(f"{root} holds {len(files)} CSV files ({found}): name one with --csv")
    return files[0]


def _sources(path: Path, names: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    known = ", ".join(map(shown, names)) or "nothing"
    for wanted in columns.values():
        if wanted not in names:
            raise AssetFormatError(f"{path} has no column '{wanted}'; it has: {known}")
    source = {name: name for name in COLUMNS if name in names} | dict(columns)
    if "path" not in source:
        raise AssetFormatError(
            f"{path} has no column 'path'; say which one it is with --columns path=NAME. It has: {known}"
        )
    if twice := [name for name in source.values() if names.count(name) > 1]:
        raise AssetFormatError(f"{path} has two columns '{twice[0]}'")
    return source


def _cell(cells: list[str], number: int, column: str, place: str) -> str:
    if number >= len(cells):
        raise AssetFormatError(f"{place}: the cell '{column}' is missing")
    return cells[number]


def _readers(options: ImportOptions, tally: Tally) -> Mapping[str, Callable[[str, str], Any]]:
    def expression(text: str, place: str) -> str:
        if not options.classes:
            return expression_name(text)
        code = number(text, place, "expression")
        if code not in range(len(options.classes)):
            raise AssetFormatError(f"{place}: expression is {text}, but {len(options.classes)} classes were named")
        return expression_name(options.classes[int(code)])

    def affect(what: str) -> Callable[[str, str], float | None]:
        low, high = options.va_range

        def read(text: str, place: str) -> float | None:
            value = number(text, place, what)
            if (low, high) == (-1, 1):
                return level_or_mark(value, place, what, tally)
            return level((2 * value - low - high) / (high - low), place, what)

        return read

    def numbers(text: str, place: str) -> tuple[float, ...]:
        return tuple(number(part, place, "a number of a list") for part in text.replace(";", " ").split())

    def box(text: str, place: str) -> tuple[float, ...]:
        values = numbers(text, place)
        if len(values) != 4:
            raise AssetFormatError(f"{place}: the box has {len(values)} numbers instead of 4 (x0 y0 x1 y1)")
        return values

    def keep(text: str, place: str) -> str:
        return text

    return {
        **dict.fromkeys(("path", "identity", "clip", "mask"), keep),
        "split": lambda text, place: split_name(text),
        "expression": expression,
        "valence": affect("valence"),
        "arousal": affect("arousal"),
        "frame": lambda text, place: int(number(text, place, "frame")),
        "box": box,
        "landmarks": lambda text, place: points(text.replace(";", " ").split(), place),
    }
