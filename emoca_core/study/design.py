"""``study.json``: what a study shows, written once and never changed."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emoca_core.errors import AssetFormatError
from emoca_core.files import path_below, sha256_of
from emoca_core.limits import SEED
from emoca_core.parsing import read_record, shown

STUDY = "study.json"
UNFINISHED = "unfinished.json"
PICTURES = "pictures"
"""Folder of the pictures, whose names tell nothing."""
PHOTO = "photo"
"""What a picture shows that no method made."""
FORMAT: Literal["emoca-study-1"] = "emoca-study-1"
CATCH_TRIALS = 100
"""At most."""

PictureId = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Face(_Strict):
    """One face of one photo, which is shown as it is and as every method reconstructs it.

    Attributes:
        file: Name of the photo.
        sha256: Of the photo.
        label: The expression that it is known to show.
    """

    file: str
    sha256: str
    label: str | None


class Stimulus(_Strict):
    """One picture that participants see.

    Attributes:
        id: Its name in the folder and on the page; drawn at random.
        face: Number of the face; ``None`` for practice.
        shows: ``"photo"``, or the name of a method.
        sha256: Of the file.
    """

    id: PictureId
    face: Annotated[int, Field(ge=0)] | None
    shows: str
    sha256: str


class Catch(_Strict):
    """A photo whose expression nobody mistakes who looks at it.

    Attributes:
        picture: The photo.
        label: What it shows.
    """

    picture: Stimulus
    label: str


class LeftOut(_Strict):
    """A photo that is not part of the study, and why."""

    file: str
    reason: str


class Study(_Strict):
    """What a study shows.

    Attributes:
        format: Of the file.
        version: Of the program that made it.
        plan: Hash of everything that was asked for, so that the same question finds the same study.
        key: Random; names of pictures and completion codes are derived from it.
        seed: Of the order of trials.
        choices: The answers.
        methods: What is compared, in order.
        recipes: What each method is made of, as a hash.
        faces: All faces.
        stimuli: All pictures but those of the practice: of each face the photo and one for each method.
        practice: Pictures shown first, whose answers do not count.
        catch_trials: How many trials show whether somebody pays attention.
        faces_each: How many of the faces one participant sees.
        left_out: Photos that could not be used.
        catch: Photos of the catch trials; without any, a text tells what to choose.
    """

    format: Literal["emoca-study-1"]
    version: str
    plan: str
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    seed: Annotated[int, Field(ge=0, le=SEED)]
    choices: Annotated[tuple[str, ...], Field(min_length=2, max_length=9)]
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    recipes: dict[str, str]
    faces: Annotated[tuple[Face, ...], Field(min_length=2)]
    stimuli: tuple[Stimulus, ...]
    practice: tuple[Stimulus, ...]
    catch_trials: Annotated[int, Field(ge=0, le=CATCH_TRIALS)]
    faces_each: Annotated[int, Field(ge=2)]
    left_out: tuple[LeftOut, ...]
    catch: tuple[Catch, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "Study":
        wanted = Counter((face, shows) for face in range(len(self.faces)) for shows in self.conditions)
        if Counter((one.face, one.shows) for one in self.stimuli) != wanted:
            raise ValueError("there is not exactly one picture of each face for each method")
        if any(face.label not in (None, *self.choices) for face in self.faces):
            raise ValueError("a label is not among the choices")
        if any(one.label not in self.choices for one in self.catch):
            raise ValueError("a catch trial shows what is not among the choices")
        if self.catch and self.catch_trials > len(self.catch):
            raise ValueError("there are more catch trials than photos for them")
        if self.faces_each > len(self.faces):
            raise ValueError("a participant would see more faces than there are")
        return self

    @property
    def conditions(self) -> tuple[str, ...]:
        """What a picture may show: the photo, and every method."""
        return (PHOTO, *self.methods)

    @property
    def digest(self) -> str:
        """Tells studies apart: answers belong to one."""
        unused = set() if self.catch else {"catch"}  # studies made before there were any keep theirs
        return hashlib.sha256(self.model_dump_json(exclude=unused).encode()).hexdigest()

    def pictures(self) -> dict[str, Stimulus]:
        """All pictures by their names."""
        return {one.id: one for one in (*self.stimuli, *self.practice, *(catch.picture for catch in self.catch))}


def read_study(folder: Path) -> Study:
    """Read a finished study.

    Raises:
        AssetFormatError: It is none, is unfinished, or damaged.
    """
    if not (folder / STUDY).exists():
        if (folder / UNFINISHED).exists():
            raise AssetFormatError(f"{folder} is not finished: give the same `emoca study new` once more")
        raise AssetFormatError(f"{folder} is no study: it holds no {STUDY} (`emoca study new` makes one)")
    return read_record(folder / STUDY, Study)


def picture_path(folder: Path, name: str) -> Path:
    """Where the picture of a name lies."""
    return path_below(folder, PICTURES, f"{name}.jpg")


def check_pictures(folder: Path, study: Study) -> None:
    """Refuse a study whose pictures are gone or changed.

    Raises:
        AssetFormatError: It names one.
    """
    for name, one in study.pictures().items():
        path = picture_path(folder, name)
        try:
            intact = sha256_of(path) == one.sha256
        except OSError as error:
            raise AssetFormatError(f"{path}: {error.strerror or error}; the study is damaged") from None
        if not intact:
            raise AssetFormatError(f"{path}: this is not the picture that the study was made with ({shown(one.shows)})")
