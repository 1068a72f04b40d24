"""What participants read: one YAML file, so that it can be translated."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emoca_core.errors import ParamsError
from emoca_core.parsing import problems_of, read_yaml

TEXTS = "texts.yaml"
"""In the folder of a study: may be edited until the first participant comes."""
Text = Annotated[str, Field(min_length=1, max_length=4000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(_Strict):
    """A page to read: some have a button to go on."""

    heading: Text
    paragraphs: tuple[Text, ...] = Field(max_length=40)


class CardWithButton(Card):
    """A page with a button."""

    button: Text


class Trouble(_Strict):
    """What to say when something does not work."""

    connection: Text
    full: Text
    link: Text


class Texts(_Strict):
    """All texts of the page; ``emoca_core/data/study_texts.yaml`` says where they stand."""

    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
    direction: Literal["ltr", "rtl"]
    title: Text
    consent: CardWithButton
    decline: Text
    declined: Card
    instructions: CardWithButton
    practice_over: CardWithButton
    paused: CardWithButton
    welcome_back: CardWithButton
    finished: Card
    code: Text
    completion_link: Text
    question: Text
    practice: Text
    progress: Text
    catch: Text
    picture: Text
    pause: Text
    trouble: Trouble
    labels: dict[str, Text]

    @model_validator(mode="after")
    def _keeps_its_words(self) -> "Texts":
        for name, words in {"progress": ("{done}", "{total}"), "catch": ("{label}",)}.items():
            if missing := [word for word in words if word not in getattr(self, name)]:
                raise ValueError(f"'{name}' must hold {' and '.join(missing)}")
        return self

    @property
    def is_unfinished(self) -> bool:
        """Whether the consent still has something in [brackets] that the experimenter has to fill in."""
        return any("[" in paragraph for paragraph in self.consent.paragraphs)

    @property
    def digest(self) -> str:
        """Tells versions of the texts apart: stored with every participant."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def read_texts(path: Path | None, choices: Sequence[str]) -> Texts:
    """The texts of a file, or the English ones.

    Args:
        path: YAML.
        choices: The answers of the study, each of which needs a label.

    Raises:
        ParamsError: A key is missing or unknown, or a text lacks a word in braces; one line.
    """
    source = files("emoca_core").joinpath("data/study_texts.yaml") if path is None else path
    values = read_yaml(source, ParamsError)
    try:
        texts = Texts.model_validate(values)
    except ValueError as error:
        from pydantic import ValidationError

        assert isinstance(error, ValidationError)
        problems = "; ".join(problems_of(error, Texts.model_fields))
        raise ParamsError(f"{source}: these are no texts of a study: {problems}") from None
    if missing := [name for name in choices if name not in texts.labels]:
        raise ParamsError(f"{source}: under 'labels' there is nothing for {', '.join(missing)}")
    return texts
