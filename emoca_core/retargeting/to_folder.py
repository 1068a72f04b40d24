"""One source and many drivers to a folder: what is finished is skipped, one bad driver stops no other."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from emoca_core.claims import Claim
from emoca_core.errors import EmocaError, OutputError, RecipeError, first_line
from emoca_core.export.codes import write_record
from emoca_core.export.contact_sheet import SheetRow, write_contact_sheet
from emoca_core.files import delete_made, leads_out, none_left_empty, path_below, plain_name, sha256_of, writing_to
from emoca_core.images.photo_search import natural_key
from emoca_core.interfaces import CapturedFace, EmotionBackbone, Exporter, Loss
from emoca_core.method import Method
from emoca_core.parsing import read_record
from emoca_core.reconstruction.report import BAD_FACE
from emoca_core.reconstruction.results import (
    CONTACT_SHEET,
    delete_unfinished,
    fingerprint_of,
    is_stopped,
    photo_fingerprint,
    source_id,
    unfinished_folder,
)
from emoca_core.reconstruction.saving import (
    DEFAULT_SEQUENCE_WRITE,
    SEQUENCE_RECORD,
    build_exporters,
    refuse_photo_formats,
    save_sequence,
)
from emoca_core.retargeting.drivers import EMOTION, driver_hash, driver_label, largest_face
from emoca_core.retargeting.facts import facts_of
from emoca_core.retargeting.measures import measured
from emoca_core.retargeting.onto import Onto
from emoca_core.retargeting.retarget_settings import RetargetSettings
from emoca_core.retargeting.retargeted_sequence import retarget

RECORD = "retarget.json"
"""Written last: a retargeting is complete when this file is there."""
_KEPT = "What is finished is kept; the same command goes on where this one stopped."


class _Page(BaseModel):
    links: dict[str, str]
    picture: str | None
    thumbnail: str | None


class RetargetRecord(BaseModel, extra="allow"):
    """``retarget.json``: what the page shows, and what it depends on."""

    format: Literal["emoca-retarget-1"]
    fingerprint: str
    owner: str
    title: str
    recipe: str
    facts: list[str]
    page: _Page


@dataclass
class RetargetReport:
    """What became of the drivers.

    Attributes:
        done: Names of the folders that were written.
        skipped: Of those that were finished before.
        failed: Driver and reason.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def retarget_to_folder(
    method: Method,
    source: str | Path,
    driving: Sequence[str | Path],
    out: str | Path,
    *,
    settings: RetargetSettings | None = None,
    onto: Onto | None = None,
    witness: tuple[str, EmotionBackbone] | None = None,
    recognition: tuple[str, Loss] | None = None,
    write: Sequence[str] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> RetargetReport:
    """Let the face of a photo move as each of the drivers does, into a folder with an ``index.html``.

    Args:
        method: What ``emoca_core.load_method`` returned.
        source: The photo.
        driving: What moves it; see ``open_driving``.
        out: Output folder; each driver gets ``SOURCE_by_DRIVER`` in it.
        settings: How movement is handed on.
        onto: Another head that moves as well.
        witness: Name of a trained emotion backbone that took no part, and itself.
        recognition: Name of a loss that compares identities, and itself; see ``find_recognition``.
        write: Names of exporters; by default those of clips.
        overwrite: Do finished ones again.
        say: Receives lines for people; by default they go to stderr.

    Raises:
        ImageError: The source shows no face, or cannot be read.
        OutputError: The output folder cannot be written or holds somebody else's page, or the disk is full.
        UnknownNameError: There is no such exporter.
    """
    exporters = build_exporters(write or DEFAULT_SEQUENCE_WRITE)
    refuse_photo_formats(exporters)
    if method.landmarker is None:
        raise RecipeError(f"recipe '{method.name}' has no landmarker, so it cannot find faces in photos")
    judges = (witness, recognition)
    run = _Run(
        method=method,
        source=Path(source).expanduser(),
        out=Path(out),
        settings=settings or RetargetSettings(),
        exporters=exporters,
        onto=onto,
        judges=judges,
        overwrite=overwrite,
        say=say or _to_stderr,
    )
    with writing_to(run.out, _KEPT), none_left_empty(run.out):
        run.out.mkdir(parents=True, exist_ok=True)
        _refuse_others(run.out)
        for one in driving:
            run.one(str(one))
        if run.report.done or run.report.skipped or (run.out / CONTACT_SHEET).exists():
            write_index(run.out, run.report.failed)
    return run.report


@dataclass
class _Run:
    """One call of ``retarget_to_folder``."""

    method: Method
    source: Path
    out: Path
    settings: RetargetSettings
    exporters: Mapping[str, Exporter]
    onto: Onto | None
    judges: tuple[tuple[str, EmotionBackbone] | None, tuple[str, Loss] | None]
    overwrite: bool
    say: Callable[[str], None]
    report: RetargetReport = field(default_factory=RetargetReport)

    @cached_property
    def face(self) -> CapturedFace:
        return largest_face(self.method, self.source, self.settings)

    @cached_property
    def fingerprint(self) -> str:
        witness, recognition = self.judges
        facts: dict[str, object] = {
            "settings": self.settings.describe(),
            "onto": self.onto and self.onto.sha256,
            "witness": witness and witness[0],
            "recognition": recognition and recognition[0],
            "source": sha256_of(self.source),
        }
        return fingerprint_of(self.method, facts, self.exporters)

    def one(self, text: str) -> None:
        """One driver; what is wrong with it is told, and the next one comes."""
        face = self.face  # what is wrong with the source concerns all drivers
        try:
            fingerprint = photo_fingerprint(self.fingerprint, driver_hash(text, self.settings))
            folder = self._folder(text)
            if self._is_finished(folder, fingerprint):
                self.report.skipped.append(folder.name)
                return
            with none_left_empty(folder):
                folder.mkdir(exist_ok=True)
                with Claim.wait(folder, lambda: self.say(f"waiting for another process, which works on {folder}")):
                    if not self._is_finished(folder, fingerprint):
                        self._work(text, face, folder, fingerprint)
                        self.report.done.append(folder.name)
        except BAD_FACE as error:
            self.report.failed.append((text, first_line(error)))
            self.say(first_line(error) if text in first_line(error) else f"{text}: {first_line(error)}")

    def _folder(self, text: str) -> Path:
        """The driver's own folder: another driver of the same name gets another one."""
        owner, name = self._owner(text), plain_name(f"{self.source.stem}_by_{driver_label(text)}")
        for candidate in (name, f"{name}-{owner[:6]}"):
            record = _record(self.out / candidate)
            if record is None or record.owner == owner:
                return path_below(self.out, candidate)
        return path_below(self.out, f"{name}-{owner}")

    def _owner(self, text: str) -> str:
        driver = Path(text if text.startswith(EMOTION) else Path(text).expanduser())
        return source_id(Path(f"{source_id(self.source)} {source_id(driver)}"))

    def _is_finished(self, folder: Path, fingerprint: str) -> bool:
        record = None if self.overwrite else _record(folder)
        return record is not None and record.fingerprint == fingerprint and (folder / SEQUENCE_RECORD).is_file()

    def _work(self, text: str, face: CapturedFace, folder: Path, fingerprint: str) -> None:
        if _record(folder) is None and (folder / RECORD).exists():
            raise OutputError(f"{folder / RECORD} is damaged, or not of `emoca retarget`: move it away")
        stopped = is_stopped(folder, fingerprint)
        unfinished = unfinished_folder(folder, fingerprint)
        try:
            moved = retarget(self.method, face, text, self.settings, kept=unfinished)
            for note in moved.driving.notes:
                self.say(f"{text}: {note}")
            moved, measures = measured(moved, *self.judges)
        except BAD_FACE:
            if not stopped:
                delete_made(unfinished)
            raise
        (folder / RECORD).unlink(missing_ok=True)  # so that a stop from here on leaves no mark of completion
        save_sequence(moved, folder, self.exporters)
        page = read_record(folder / SEQUENCE_RECORD, _Sequence).page
        notes: list[str] = []
        if self.onto is not None:
            notes = list(self.onto.write(folder / self.onto.file, moved))
            page.links[self.onto.file] = self.onto.file
            for note in notes:
                self.say(f"{text}: {note}")
        record = {
            "format": "emoca-retarget-1",
            "fingerprint": fingerprint,
            "owner": self._owner(text),
            "title": moved.title,
            "recipe": self.method.name,
            **moved.describe(),
            "measures": measures.describe(),
            "onto": None if self.onto is None else {"file": self.onto.file, "notes": notes},
            "facts": facts_of(moved, measures, notes),
            "page": page.model_dump(),
        }
        write_record(folder / RECORD, record)
        delete_unfinished(folder)


class _Sequence(BaseModel):
    """What is taken from ``sequence.json``."""

    page: _Page


def _record(folder: Path) -> RetargetRecord | None:
    try:
        return read_record(folder / RECORD, RetargetRecord)
    except EmocaError:
        return None


def _refuse_others(out: Path) -> None:
    """Refuse a folder with a page, and no retargeting of ours, finished or stopped.

    Raises:
        OutputError: It is one.
    """
    ours = any(is_stopped(each) or _record(each) is not None for each in out.glob("*/"))
    if os.path.lexists(out / CONTACT_SHEET) and not ours:
        raise OutputError(f"{out / CONTACT_SHEET} is not of `emoca retarget`: move it, or choose another --out")


def write_index(out: Path, failures: Sequence[tuple[str, str]]) -> None:
    """The page of everything that is finished in an output folder.

    Raises:
        OSError: It cannot be written.
    """
    rows = []
    for path in sorted(out.glob(f"*/{RECORD}"), key=lambda path: natural_key(path.parent.name)):
        if not leads_out(out, path.parent) and (record := _record(path.parent)) is not None:
            rows.append(_row(out, path.parent, record))
    write_contact_sheet(out / CONTACT_SHEET, "EMOCA Core: retargeting", rows, failures)


def _row(out: Path, folder: Path, record: RetargetRecord) -> SheetRow:
    def link(file: str) -> Path:
        return path_below(folder, file, what=f"file of {folder},").relative_to(out)

    page = record.page
    return SheetRow(
        photo=record.title,
        title=record.recipe,
        is_face=True,
        facts=record.facts,
        thumbnail=link(page.thumbnail) if page.thumbnail else None,
        picture=link(page.picture) if page.picture else None,
        files=[*((label, link(file)) for label, file in page.links.items()), ("measures", link(RECORD))],
    )


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
