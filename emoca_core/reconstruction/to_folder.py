"""Many photos to one output folder: resumable, and one bad photo does not stop the others."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from emoca_core.errors import EmocaError, ImageError, OutputError, RecipeError
from emoca_core.images.photos import Photo, find_photos, read_photo
from emoca_core.method import Method
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.capture import FoundFace, capture_faces, find_faces
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.reconstruction.results import Names, PhotoResult, fingerprint_of, photo_fingerprint, source_id
from emoca_core.reconstruction.sheet import write_index

_BAD_FACE = (EmocaError, ValueError, RuntimeError, ArithmeticError)
"""What computing one face may raise; anything else is a bug, and stops the run."""


@dataclass
class Report:
    """What became of the photos.

    Attributes:
        photos: Photos with at least one face, finished in this run.
        faces: Faces written in this run.
        skipped: Photos with at least one face that were finished before.
        without_face: Photos in which there is no face, found in this run or before.
        failed: Input and reason.
    """

    photos: int = 0
    faces: int = 0
    skipped: int = 0
    without_face: list[Path] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def reconstruct_to_folder(
    method: Method,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Report:
    """Reconstruct every face of many photos and write them to a folder, with an ``index.html``.

    Args:
        method: What ``emoca_core.load_method`` returned.
        inputs: Files, folders (searched recursively) or glob patterns.
        out: Output folder; what lies under it is never an input.
        settings: Crop policy, shared identity, batch size.
        overwrite: Do finished photos again.
        say: Receives one line for each photo that fails or shows no face; by default it goes to stderr.

    Raises:
        OutputError: The output folder cannot be written, or the disk is full. What was finished before stays.
        RecipeError: The method has no landmarker.
    """
    if method.landmarker is None:
        raise RecipeError(f"recipe '{method.name}' has no landmarker, so it cannot find faces in photos")
    with writing_to(Path(out)):
        Path(out).mkdir(parents=True, exist_ok=True)
    run = _Run(method, Path(out), settings or Settings(), overwrite, say or _to_stderr)
    with writing_to(run.out):
        run.reconstruct(inputs)
        write_index(run.out, run.report.failed)
    return run.report


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Say of which folder an operating system's error speaks, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        if isinstance(error, EmocaError):
            raise
        raise OutputError(
            f"cannot write to {out}: {error.strerror or error}. Finished faces are kept; the same command goes on "
            "where this one stopped."
        ) from error


@dataclass
class _Job:
    """One photo on its way."""

    photo: Photo
    source: str
    result: PhotoResult
    fingerprint: str
    faces: int = 0
    written: int = 0
    failed: bool = False


@dataclass
class _Run:
    """One call of ``reconstruct_to_folder``."""

    method: Method
    out: Path
    settings: Settings
    overwrite: bool
    say: Callable[[str], None]
    report: Report = field(default_factory=Report)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self.method, self.settings)

    @cached_property
    def names(self) -> Names:
        return Names(self.out)

    def reconstruct(self, inputs: Iterable[str | Path]) -> None:
        photos = self._list(inputs)
        with progress_bar(total=len(photos), label="reconstructing", unit="photo") as self.bar:
            jobs = self._open(photos)
            if self.settings.same_person:
                self._capture(list(self._find(self._as_group(list(jobs)))))
                return
            found = self._find(job for job in jobs if not self._skip(job))
            while batch := list(islice(found, self.settings.batch_size)):
                self._capture(batch)

    def _list(self, inputs: Iterable[str | Path]) -> dict[Path, str]:
        """Every photo, and the name that its folder should have."""
        photos: dict[Path, str] = {}
        for one in inputs:
            root = Path(one).expanduser()
            try:
                found = [path for path in find_photos(one) if not path.absolute().is_relative_to(self.out.absolute())]
            except ImageError as error:
                self._fail(str(one), error)
                continue
            if not found:
                self._fail(str(one), ImageError(f"{one}: nothing but the output folder in it."))
            for path in found:
                inner = path.relative_to(root) if root.is_dir() else Path(path.name)
                photos.setdefault(path, "__".join(inner.with_suffix("").parts))
        return photos

    def _open(self, photos: dict[Path, str]) -> Iterator[_Job]:
        for path, name in photos.items():
            try:
                photo = read_photo(path)
            except ImageError as error:
                self._fail(str(path), error)
                self.bar.update()
                continue
            source = source_id(path)
            fingerprint = photo_fingerprint(self.fingerprint, photo.sha256)
            yield _Job(photo, source, self.names.choose(name, source), fingerprint)

    def _as_group(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """Jobs whose results depend on one another: all of them are finished, or none."""
        group = [job.photo.sha256 for job in jobs]
        for job in jobs:
            job.fingerprint = photo_fingerprint(self.fingerprint, job.photo.sha256, group)
        if all(job.result.is_finished(job.fingerprint) for job in jobs):
            return [job for job in jobs if not self._skip(job)]
        return jobs

    def _skip(self, job: _Job) -> bool:
        """Whether the photo was finished before."""
        if self.overwrite or not job.result.is_finished(job.fingerprint):
            return False
        if (job.result.record() or {})["faces"]:
            self.report.skipped += 1
        else:
            self.report.without_face.append(job.photo.path)
        self.bar.update()
        return True

    def _find(self, jobs: Iterable[_Job]) -> Iterator[tuple[_Job, FoundFace]]:
        for job in jobs:
            job.result.start()
            try:
                faces = find_faces(self.method, job.photo, self.settings)
            except _BAD_FACE as error:
                self._fail_job(job, error)
                continue
            job.faces = len(faces)
            if not faces:
                self.say(f"{job.photo.path}: no face found")
                self.report.without_face.append(job.photo.path)
                self._finish(job)
            yield from ((job, face) for face in faces)

    def _capture(self, batch: Sequence[tuple[_Job, FoundFace]]) -> None:
        try:
            captured = capture_faces(self.method, [face for _, face in batch], self.settings)
        except _BAD_FACE as error:
            if len(batch) == 1 or self.settings.same_person:
                for job, _ in batch:
                    self._fail_job(job, error)
            else:  # one face must not take the others with it
                for one in batch:
                    self._capture([one])
            return
        for (job, _), face in zip(batch, captured, strict=True):
            try:
                face.save(job.result.face_folder(face.index))
            except _BAD_FACE as error:
                self._fail_job(job, error)
                continue
            job.written += 1
            self.report.faces += 1
            if job.written == job.faces:
                self.report.photos += 1
                self._finish(job)

    def _finish(self, job: _Job) -> None:
        job.result.finish(job.photo, job.source, job.faces, job.fingerprint, self.method.name)
        self.bar.update()

    def _fail_job(self, job: _Job, error: Exception) -> None:
        if not job.failed:
            job.failed = True
            self._fail(str(job.photo.path), error)
            self.bar.update()

    def _fail(self, name: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.removeprefix(f"{name}: ")
        self.report.failed.append((name, reason))
        self.say(f"{name}: {reason}")


def _to_stderr(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
