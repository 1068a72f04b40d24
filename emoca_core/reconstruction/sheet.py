"""The contact sheet of an output folder, made from what lies in it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from emoca_core.errors import EmocaError
from emoca_core.export.contact_sheet import SheetRow, write_contact_sheet
from emoca_core.files import path_below
from emoca_core.interfaces import FaceEmotion
from emoca_core.parsing import read_record
from emoca_core.reconstruction.results import CONTACT_SHEET, AnyRecord, ClipResult, PhotoResult, Result, finished
from emoca_core.reconstruction.saving import RECORD, SEQUENCE_RECORD

_STRONG, _SHOWN = 0.25, 4
"""Activations above the first are worth naming, at most so many."""


class _Face(BaseModel):
    index: int


class _Recipe(BaseModel):
    name: str


class _Landmarks(BaseModel):
    mean_error_interocular: float | None = None


class _Arkit(BaseModel):
    values: dict[str, float] = {}


class _Quality(BaseModel):
    verdict: str = ""
    reasons: list[str] = []


class _Page(BaseModel):
    links: dict[str, str]
    picture: str | None
    thumbnail: str | None


class _Seconds(BaseModel):
    first: float
    last: float


class _SequenceRecord(BaseModel):
    """What the page shows of ``sequence.json``."""

    track: int
    recipe: _Recipe
    frames: int
    seconds: _Seconds
    page: _Page


class _FaceRecord(BaseModel):
    """What the page shows of ``face.json``."""

    face: _Face
    recipe: _Recipe
    quality: _Quality = _Quality()
    page: _Page
    landmarks: _Landmarks | None
    arkit: _Arkit | None
    emotion: FaceEmotion | None = None


def write_index(out: Path, failures: Iterable[tuple[str, str]] = ()) -> Path:
    """Write ``index.html`` for everything finished under an output folder.

    Args:
        out: The output folder.
        failures: Input and reason, of this run.

    Returns:
        The page.

    Raises:
        OSError: It cannot be written.
    """
    path = out / CONTACT_SHEET
    rows = [*_rows(out, PhotoResult, "photo", _row), *_rows(out, ClipResult, "clip", _clip_row)]
    write_contact_sheet(path, "EMOCA Core", rows, failures)
    return path


def _rows(
    out: Path, kind: type[Result[AnyRecord]], what: str, row: Callable[[Path, str, Path], SheetRow]
) -> Iterator[SheetRow]:
    for folder, record in finished(out, kind):
        if not record.parts:
            yield SheetRow(record.file, "no face found")
        for name in record.parts:
            try:
                yield row(out, record.file, path_below(folder, name))
            except EmocaError:
                yield SheetRow(record.file, f"{name} is damaged: reconstruct the {what} again with --overwrite")


def _clip_row(out: Path, name: str, folder: Path) -> SheetRow:
    record = read_record(folder / SEQUENCE_RECORD, _SequenceRecord)
    row = SheetRow(
        photo=name,
        title=f"track {record.track}, {record.recipe.name}",
        is_face=True,
        facts=[f"{record.frames} frames, {record.seconds.last - record.seconds.first:.1f} s"],
    )
    return _with_files(row, out, folder, record.page)


def _row(out: Path, name: str, folder: Path) -> SheetRow:
    record = read_record(folder / RECORD, _FaceRecord)
    row = SheetRow(
        photo=name,
        title=f"face {record.face.index}, {record.recipe.name}",
        is_face=True,
        facts=list(_facts(record)),
        warning=_warning(record.quality),
    )
    return _with_files(row, out, folder, record.page)


def _with_files(row: SheetRow, out: Path, folder: Path, page: _Page) -> SheetRow:
    def link(file: str) -> Path:
        return path_below(folder, file, what=f"file of {folder},").relative_to(out)

    return replace(
        row,
        thumbnail=link(page.thumbnail) if page.thumbnail else None,
        picture=link(page.picture) if page.picture else None,
        files=[(label, link(file)) for label, file in page.links.items()],
    )


def _warning(quality: _Quality) -> str:
    return f"doubtful: {'; '.join(quality.reasons)}" if quality.verdict == "doubtful" else ""


def _facts(record: _FaceRecord) -> Iterator[str]:
    if record.landmarks and record.landmarks.mean_error_interocular is not None:
        yield f"landmark error {100 * record.landmarks.mean_error_interocular:.1f} % of the eye distance"
    if record.emotion is not None:
        yield str(record.emotion)
    values = record.arkit.values if record.arkit else {}
    strongest = sorted(values.items(), key=lambda item: -item[1])[:_SHOWN]
    if shown := [f"{name} {value:.2f}" for name, value in strongest if value > _STRONG]:
        yield ", ".join(shown)
