"""Sheets of retrieved faces: one page that needs no other file, and one picture, for each query."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from emoca_core.datasets import ManifestRow
from emoca_core.errors import ImageError
from emoca_core.export.png import png_bytes
from emoca_core.files import atomic_write, write_text
from emoca_core.images.photos import read_photo
from emoca_core.images.warp import square_to_image, to_uint8, warp
from emoca_core.measures.tables import UNDEFINED
from emoca_core.pages import html_page
from emoca_core.retrieval.index import Index
from emoca_core.retrieval.query import Query
from emoca_core.retrieval.search import Neighbours

SIDE = 128
"""Of a face, pixels."""
_GAP, _FONT, _LINES = 12, 12, 3
_PAPER, _INK, _SOFT = (255, 255, 255), (29, 29, 33), (107, 107, 117)
_COLUMNS = 10


@dataclass(frozen=True)
class Cell:
    """One face of a sheet.

    Attributes:
        face: The square that was looked at; ``None`` where its photo cannot be read any more.
        title: Rank and distance.
        facts: Class, valence and arousal, person or clip.
        name: Path of the photo.
    """

    face: UInt8[ndarray, "S S 3"] | None
    title: str
    facts: tuple[str, ...]
    name: str

    @property
    def source(self) -> str:
        """The face as the address of an ``img``."""
        return "" if self.face is None else f"data:image/png;base64,{base64.b64encode(png_bytes(self.face)).decode()}"


@dataclass(frozen=True)
class Sheet:
    """What was found for one query.

    Attributes:
        query: The face that was asked for.
        sections: Title and faces.
        notes: How it was searched.
    """

    query: Cell
    sections: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]


def sheet_of(
    index: Index, query: Query, metric: str = "l2", top: int = 10, distinct: str | None = None, every: int = 10
) -> Sheet:
    """Search, and collect what the sheets show.

    Args:
        index: The faces.
        query: The face that is asked for.
        metric: How distances are measured.
        top: Neighbours shown.
        distinct: One of each person, clip or photo alone, and none of the query's own.
        every: The second part shows ranks 0, ``every``, 2 ``every``, ..., ``top`` of them, as in the paper; 0: none.
    """
    asked = query.feature[None]
    nearest = index.search(asked, top, metric, distinct, [query.row], query.rows)
    title = f"The nearest: one of each {distinct}, none of the query's own" if distinct else "The nearest"
    sections = [(title, tuple(_cells(index, nearest, range(top))))]
    if every:
        far = index.search(asked, (top - 1) * every + 1, metric, None, [query.row], query.rows)
        ranks = range(0, far.rows.shape[1], every)
        sections.append((f"Ranks 0, {every}, {2 * every}, ..., whoever it is", tuple(_cells(index, far, ranks))))
    known = index.faces[query.row] if query.row >= 0 else ManifestRow(query.path.name)
    head = Cell(face_in(query.pixels, query.box), "query", tuple(facts_of(known)), query.path.name)
    card = index.card
    searched = f"{card.by}, {card.dimensions} numbers ({', '.join(card.inputs)}), metric {metric}, {len(index)} faces"
    notes = (searched, "Rank 0 is the nearest.")
    return Sheet(head, tuple(sections), notes)


def _cells(index: Index, found: Neighbours, ranks: Sequence[int]) -> Iterator[Cell]:
    for rank in ranks:
        if rank < found.rows.shape[1] and (row := int(found.rows[0, rank])) >= 0:
            known = index.faces[row]
            title = f"{rank}: {found.distances[0, rank]:.3g}"
            yield Cell(_face_of(index, known), title, tuple(facts_of(known)), known.path)


def facts_of(row: ManifestRow) -> Iterator[str]:
    """What a manifest knows of a face, in a few words."""
    if row.expression:
        yield row.expression
    if row.valence is not None or row.arousal is not None:
        yield f"V {_signed(row.valence)} A {_signed(row.arousal)}"
    if row.identity or row.clip:
        yield row.identity or str(row.clip)


def face_in(pixels: UInt8[ndarray, "H W 3"], box: Float[ndarray, "4"]) -> UInt8[ndarray, "S S 3"]:
    """A square of a photo as a small picture."""
    centre, side = (box[:2] + box[2:]) / 2, float(box[2] - box[0])
    return to_uint8(warp(pixels, square_to_image(centre, side, SIDE, corners=True), SIDE, antialias=True))


def write_page(sheet: Sheet, path: Path) -> None:
    """Write the sheet as HTML.

    Raises:
        OSError: The file cannot be written.
    """
    write_text(path, html_page("retrieval", title=f"Faces like {sheet.query.name}", sheet=sheet))


def write_picture(sheet: Sheet, path: Path) -> None:
    """Write the sheet as PNG: the query to the left, its neighbours in rows.

    Raises:
        OSError: The file cannot be written.
    """
    step, line = SIDE + _GAP, _FONT + 4
    height, title = SIDE + (_LINES + 1) * line, line + _GAP
    rows = [
        (head, cells[i : i + _COLUMNS], i) for head, cells in sheet.sections for i in range(0, len(cells), _COLUMNS)
    ]
    columns = 1 + max([len(cells) for _, cells, _ in rows], default=0)
    size = (columns * step + 3 * _GAP, max(1, len(rows)) * (height + title) + 2 * _GAP + line)
    page = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT)
    _draw(page, draw, font, sheet.query, _GAP, _GAP + title)
    for number, (head, cells, first) in enumerate(rows):
        top = _GAP + number * (height + title)
        if not first:
            draw.text((step + 2 * _GAP, top), head, _INK, font)
        for column, cell in enumerate(cells):
            _draw(page, draw, font, cell, (1 + column) * step + 2 * _GAP, top + title)
    draw.text((_GAP, size[1] - line - _GAP), "  ".join(sheet.notes), _SOFT, font)
    with atomic_write(path) as temporary:
        page.save(temporary)


def _draw(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    font: "ImageFont.FreeTypeFont | ImageFont.ImageFont",
    cell: Cell,
    left: int,
    top: int,
) -> None:
    if cell.face is None:
        draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), outline=_SOFT)
    else:
        page.paste(Image.fromarray(cell.face), (left, top))
    lines = [(cell.title, _INK), *((fact, _SOFT) for fact in cell.facts[:_LINES])]
    for number, (text, colour) in enumerate(lines):
        draw.text((left, top + SIDE + 2 + number * (_FONT + 4)), _fitting(text, font), colour, font)


def _fitting(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """A text shortened to the width of a face, in characters that the font has."""
    text = text.encode("latin-1", "replace").decode("latin-1")
    while text and font.getlength(text) > SIDE:
        text = f"{text[:-2]}-" if len(text) > 2 else ""
    return text


def _face_of(index: Index, row: ManifestRow) -> UInt8[ndarray, "S S 3"] | None:
    try:
        return face_in(read_photo(index.faces.image_path(row)).pixels, np.asarray(row.box, np.float64))
    except ImageError:
        return None


def _signed(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:+.2f}"
