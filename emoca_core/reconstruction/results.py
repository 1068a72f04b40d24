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
from typing import Any, Literal

from pydantic import BaseModel

from emoca_core.errors import EmocaError, UnsafePathError
from emoca_core.export.codes import write_record
from emoca_core.files import begin_folder, delete_made, leads_out, path_below, plain_name
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


@dataclass(frozen=True)
class PhotoResult:
    """The output folder of one photo."""

    folder: Path

    def face_folder(self, index: int) -> Path:
        """Where one face goes.

        Raises:
            UnsafePathError: A link that leads out of the photo's folder is in its place.
        """
        return path_below(self.folder, f"face_{index}")

    def face_folders(self, record: PhotoRecord) -> list[Path]:
        """Where the faces of a record are.

        Raises:
            UnsafePathError: It names something outside of the photo's folder.
        """
        return [path_below(self.folder, name, what=f"face in {self.folder / PHOTO_RECORD},") for name in record.faces]

    def record(self) -> PhotoRecord | None:
        """What ``photo.json`` says; ``None`` where there is none, or none of ours."""
        try:
            return read_record(self.folder / PHOTO_RECORD, PhotoRecord)
        except EmocaError:
            return None

    def is_finished(self, fingerprint: str) -> bool:
        """Whether everything is there that a run with this fingerprint would write."""
        record = self.record()
        if record is None or record.fingerprint != fingerprint:
            return False
        try:
            return all((folder / RECORD).is_file() for folder in self.face_folders(record))
        except UnsafePathError:
            return False

    def start(self) -> None:
        """Take the completion mark away: from here on the folder is unfinished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / PHOTO_RECORD).unlink(missing_ok=True)

    def finish(self, photo: Photo, source: str, faces: int, fingerprint: str, recipe: str) -> list[Path]:
        """Remove faces of earlier runs that are no longer found, and set the completion mark.

        Returns:
            Folders of such faces that stay, because they hold files that this program did not make.
        """
        names = [self.face_folder(index).name for index in range(faces)]
        gone = [old for old in self.folder.glob("face_*") if old.name not in names]
        kept = [old for old in gone if (old / RECORD).is_file() and not delete_made(old, RECORD)]
        record = {
            "format": _FORMAT,
            "photo": describe_photo(photo),
            "source": source,
            "recipe": recipe,
            "faces": names,
            "fingerprint": fingerprint,
        }
        write_record(self.folder / PHOTO_RECORD, record)
        return kept


class ClipRecord(BaseModel, extra="allow"):
    """``clip.json``."""

    format: Literal["emoca-clip-1"]
    clip: PhotoFacts
    source: str
    recipe: str
    tracks: list[str]
    fingerprint: str


@dataclass(frozen=True)
class ClipResult:
    """The output folder of one clip: ``track_0/...`` holds one person each, ``clip.json`` is written last."""

    folder: Path

    def track_folder(self, number: int) -> Path:
        """Where one person goes.

        Raises:
            UnsafePathError: A link that leads out of the clip's folder is in its place.
        """
        return path_below(self.folder, f"track_{number}")

    def record(self) -> ClipRecord | None:
        """What ``clip.json`` says; ``None`` where there is none, or none of ours."""
        try:
            return read_record(self.folder / CLIP_RECORD, ClipRecord)
        except EmocaError:
            return None

    def is_finished(self, fingerprint: str) -> bool:
        """Whether everything is there that a run with this fingerprint would write."""
        record = self.record()
        if record is None or record.fingerprint != fingerprint:
            return False
        try:
            return all((path_below(self.folder, name) / SEQUENCE_RECORD).is_file() for name in record.tracks)
        except UnsafePathError:
            return False

    def start(self, fingerprint: str) -> Path:
        """Take the completion mark away.

        Returns:
            A folder for what is found on the way: that of a stopped run with the same fingerprint, or a new one.
        """
        (self.folder / CLIP_RECORD).unlink(missing_ok=True)
        own = self.folder / f"{_UNFINISHED}{fingerprint[:16]}"
        for other in self.folder.glob(f"{_UNFINISHED}*"):
            if other != own:
                delete_made(other)
        if not own.is_dir():
            begin_folder(own)
        return own

    def finish(self, record: ClipRecord, unfinished: Path) -> None:
        """Remove people of earlier runs that are no longer found, and what only a stopped run needs; set the mark."""
        for old in self.folder.glob("track_*"):
            if old.name not in record.tracks:
                delete_made(old, SEQUENCE_RECORD)
        write_record(self.folder / CLIP_RECORD, record.model_dump(mode="json"))
        delete_made(unfinished)


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


def finished_photos(out: Path) -> Iterator[tuple[PhotoResult, PhotoRecord]]:
    """Everything complete under an output folder, in natural order of the names."""
    for path in sorted(out.glob(f"*/{PHOTO_RECORD}"), key=lambda p: natural_key(p.parent.name)):
        result = PhotoResult(path.parent)
        if not leads_out(out, path.parent) and (record := result.record()) is not None:
            yield result, record


def finished_clips(out: Path) -> Iterator[tuple[ClipResult, ClipRecord]]:
    """Every complete clip under an output folder, in natural order of the names."""
    for path in sorted(out.glob(f"*/{CLIP_RECORD}"), key=lambda p: natural_key(p.parent.name)):
        result = ClipResult(path.parent)
        if not leads_out(out, path.parent) and (record := result.record()) is not None:
            yield result, record


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
