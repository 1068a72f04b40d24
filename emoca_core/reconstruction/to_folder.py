"""Many photos to one output folder: resumable, shared with other processes, and one bad photo stops no other."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from emoca_core.claims import Claim
from emoca_core.errors import ImageError, RecipeError, UnsafePathError
from emoca_core.files import writing_to
from emoca_core.images.photo_search import PHOTO_SUFFIXES, find_photos
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import CapturedFace, Exporter, Photo
from emoca_core.method import Method
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.capture import FoundFace, FoundFaces, capture_faces, find_faces
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.clip_settings import ClipSettings
from emoca_core.reconstruction.replaced import Replaced
from emoca_core.reconstruction.report import BAD_FACE, Report
from emoca_core.reconstruction.results import (
    CONTACT_SHEET,
    Names,
    PhotoResult,
    fingerprint_of,
    photo_fingerprint,
    source_id,
)
from emoca_core.reconstruction.saver import Saver
from emoca_core.reconstruction.saving import (
    DEFAULT_SEQUENCE_WRITE,
    DEFAULT_WRITE,
    build_exporters,
    refuse_photo_formats,
    save_face,
)
from emoca_core.reconstruction.sheet import write_index
from emoca_core.video import CLIP_SUFFIXES, is_clip

if TYPE_CHECKING:
    from emoca_core.reconstruction.clips_to_folder import ClipRun

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_KEPT = "Finished faces are kept; the same command goes on where this one stopped."


def reconstruct_to_folder(
    method: Method,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    clips: ClipSettings | None = None,
    write: Sequence[str] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Report:
    """Reconstruct every face of many photos, and people through clips, to a folder with an ``index.html``.

    Args:
        method: What ``emoca_core.load_method`` returned.
        inputs: Files, folders (searched recursively) or glob patterns.
        out: Output folder; what lies under it is never an input.
        settings: Of photos: crop policy, shared identity, batch size.
        clips: The same of clips, and which part of them is read.
        write: Names of exporters, ``json`` is always among them; by default ``DEFAULT_WRITE`` for photos and
            ``DEFAULT_SEQUENCE_WRITE`` for clips.
        overwrite: Do finished photos and clips again.
        say: Receives one line for each photo that fails or shows no face, for each doubtful face, and for each recipe
            whose faces are replaced; by default it goes to stderr.

    Raises:
        OutputError: The output folder cannot be written, or the disk is full. What was finished before stays.
        RecipeError: The method has no landmarker.
        UnknownNameError: There is no such exporter.
    """
    if method.landmarker is None:
        raise RecipeError(f"recipe '{method.name}' has no landmarker, so it cannot find faces in photos")
    chosen = settings or Settings()
    clips = clips or ClipSettings(crop=chosen.crop, min_score=chosen.min_score)
    exporters = build_exporters(write or DEFAULT_WRITE)
    run = _Run(method, Path(out), chosen, clips, exporters, write, overwrite, say or _to_stderr)
    with writing_to(run.out, _KEPT):
        run.out.mkdir(parents=True, exist_ok=True)
        run.reconstruct(inputs)
        run.write_index()
    return run.report


@dataclass
class _Job:
    """One photo on its way.

    Attributes:
        name: The folder that it should have.
        claim: Keeps other processes away, from the start of the work to its end.
        faces: Found in it.
        written: Of these.
    """

    photo: Photo
    name: str
    source: str
    result: PhotoResult
    fingerprint: str
    claim: Claim | None = None
    faces: int = 0
    written: int = 0
    failed: bool = False


@dataclass
class _Run:
    """One call of ``reconstruct_to_folder``."""

    method: Method
    out: Path
    settings: Settings
    clips: ClipSettings
    exporters: Mapping[str, Exporter]
    write: Sequence[str] | None
    overwrite: bool
    say: Callable[[str], None]
    report: Report = field(default_factory=Report)
    claims: set[Claim] = field(default_factory=set)
    has_written: bool = False

    @cached_property
    def fingerprint(self) -> str:
        facts = {name: getattr(self.settings, name) for name in ("crop", "same_person", "min_score")}
        return fingerprint_of(self.method, facts, self.exporters)

    @cached_property
    def replaced(self) -> Replaced:
        return Replaced(self.out, self.method.name, self.report, self.say)

    @cached_property
    def names(self) -> Names:
        return Names(self.out)

    def reconstruct(self, inputs: Iterable[str | Path]) -> None:
        photos, clips = self._list(inputs)
        of_clips = self._clip_run() if clips else None
        self._reconstruct_photos(photos)
        if of_clips is not None:
            self.has_written = True
            of_clips.reconstruct(clips)

    def _clip_run(self) -> "ClipRun":
        from emoca_core.reconstruction.clips_to_folder import ClipRun

        exporters = build_exporters(self.write or DEFAULT_SEQUENCE_WRITE)
        refuse_photo_formats(exporters)
        settings = (self.clips, exporters, self.overwrite)
        return ClipRun(self.method, self.names, *settings, self.report, self.replaced, self._fail, self.say)

    def _reconstruct_photos(self, photos: Mapping[Path, str]) -> None:
        with progress_bar(total=len(photos), label="reconstructing", unit="photo", hidden=not photos) as self.bar:
            try:
                with Saver() as self.saver:
                    if self.settings.same_person:
                        self._capture(list(self._find(self._as_group(list(self._open(photos))))))
                        return
                    for path, name in self._work(photos).items():  # one by one: nobody waits for what is waiting
                        self._work({path: name}, wait=True)
            finally:
                for claim in [*self.claims]:
                    self._let_go(claim)

    def write_index(self) -> None:
        """Renew the page; that of a finished folder on a disk that cannot be written stays as it is."""
        try:
            write_index(self.out, self.report.failed)
        except OSError as error:
            if self.has_written or error.errno not in _READ_ONLY or not (self.out / CONTACT_SHEET).is_file():
                raise

    def _work(self, photos: Mapping[Path, str], wait: bool = False) -> dict[Path, str]:
        """Reconstruct photos; those that another process has are left, and returned, unless it shall be waited for."""
        busy: dict[Path, str] = {}
        found = self._find(self._to_do(photos, wait, busy))
        while batch := list(islice(found, self.settings.batch_size)):
            self._capture(batch)
        self.saver.finish()  # lets go of the photos before others are waited for
        return busy

    def _to_do(self, photos: Mapping[Path, str], wait: bool, busy: dict[Path, str]) -> Iterator[_Job]:
        for job in self._open(photos):
            if self._skip(job):
                continue
            if not self._claim(job, wait):
                busy[job.photo.path] = job.name
            elif self._skip(job):  # another process has just finished it
                self._let_go(job.claim)
            else:
                yield job

    def _claim(self, job: _Job, wait: bool) -> bool:
        """Keep other processes away from a photo's folder."""
        while True:
            folder = job.result.folder
            folder.mkdir(exist_ok=True)
            claim = self._wait(folder) if wait else Claim.take(folder)
            if claim is None:
                return False
            self.claims.add(claim)
            if self.names.holds(folder, job.source):
                job.claim = claim
                return True
            self._let_go(claim)
            job.result = PhotoResult(self.names.choose(job.name, job.source))

    def _wait(self, folder: Path) -> Claim:
        return Claim.wait(folder, lambda: self.say(f"waiting for another process, which works on {folder}"))

    def _let_go(self, claim: Claim | None) -> None:
        if claim is not None:
            claim.release()
            self.claims.discard(claim)

    def _list(self, inputs: Iterable[str | Path]) -> tuple[dict[Path, str], dict[Path, str]]:
        """Every photo and every clip, and the name that its folder should have."""
        photos: dict[Path, str] = {}
        clips: dict[Path, str] = {}
        for one in inputs:
            try:
                found = [path for path in self._behind(one) if not self._is_output(path)]
                root = Path(one).expanduser()
            except ImageError as error:
                self._fail(str(one), error)
                continue
            if not found:
                self._fail(str(one), ImageError(f"{one}: nothing but the output folder in it."))
            for path in found:
                inner = path.relative_to(root) if path != root and path.is_relative_to(root) else Path(path.name)
                kind = clips if path.is_dir() or is_clip(path) else photos
                kind.setdefault(path, "__".join(inner.with_suffix("").parts))
        return photos, clips

    def _behind(self, one: str | Path) -> list[Path]:
        """The files behind an input; a folder itself, where folders are clips."""
        if self.clips.frame_rate is not None and (folder := Path(one).expanduser()).is_dir():
            return [folder]
        return find_photos(one, self._pass_over, PHOTO_SUFFIXES | CLIP_SUFFIXES)

    def _is_output(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.out))

    def _pass_over(self, path: Path, reason: str) -> None:
        if not self._is_output(path):
            self.report.not_taken.append((path, reason))
            self.say(f"{path}: not taken: {reason}")

    def _open(self, photos: Mapping[Path, str]) -> Iterator[_Job]:
        for path, name in photos.items():
            source = source_id(path)
            try:
                photo, result = read_photo(path), PhotoResult(self.names.choose(name, source))
            except (ImageError, UnsafePathError) as error:
                self._fail(str(path), error)
                self.bar.update()
                continue
            yield _Job(photo, name, source, result, photo_fingerprint(self.fingerprint, photo.sha256))

    def _as_group(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """Jobs whose results depend on one another: all of them are finished, or none."""
        group = [job.photo.sha256 for job in jobs]
        for job in jobs:
            job.fingerprint = photo_fingerprint(self.fingerprint, job.photo.sha256, group)
        if not self._are_finished(jobs):
            for job in sorted(jobs, key=lambda job: job.result.folder):  # in one order, so that nobody waits for ever
                self._claim(job, wait=True)
        if self._are_finished(jobs):  # perhaps by another process
            return [job for job in jobs if not self._skip(job)]
        return jobs

    def _are_finished(self, jobs: Sequence[_Job]) -> bool:
        return all(job.result.is_finished(job.fingerprint) for job in jobs)

    def _skip(self, job: _Job) -> bool:
        """Whether the photo was finished before."""
        if self.overwrite or not job.result.is_finished(job.fingerprint):
            return False
        record = job.result.record()
        if record is not None and record.faces:
            self.report.skipped += 1
        else:
            self.report.without_face.append(job.photo.path)
        self.bar.update()
        return True

    def _find(self, jobs: Iterable[_Job]) -> Iterator[tuple[_Job, FoundFace]]:
        for job in jobs:
            self.has_written = True
            self.replaced.note(job.result.record(), job.fingerprint, job.photo.sha256)
            job.result.start()
            try:
                found = find_faces(self.method, job.photo, self.settings)
                if note := self._note(job.photo, found):
                    self.say(f"{job.photo.path}: {note}")
            except BAD_FACE as error:
                self._fail_job(job, error)
                continue
            job.faces = len(found.faces)
            self.report.left_out += len(found.left_out)
            if not found.faces:
                self.report.without_face.append(job.photo.path)
                self._finish(job)
            yield from ((job, face) for face in found.faces)

    def _note(self, photo: Photo, found: FoundFaces) -> str:
        """What to tell of a photo without faces, or of faces that are left out."""
        if found.left_out:
            scores = ", ".join(f"{score:.2f}" for score in found.left_out)
            return f"left out for a score below {self.settings.min_score:g}: {scores}"
        if found.faces or self.method.landmarker is None:
            return ""
        return self.method.landmarker.explain_no_face(photo.pixels)

    def _capture(self, batch: Sequence[tuple[_Job, FoundFace]]) -> None:
        try:
            captured = capture_faces(self.method, [face for _, face in batch], self.settings)
        except BAD_FACE as error:
            if len(batch) == 1 or self.settings.same_person:
                for job, _ in batch:
                    self._fail_job(job, error)
            else:  # one face must not take the others with it
                for one in batch:
                    self._capture([one])
            return
        for (job, _), face in zip(batch, captured, strict=True):
            self.saver.submit(partial(self._save, job, face), partial(self._saved, job, face))

    def _save(self, job: _Job, face: CapturedFace) -> None:
        save_face(face, job.result.part_folder(face.index), list(self.exporters.values()))

    def _saved(self, job: _Job, face: CapturedFace, error: Exception | None) -> None:
        if isinstance(error, BAD_FACE):
            self._fail_job(job, error)
            return
        if error is not None:
            raise error
        job.written += 1
        self.report.faces += 1
        if face.quality.is_doubtful:
            self.report.doubtful += 1
            self.say(f"{job.photo.path}: face {face.index} is doubtful: {'; '.join(face.quality.reasons)}")
        if job.written == job.faces:
            self.report.photos += 1
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        for old in job.result.finish(job.photo, job.source, job.faces, job.fingerprint, self.method.name):
            self.say(
                f"{old} shows a face that is found no more; it holds files that this version did not make: remove it"
            )
        self._let_go(job.claim)
        self.bar.update()

    def _fail_job(self, job: _Job, error: Exception) -> None:
        if not job.failed:
            job.failed = True
            self._let_go(job.claim)
            self._fail(str(job.photo.path), error)
            self.bar.update()

    def _fail(self, name: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.removeprefix(f"{name}: ")
        self.report.failed.append((name, reason))
        self.say(f"{name}: {reason}")


def _to_stderr(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
