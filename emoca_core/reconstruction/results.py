"""Where results lie, and whether they are finished.

``OUT/<photo>/face_0/...`` holds one face each, ``OUT/<clip>/track_0/...`` one person of a clip.
``OUT/<photo>/photo.json`` (or ``clip.json``) is written last: it names the photo, the
faces, and a fingerprint of everything the result depends on. A photo whose fingerprint is there needs no second look.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel

from emoca_core.errors import EmocaError, UnsafePathError
from emoca_core.export.codes import write_record
from emoca_core.files import MARKER, begin_folder, delete_made, leads_out, path_below, plain_name
from emoca_core.images.photo_search import natural_key
from emoca_core.interfaces import Exporter, Photo
from emoca_core.method import Method
from emoca_core.parsing import read_record
from emoca_core.reconstruction.captured import describe_assets, describe_photo, describe_recipe
from emoca_core.reconstruction.saving import RECORD, SEQUENCE_RECORD
from emoca_core.version import VERSION

PHOTO_RECORD = "photo.json"
CLIP_RECORD = "clip.json"
CONTACT_SHEET = "index.html"
_FORMAT = "emoca-photo-1"
_UNFINISHED = "unfinished-"


class PhotoFacts(BaseModel, extra="allow"):
    """What ``photo.json`` says of the photo itself."""

    file: str
    sha256: str | None = None


class PhotoRecord(BaseModel, extra="allow"):
    """``photo.json``."""

    format: Literal["emoca-photo-1"]
    photo: PhotoFacts
    source: str
    recipe: str | None = None
    faces: list[str]
    fingerprint: str

    @property
    def file(self) -> str:
        """Name of the photo."""
        return self.photo.file

    @property
    def parts(self) -> list[str]:
        """Names of the folders that belong to it."""
        return self.faces


class ClipRecord(BaseModel, extra="allow"):
    """``clip.json``."""

    format: Literal["emoca-clip-1"]
    clip: PhotoFacts
    source: str
    recipe: str
    tracks: list[str]
    fingerprint: str

    @property
    def file(self) -> str:
        """Name of the clip."""
        return self.clip.file

    @property
    def parts(self) -> list[str]:
        """Names of the folders that belong to it."""
        return self.tracks


AnyRecord = TypeVar("AnyRecord", PhotoRecord, ClipRecord)


@dataclass(frozen=True)
class Result(Generic[AnyRecord]):
    """The output folder of one photo or clip; its completion mark is written last.

    Attributes:
        form: What its completion mark says.
        mark: Name of the completion mark.
        part: The folders of faces or people are called so, with a number.
        part_mark: What is written last in each of them.
    """

    folder: Path
    form: ClassVar[type[PhotoRecord] | type[ClipRecord]]
    mark: ClassVar[str]
    part: ClassVar[str]
    part_mark: ClassVar[str]

    def part_folder(self, number: int) -> Path:
        """Where one face or person goes.

        Raises:
            UnsafePathError: A link that leads out of the folder is in its place.
        """
        return path_below(self.folder, f"{self.part}_{number}")

    def record(self) -> AnyRecord | None:
        """What the completion mark says; ``None`` where there is none, or none of ours."""
        try:
            return read_record(self.folder / self.mark, self.form)  # type: ignore[return-value]
        except EmocaError:
            return None

    def is_finished(self, fingerprint: str) -> bool:
        """Whether everything is there that a run with this fingerprint would write."""
        record = self.record()
        if record is None or record.fingerprint != fingerprint:
            return False
        try:
            parts = [
                path_below(self.folder, name, what=f"{self.part} in {self.folder / self.mark},")
                for name in record.parts
            ]
        except UnsafePathError:
            return False
        return all((part / self.part_mark).is_file() for part in parts)

    def _finish(self, record: AnyRecord) -> list[Path]:
        """Remove faces or people of earlier runs that are no longer found, and set the completion mark.

        Returns:
            Folders of such that stay, because they hold files that this program did not make.
        """
        gone = [old for old in self.folder.glob(f"{self.part}_*") if old.name not in record.parts]
        kept = [old for old in gone if (old / self.part_mark).is_file() and not delete_made(old, self.part_mark)]
        write_record(self.folder / self.mark, record.model_dump(mode="json"))
        return kept


@dataclass(frozen=True)
class PhotoResult(Result[PhotoRecord]):
    """The output folder of one photo: ``face_0/...`` holds one face each."""

    form, mark, part, part_mark = PhotoRecord, PHOTO_RECORD, "face", RECORD

    def start(self) -> None:
        """Take the completion mark away: from here on the folder is unfinished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / PHOTO_RECORD).unlink(missing_ok=True)

    def finish(self, photo: Photo, source: str, faces: int, fingerprint: str, recipe: str) -> list[Path]:
        """Set the completion mark; see ``_finish``."""
        record = {
            "format": _FORMAT,
            "photo": describe_photo(photo),
            "source": source,
            "recipe": recipe,
            "faces": [self.part_folder(index).name for index in range(faces)],
            "fingerprint": fingerprint,
        }
        return self._finish(PhotoRecord.model_validate(record))


@dataclass(frozen=True)
class ClipResult(Result[ClipRecord]):
    """The output folder of one clip: ``track_0/...`` holds one person each."""

    form, mark, part, part_mark = ClipRecord, CLIP_RECORD, "track", SEQUENCE_RECORD

    def start(self, fingerprint: str) -> Path:
        """Take the completion mark away.

        Returns:
            A folder for what is found on the way: that of a stopped run with the same fingerprint, or a new one.
        """
        (self.folder / CLIP_RECORD).unlink(missing_ok=True)
        return unfinished_folder(self.folder, fingerprint)

    def finish(self, record: ClipRecord) -> list[Path]:
        """Set the completion mark, see ``_finish``, and remove what only a stopped run needs."""
        kept = self._finish(record)
        delete_unfinished(self.folder)
        return kept


def unfinished_folder(folder: Path, fingerprint: str) -> Path:
    """A folder in ``folder`` from which a stopped run goes on: that of one with this fingerprint, or a new one.

    Those of other fingerprints stay until a run is done, which calls ``delete_unfinished``: this one may be refused.

    Raises:
        OSError: It cannot be made.
    """
    own = folder / f"{_UNFINISHED}{fingerprint[:16]}"
    if not own.is_dir():
        begin_folder(own)
    return own


def delete_unfinished(folder: Path) -> None:
    """Delete what stopped runs left in ``folder``, whatever their fingerprint."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        delete_made(left)


def is_stopped(folder: Path, fingerprint: str = "") -> bool:
    """Whether a stopped run can go on in a folder: any, or one with this fingerprint."""
    return any(folder.glob(f"{_UNFINISHED}{fingerprint[:16]}*/{MARKER}"))


class Names:
    """Gives every photo and clip a folder of its own under ``out``, the same one in every run.

    The folder is the photo's name. Where that belongs to another one already (``a/1.jpg`` and ``b/1.jpg``), a short
    hash of the photo's path is added.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._taken = {CONTACT_SHEET: "the page"}

    def choose(self, name: str, source: str) -> Path:
        """The folder for a photo or clip.

        Args:
            name: Preferred name; it may hold anything.
            source: ``source_id`` of the photo.

        Raises:
            UnsafePathError: A link that leads out of the output folder is in its place.
        """
        name = plain_name(name)
        candidates = [name, f"{name}-{source[:6]}", f"{name}-{source}"]
        owners = {candidate: self._owner(candidate) for candidate in candidates}
        free = [c for c in candidates if owners[c] == source] + [c for c in candidates if owners[c] is None]
        self._taken[free[0].casefold()] = source  # some file systems do not tell A from a
        return path_below(self._out, free[0])

    def holds(self, folder: Path, source: str) -> bool:
        """Whether a folder is still the photo's own: another process may have given it to a photo of the same name."""
        owner = self._recorded(folder.name) or source
        self._taken[folder.name.casefold()] = owner
        return owner == source

    def _owner(self, name: str) -> str | None:
        return self._taken.get(name.casefold()) or self._recorded(name)

    def _recorded(self, name: str) -> str | None:
        record = PhotoResult(self._out / name).record() or ClipResult(self._out / name).record()
        return None if record is None else record.source


def source_id(path: Path) -> str:
    """A photo's path as a hash: tells photos apart without writing the user's folders into the results."""
    return hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def fingerprint_of(method: Method, settings: Mapping[str, object], exporters: Mapping[str, Exporter]) -> str:
    """Hash of all that a result depends on but the photo or clip: version, parts, files, settings, formats."""
    facts = {
        "version": VERSION,
        "recipe": method.name,
        "parts": describe_recipe(method),
        "assets": describe_assets(method),
        **settings,
        "write": {name: exporter.params.model_dump(mode="json") for name, exporter in exporters.items()},
    }
    return _hash(facts)


def photo_fingerprint(base: str, photo: str, group: Sequence[str] = ()) -> str:
    """The fingerprint for one photo or clip.

    Args:
        base: From ``fingerprint_of``.
        photo: SHA-256 of the file.
        group: SHA-256 of all photos that share an identity with it.
    """
    return _hash([base, photo, sorted(group)])


def finished(out: Path, kind: type[Result[AnyRecord]]) -> Iterator[tuple[Path, AnyRecord]]:
    """Folder and record of every photo, or clip, that is complete under an output folder; in natural order."""
    for path in sorted(out.glob(f"*/{kind.mark}"), key=lambda p: natural_key(p.parent.name)):
        if not leads_out(out, path.parent) and (record := kind(path.parent).record()) is not None:
            yield path.parent, record


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
