"""What a study shall show: the plan, and the photos with their labels behind it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emoca_core.datasets.manifest import Manifest
from emoca_core.errors import ParamsError
from emoca_core.files import json_text, sha256_of
from emoca_core.images.photo_search import find_photos
from emoca_core.limits import SEED
from emoca_core.parsing import shown
from emoca_core.study.design import CATCH_TRIALS, PHOTO, LeftOut
from emoca_core.study.texts import Texts
from emoca_core.vocabulary.emotions import EXPRESSIONS, expression_name


@dataclass(frozen=True)
class StudyPlan:
    """What a study shall show.

    Attributes:
        photos: Files, folders or patterns.
        methods: Recipes, or whatever else ``load_method`` takes.
        labels: Manifest that says which expression each photo shows; without it, the name of a photo's folder does
            where it is among the choices.
        choices: The answers.
        seed: Of the order of trials.
        catch_trials: How many trials show whether somebody pays attention.
        practice: Photos to practise on, each as it is and by every method; without any a synthetic head is shown.
        catch: Photos whose expression nobody mistakes, for the catch trials; without any, a text tells what to choose.
        faces_each: How many faces one participant sees; by default so many that there are about 120
            pictures.
        texts: YAML in place of the English texts.
        device: Where the methods compute.
    """

    photos: Sequence[str | Path]
    methods: Sequence[str]
    labels: Path | None = None
    choices: tuple[str, ...] = EXPRESSIONS
    seed: int = 0
    catch_trials: int = 4
    practice: Sequence[str | Path] = ()
    catch: Sequence[str | Path] = ()
    faces_each: int | None = None
    texts: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what makes no study.

        Raises:
            ParamsError: Names twice, too few or too many choices, or numbers out of range.
        """
        for what, names in (("method", self.methods), ("choice", self.choices)):
            if repeated := [name for name in names if list(names).count(name) > 1]:
                raise ParamsError(f"the {what} '{shown(repeated[0])}' is named twice")
            if not names or not all(names):
                raise ParamsError(f"a {what} has no name")
        if PHOTO in self.methods:
            raise ParamsError(f"no method can be called '{PHOTO}': that is what photos are called")
        if not 2 <= len(self.choices) <= 9:
            raise ParamsError(f"there is a key for each of 2 to 9 choices, not for {len(self.choices)}")
        if not 0 <= self.seed <= SEED:
            raise ParamsError(f"the seed must be from 0 to {SEED}, got {self.seed}")
        if not 0 <= self.catch_trials <= CATCH_TRIALS:
            raise ParamsError(f"there can be 0 to {CATCH_TRIALS} catch trials, not {self.catch_trials}")
        if self.faces_each is not None and self.faces_each < 2:
            raise ParamsError(
                "one participant sees at least 2 faces: others come between a photo and its reconstruction"
            )


@dataclass(frozen=True)
class Source:
    """A photo that may become part of the study."""

    path: Path
    sha256: str
    label: str | None


@dataclass(frozen=True)
class Sources:
    """All photos that may become part of the study.

    Attributes:
        faces: Those that people are asked about.
        practice: To practise on.
        catch: For the catch trials, all with a label.
        left_out: What cannot be used.
    """

    faces: Sequence[Source]
    practice: Sequence[Source]
    catch: Sequence[Source]
    left_out: Sequence[LeftOut]


def find_all_sources(plan: StudyPlan) -> Sources:
    """The photos of the study, of the practice, and of the catch trials; none of them twice."""
    faces, left_out = find_sources(plan)
    taken = {source.sha256: source for source in faces}
    found: list[list[Source]] = []
    for photos in (plan.practice, plan.catch):
        sources, cannot = find_sources(replace(plan, photos=photos), taken) if photos else ([], [])
        taken |= {source.sha256: source for source in sources}
        left_out += cannot
        found.append(sources)
    unlabelled = [one for one in found[1] if one.label is None]
    left_out += [LeftOut(file=one.path.name, reason="a catch trial needs a known expression") for one in unlabelled]
    return Sources(faces, found[0], [one for one in found[1] if one.label], left_out)


def find_sources(plan: StudyPlan, taken: Mapping[str, Source] | None = None) -> tuple[list[Source], list[LeftOut]]:
    """The photos with their labels, and those that cannot be used, such as those that are taken, by their hashes."""
    labels = _labels_of_manifest(plan.labels) if plan.labels else None
    sources: dict[str, Source] = {}
    others = taken or {}
    left_out: list[LeftOut] = []

    def leave(path: Path, reason: str) -> None:
        left_out.append(LeftOut(file=path.name, reason=reason))

    for path in find_photos(plan.photos, not_taken=leave):
        label = _label_of_folder(path, plan) if labels is None else labels.get(path.resolve())
        reason = None
        try:
            source = Source(path, sha256_of(path), label)
        except OSError as error:
            reason = f"it cannot be read ({error.strerror})"
        else:
            if same := sources.get(source.sha256, others.get(source.sha256)):
                reason = f"it is the same picture as {same.path}"
            elif label not in (None, *plan.choices):
                reason = f"its label '{shown(str(label))}' is not among the choices"
            else:
                sources[source.sha256] = source
        if reason:
            leave(path, reason)
    return list(sources.values()), left_out


def _labels_of_manifest(path: Path) -> dict[Path, str | None]:
    manifest = Manifest.open(path)
    rows = zip(manifest.texts("path"), manifest.texts("expression"), strict=True)
    return {(manifest.folder / str(name)).resolve(): label for name, label in rows}


def _label_of_folder(path: Path, plan: StudyPlan) -> str | None:
    name = expression_name(path.absolute().parent.name)
    return name if name in plan.choices else None


def plan_digest(plan: StudyPlan, sources: Sources, texts: Texts) -> str:
    """Tells whether two plans, photos and texts included, are the same."""
    facts = {
        "photos": [[source.sha256, source.label] for source in sources.faces],
        "texts": texts.digest,
        **{name: getattr(plan, name) for name in ("methods", "choices", "seed", "catch_trials", "faces_each")},
    }
    more = {"practice": sources.practice, "catch": sources.catch}
    facts |= {name: [[one.sha256, one.label] for one in photos] for name, photos in more.items() if photos}
    return hashlib.sha256(json_text(facts, indent=None).encode()).hexdigest()
