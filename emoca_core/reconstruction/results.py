"""Where results lie, and whether they are finished.

``OUT/<photo>/face_0/...`` holds one face each. ``OUT/<photo>/photo.json`` is written last: it names the photo, the
faces, and a fingerprint of everything the result depends on. A photo whose fingerprint is there needs no second look.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoca_core.export.codes import write_record
from emoca_core.images.photos import Photo, natural_key
from emoca_core.method import Method
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.captured import RECORD, describe_assets, describe_photo, describe_recipe
from emoca_core.version import VERSION

PHOTO_RECORD = "photo.json"
CONTACT_SHEET = "index.html"
_FORMAT = "emoca-photo-1"


@dataclass(frozen=True)
class PhotoResult:
    """The output folder of one photo."""

    folder: Path

    def face_folder(self, index: int) -> Path:
        """Where one face goes."""
        return self.folder / f"face_{index}"

    def record(self) -> Mapping[str, Any] | None:
        """What ``photo.json`` says; ``None`` where there is none, or none that can be read."""
        return read_record(self.folder / PHOTO_RECORD)

    def is_finished(self, fingerprint: str) -> bool:
        """Whether everything is there that a run with this fingerprint would write."""
        record = self.record()
        if record is None or record.get("fingerprint") != fingerprint:
            return False
        return all((self.folder / face / RECORD).is_file() for face in record["faces"])

    def start(self) -> None:
        """Take the completion mark away: from here on the folder is unfinished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / PHOTO_RECORD).unlink(missing_ok=True)

    def finish(self, photo: Photo, source: str, faces: int, fingerprint: str, recipe: str) -> None:
        """Remove faces of earlier runs that are no longer found, and set the completion mark."""
        names = [self.face_folder(index).name for index in range(faces)]
        for old in self.folder.glob("face_*"):
            if old.name not in names and (old / RECORD).is_file():
                shutil.rmtree(old)
        record = {
            "format": _FORMAT,
            "photo": describe_photo(photo),
            "source": source,
            "recipe": recipe,
            "faces": names,
            "fingerprint": fingerprint,
        }
        write_record(self.folder / PHOTO_RECORD, record)


class Names:
    """Gives every photo a folder of its own under ``out``, the same one in every run.

    The folder is the photo's name. Where that belongs to another photo already (``a/1.jpg`` and ``b/1.jpg``), a short
    hash of the photo's path is added.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._taken: dict[str, str] = {CONTACT_SHEET: ""}

    def choose(self, name: str, source: str) -> PhotoResult:
        """The folder for a photo.

        Args:
            name: Preferred name.
            source: ``source_id`` of the photo.
        """
        candidates = [name, f"{name}-{source[:6]}", f"{name}-{source}"]
        owners = {candidate: self._owner(candidate) for candidate in candidates}
        free = [c for c in candidates if owners[c] == source] + [c for c in candidates if owners[c] is None]
        self._taken[free[0].casefold()] = source  # some file systems do not tell A from a
        return PhotoResult(self._out / free[0])

    def _owner(self, name: str) -> str | None:
        if (owner := self._taken.get(name.casefold())) is not None:
            return owner
        record = PhotoResult(self._out / name).record()
        return None if record is None else str(record.get("source"))


def source_id(path: Path) -> str:
    """A photo's path as a hash: tells photos apart without writing the user's folders into the results."""
    return hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def fingerprint_of(method: Method, settings: Settings) -> str:
    """Hash of everything but the photo that a result depends on: version, parts, parameters, files, crop."""
    facts = {
        "version": VERSION,
        "recipe": method.name,
        "parts": describe_recipe(method),
        "assets": describe_assets(method),
        "crop": settings.crop,
        "same_person": settings.same_person,
    }
    return _hash(facts)


def photo_fingerprint(base: str, photo: str, group: Sequence[str] = ()) -> str:
    """The fingerprint for one photo.

    Args:
        base: From ``fingerprint_of``.
        photo: SHA-256 of the photo.
        group: SHA-256 of all photos that share an identity with it.
    """
    return _hash([base, photo, sorted(group)])


def read_record(path: Path) -> Mapping[str, Any] | None:
    """A JSON object; ``None`` where there is none, or none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def finished_photos(out: Path) -> Iterator[tuple[PhotoResult, Mapping[str, Any]]]:
    """Everything complete under an output folder, in natural order of the names."""
    for path in sorted(out.glob(f"*/{PHOTO_RECORD}"), key=lambda p: natural_key(p.parent.name)):
        record = read_record(path)
        if record is not None and record.get("format") == _FORMAT:
            yield PhotoResult(path.parent), record


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
