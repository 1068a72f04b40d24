"""From photos and methods to a study folder: rendered in order, resumed after a stop, complete or not there."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict

from emoca_core.api import load_method
from emoca_core.claims import LOCK, Claim
from emoca_core.errors import ImageError, ParamsError, first_line
from emoca_core.files import atomic_write, delete_made, sha256_of, write_json, write_text, writing_to
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import Detection
from emoca_core.limits import CATALOGUE_BYTES
from emoca_core.method import Method
from emoca_core.parsing import read_record, read_text, shown
from emoca_core.progress import progress_bar
from emoca_core.reconstruction import Settings
from emoca_core.reconstruction.capture import FoundFace, batched, capture_faces
from emoca_core.reconstruction.results import fingerprint_of
from emoca_core.study.design import (
    FORMAT,
    PHOTO,
    PICTURES,
    STUDY,
    UNFINISHED,
    Catch,
    Face,
    LeftOut,
    Stimulus,
    Study,
    picture_path,
    read_study,
)
from emoca_core.study.plan import Source, Sources, StudyPlan, find_all_sources, plan_digest
from emoca_core.study.stimuli import draw_face, draw_practice, find_face, jpeg_bytes, window_of
from emoca_core.study.texts import TEXTS, read_texts
from emoca_core.version import VERSION

PRACTICE_RECIPE = "open_fit"
"""Its head shows the practice pictures: it is always there, and nobody's photo is needed."""
TRIALS = 120
"""About so many pictures are a session where nothing else is said: ten to fifteen minutes."""
_FORMAT = "emoca-unfinished-study-1"
_ONLY_WITH_TEXTS = "# only with such texts"
"""How a line of the texts ends that speaks of texts in the place of faces."""

Tell = Callable[[str], None]


class _Unfinished(BaseModel):
    """``unfinished.json``: what has to be the same in a run that goes on."""

    model_config = ConfigDict(extra="forbid")
    format: str
    key: str
    plan: str
    files: tuple[str, ...] = (PICTURES, TEXTS, LOCK)
    """What ``delete_made`` deletes."""


def make_study(plan: StudyPlan, out: Path, say: Tell = lambda line: None) -> Study:
    """Render all pictures, and write ``study.json`` last.

    Args:
        plan: What to show.
        out: Folder of the study: new, empty, or that of a stopped run of the same plan.
        say: Told of every photo that is left out, and why.

    Raises:
        ImageError: There are no photos, or fewer than two of them can be used.
        ParamsError: The folder holds something else.
        UnknownNameError: There is no such method.
        OutputError: The folder cannot be written.

    Example: ``make_study(StudyPlan(photos=["photos/"], methods=["open_fit"]), Path("study"))``
    """
    sources = find_all_sources(plan)
    digest = plan_digest(plan, sources, read_texts(plan.texts, plan.choices))
    if (out / STUDY).exists():
        if (study := read_study(out)).plan != digest:
            raise ParamsError(f"{out} holds another study already: choose another folder")
        return study
    methods = {name: load_method(name, device=plan.device) for name in plan.methods}  # a wrong name leaves no folder
    with writing_to(out, "What is rendered is kept."):
        out.mkdir(parents=True, exist_ok=True)
        claim = Claim.take(out)
        if claim is None:
            raise ParamsError(f"another process is making a study in {out}")
        with claim, _begin(out, digest) as key:
            study = _Work(plan, methods, out, key, [*sources.left_out], say).run(sources, digest)
            write_text(out / TEXTS, _text_of(plan, bool(study.catch_trials) and not study.catch))
            write_json(out / STUDY, study.model_dump(mode="json"))
            (out / UNFINISHED).unlink()
    return study


@contextmanager
def _begin(out: Path, digest: str) -> Iterator[str]:
    """Gives the key of the study; deletes the beginning if the photos make no study, or there is no picture yet."""
    key = _key(out, digest)
    try:
        yield key
    except BaseException as error:
        if isinstance(error, ImageError) or not any((out / PICTURES).glob("*.jpg")):
            with suppress(OSError):
                delete_made(out, UNFINISHED)
        raise


def _key(out: Path, digest: str) -> str:
    """The key of the study: that of a stopped run of the same plan, or a new one."""
    if (out / UNFINISHED).exists():
        before = read_record(out / UNFINISHED, _Unfinished)
        if before.format != _FORMAT or before.plan != digest:
            raise ParamsError(
                f"{out} holds the beginning of another study: choose another folder, or give the command as before"
            )
        return before.key
    if others := [path.name for path in out.iterdir() if path.name != LOCK]:
        raise ParamsError(f"{out} holds other files ({shown(others[0])}): choose a new folder for the study")
    key = secrets.token_hex(16)
    write_json(out / UNFINISHED, _Unfinished(format=_FORMAT, key=key, plan=digest).model_dump())
    return key


def _text_of(plan: StudyPlan, tells_what_to_choose: bool) -> str:
    """The texts as they were written, with their remarks; lines about trials that there are not are left out."""
    source = files("emoca_core").joinpath("data/study_texts.yaml") if plan.texts is None else plan.texts
    lines = read_text(source, CATALOGUE_BYTES).splitlines(keepends=True)
    return "".join(line for line in lines if tells_what_to_choose or not line.rstrip().endswith(_ONLY_WITH_TEXTS))


@dataclass
class _Work:
    """Renders what is missing.

    Attributes:
        plan: What to render.
        methods: What renders it, by name.
        out: Folder of the study.
        key: Names of pictures are derived from it.
        left_out: Photos that cannot be used; more are found on the way.
        say: Told of them.
        seen: Where the first method found the face of a photo, by the photo's hash.
        recipes: What each method is made of, as a hash.
    """

    plan: StudyPlan
    methods: Mapping[str, Method]
    out: Path
    key: str
    left_out: list[LeftOut]
    say: Tell
    seen: dict[str, Detection] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)

    def run(self, found: Sources, digest: str) -> Study:
        """Everything, method by method."""
        (self.out / PICTURES).mkdir(exist_ok=True)
        for one in self.left_out:
            self.say(f"{one.file}: left out: {one.reason}")
        self.recipes = {name: fingerprint_of(method, {}, {})[:16] for name, method in self.methods.items()}
        sources, practice = self._draw_all(found.faces), self._draw_all(found.practice)
        catch = self._draw_catch(found.catch)
        if len(sources) < 2:
            reasons = "; ".join(f"{one.file}: {one.reason}" for one in self.left_out[:3])
            raise ImageError(f"a study needs at least 2 faces, but has {len(sources)}" + (reasons and f" ({reasons})"))
        return Study(
            format=FORMAT,
            version=VERSION,
            plan=digest,
            key=self.key,
            seed=self.plan.seed,
            choices=self.plan.choices,
            methods=tuple(self.methods),
            recipes=self.recipes,
            faces=tuple(Face(file=one.path.name, sha256=one.sha256, label=one.label) for one in sources),
            stimuli=tuple(
                self._stimulus(self._name(one, shows), number, shows)
                for number, one in enumerate(sources)
                for shows in (PHOTO, *self.methods)
            ),
            practice=self._practice(practice) if self.plan.practice else self._draw_practice(),
            catch=catch,
            catch_trials=self._catch_trials(catch),
            faces_each=min(len(sources), self.plan.faces_each or max(2, TRIALS // (len(self.methods) + 1))),
            left_out=tuple(self.left_out),
        )

    def _draw_all(self, sources: Sequence[Source]) -> Sequence[Source]:
        """Render faces by all methods; returns those that can be used."""
        for name, method in self.methods.items():
            sources = self._draw(name, method, sources)
        return sources

    def _draw_catch(self, sources: Sequence[Source]) -> tuple[Catch, ...]:
        """The photos of the catch trials, through the window that the first method's landmarker gives."""
        name, method = next(iter(self.methods.items()))
        drawn = []
        for source in sources:
            picture = self._name(source, PHOTO)
            if not picture_path(self.out, picture).exists():
                if (face := self._find(name, method, source)) is None:
                    continue
                self._write(picture, window_of(face.detection).cut(face.photo.pixels))
            drawn.append(Catch(picture=self._stimulus(picture, None, PHOTO), label=str(source.label)))
        if self.plan.catch and not drawn:
            raise ImageError("no photo for the catch trials can be used: see what was left out")
        return tuple(drawn)

    def _catch_trials(self, photos: Sequence[Catch]) -> int:
        asked = self.plan.catch_trials
        if not self.plan.catch or asked <= len(photos):
            return asked
        self.say(f"catch trials: {len(photos)}, not {asked}, because there are no more photos for them")
        return len(photos)

    def _practice(self, sources: Sequence[Source]) -> tuple[Stimulus, ...]:
        if not sources:
            raise ImageError("no photo for the practice can be used: see what was left out")
        shown = [(source, shows) for source in sources for shows in (PHOTO, *self.methods)]
        return tuple(self._stimulus(self._name(source, shows), None, shows) for source, shows in shown)

    def _draw(self, name: str, method: Method, sources: Sequence[Source]) -> list[Source]:
        """Render all faces of one method, and the photos where they are missing; returns those that can be used."""
        failed: set[str] = set()
        for batch in batched(self._todo(name, method, sources, failed), Settings().batch_size):
            captured = capture_faces(method, [face for _, face in batch], Settings())
            for (source, face), result in zip(batch, captured, strict=True):
                window = window_of(self.seen[source.sha256])
                self._write(self._name(source, name), draw_face(result, window))
                self._write(self._name(source, PHOTO), window.cut(face.photo.pixels))
        return [source for source in sources if source.sha256 not in failed]

    def _todo(
        self, name: str, method: Method, sources: Sequence[Source], failed: set[str]
    ) -> Iterator[tuple[Source, FoundFace]]:
        """Faces that this method has still to render; ``failed`` gets the photos in which it finds none."""
        for source in progress_bar(sources, label=name, unit="face"):
            missing = {
                shows
                for shows in (PHOTO, *self.plan.methods)
                if not picture_path(self.out, self._name(source, shows)).exists()
            }
            if not missing:
                continue
            face = self._find(name, method, source)
            if face is None:
                failed.add(source.sha256)
            elif missing & {name, PHOTO}:
                yield source, face

    def _find(self, name: str, method: Method, source: Source) -> FoundFace | None:
        """The face of a photo; ``None`` where the photo is left out."""
        try:
            face = find_face(method, read_photo(source.path), self.seen.get(source.sha256))
        except ImageError as error:
            reason = f"{name}: {first_line(error).removeprefix(f'{source.path}: ')}"
            self.left_out.append(LeftOut(file=source.path.name, reason=reason))
            self.say(f"{source.path}: left out: {reason}")
            return None
        self.seen.setdefault(source.sha256, face.detection)
        return face

    def _draw_practice(self) -> tuple[Stimulus, ...]:
        method = self.methods.get(PRACTICE_RECIPE) or load_method(PRACTICE_RECIPE, device=self.plan.device)
        names = {}
        for shows, picture in draw_practice(method):
            names[shows] = self._id("practice", shows)
            self._write(names[shows], picture)
        return tuple(self._stimulus(name, None, shows) for shows, name in names.items())

    def _name(self, source: Source, shows: str) -> str:
        """Of a picture: the same in every run of this study, and nothing that anybody could guess."""
        return self._id(source.sha256, shows, self.recipes.get(shows, ""))

    def _id(self, *facts: str) -> str:
        return sha256("\0".join((self.key, *facts)).encode()).hexdigest()[:24]

    def _write(self, name: str, picture: Image.Image) -> None:
        path = picture_path(self.out, name)
        if not path.exists():
            with atomic_write(path) as temporary:
                temporary.write_bytes(jpeg_bytes(picture))

    def _stimulus(self, name: str, face: int | None, shows: str) -> Stimulus:
        return Stimulus(id=name, face=face, shows=shows, sha256=sha256_of(picture_path(self.out, name)))
