"""AffectNet as first published: CSV files beside folders of photos.

``Manually_Annotated/training.csv`` and ``validation.csv`` (with or without a header) list photos of
``Manually_Annotated_Images``; the automatic part has ``automatically_annotated.csv``. Boxes and landmarks are in pixels
of the photos.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.names import AFFECTNET_EXCLUDED
from emoca_core.datasets.importers.values import (
    affectnet_class,
    csv_lines,
    folder,
    is_empty,
    level_or_mark,
    number,
    points,
)
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError

COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
"""In the published order, for files without a header."""
_LISTS: Mapping[str, str] = {
    "training.csv": "train",
    "validation.csv": "validation",
    "automatically_annotated.csv": "automatic",
}
_LIST_FOLDERS = ("", "Manually_Annotated", "Manually_Annotated_file_lists", "Automatically_annotated_file_list")
_PHOTO_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "training.csv": ("Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated_Images"),
    "validation.csv": ("Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated_Images"),
    "automatically_annotated.csv": (
        "Automatically_Annotated/Automatically_Annotated_Images",
        "Automatically_Annotated_Images",
    ),
}


def read_csv_release(root: Path, options: ImportOptions, tally: Tally) -> Iterator[ManifestRow]:
    """Rows of all lists that are there.

    Raises:
        AssetFormatError: No list, no folder of photos, or a cell of the wrong form; the message names the line.
    """
    found = [folder(root) / place / name for name in _LISTS for place in _LIST_FOLDERS]
    lists = [path for path in found if path.is_file()]
    if not lists:
        raise AssetFormatError(
            f"{root} holds none of AffectNet's lists ({', '.join(_LISTS)}). For the release of 8 classes with images/ "
            "and annotations/, import affectnet8."
        )
    for path in lists:
        yield from _read_list(path, root, tally)


def _read_list(path: Path, root: Path, tally: Tally) -> Iterator[ManifestRow]:
    places = _PHOTO_FOLDERS[path.name]
    photos = next((place for place in places if (root / place).is_dir()), None)
    if photos is None:
        raise AssetFormatError(f"{root} lacks the photos of {path.name}: expected {' or '.join(places)}")
    names: tuple[str, ...] = COLUMNS
    for position, (place, cells) in enumerate(csv_lines(path, errors="replace")):
        if position == 0 and COLUMNS[0] in cells:
            names = _header(cells, place)
            continue
        if len(cells) != len(names):
            raise AssetFormatError(f"{place}: {len(cells)} cells instead of {len(names)}")
        row = _row(dict(zip(names, cells, strict=True)), place, _LISTS[path.name], photos, tally)
        if row is not None:
            yield row


def _header(cells: list[str], place: str) -> tuple[str, ...]:
    if missing := [name for name in COLUMNS if name not in cells]:
        raise AssetFormatError(f"{place}: the column '{missing[0]}' is missing; it has: {', '.join(cells)}")
    return tuple(cells)


def _row(cells: Mapping[str, str], place: str, split: str, photos: str, tally: Tally) -> ManifestRow | None:
    expression = affectnet_class(cells["expression"], place)
    if expression in AFFECTNET_EXCLUDED:
        tally.dropped[f"class {expression}"] += 1
        return None
    valence, arousal = (
        level_or_mark(number(cells[name], place, name), place, name, tally) for name in ("valence", "arousal")
    )
    landmarks = None
    if not is_empty(cells["facial_landmarks"]):
        landmarks = points([text for text in cells["facial_landmarks"].split(";") if text], place)
    return ManifestRow(
        path=f"{photos}/{cells[COLUMNS[0]]}",
        split=split,
        expression=expression,
        valence=valence,
        arousal=arousal,
        box=_box([cells[name] for name in COLUMNS[1:5]], place),
        landmarks=landmarks,
    )


def _box(cells: list[str], place: str) -> tuple[float, ...] | None:
    if any(map(is_empty, cells)):
        return None
    x, y, width, height = (number(text, place, name) for text, name in zip(cells, COLUMNS[1:5], strict=True))
    return x, y, x + width, y + height
