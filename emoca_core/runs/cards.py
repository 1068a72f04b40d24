"""What a run and a package say of themselves: names of their files, and the form of ``best.json`` and ``card.json``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from emoca_core.errors import AssetFormatError
from emoca_core.limits import RECORD_BYTES
from emoca_core.parsing import parse_record, read_text
from emoca_core.registry.catalogue import PACKAGE_CARD, Recipe, Use

RUN_CARD = "best.json"
RUN_WEIGHTS, PACKAGE_WEIGHTS = "best.safetensors", "weights.safetensors"
PACKAGE_FORMAT = "emoca-method/1"
TRAINED_PARTS = ("encoder", "detail")
"""Parts of a recipe that a stage trains."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)  # keys of later versions are left alone


class Start(_Record):
    """The weights that a training started from."""

    file: str
    sha256: Sha256


class Asset(_Record):
    """A file that a training read; of a package also what it is, and where others obtain it."""

    file: str = ""
    sha256: Sha256
    summary: str = ""
    license: str = "unknown"
    obtain: str = "unknown"


class Weights(_Record):
    """The weights of a package, and how many tensors and values they are."""

    file: str = PACKAGE_WEIGHTS
    sha256: Sha256
    tensors: int = 0
    values: int = 0


class Training(BaseModel, extra="allow"):
    """One of the trainings that made a package, with its settings, versions and hardware."""

    run: str
    name: str
    """Of the recipe."""
    stage: str
    step: int
    commit: str | None = None


class Card(_Record):
    """``best.json``: the validation whose weights were kept."""

    step: int
    metrics: dict[str, float | None] = {}
    """By name; null is undefined."""


class EmotionCard(Card):
    """Of ``emoca train emotion``."""

    emotion_backbone: Use
    """What rebuilds the network."""


class MethodCard(Card):
    """Of ``emoca train coarse`` and ``detail``."""

    name: str
    recipe: Recipe
    """As it was trained, with its objective."""
    stage: Literal["coarse", "detail"]
    frozen: dict[str, Sha256]
    """Hash of the weights of each network that was not trained."""
    start: Start | None = None
    assets: dict[str, Asset] = {}


class PackageCard(MethodCard):
    """``card.json``: what others should know of a method."""

    format: Literal["emoca-method/1"]
    summary: str = ""
    trained_from: str = ""
    """Recipe of the last training."""
    weights: Weights
    trainings: list[Training] = []
    """All that made the weights, the oldest first."""
    licenses: dict[str, str] = {}
    """Of everything that it was trained with."""

    @field_serializer("recipe")
    def _without_nulls(self, recipe: Recipe) -> dict[str, object]:
        return recipe.plain()


class _Peek(_Record):
    """What tells cards apart."""

    format: str | None = None
    stage: object = None
    emotion_backbone: object = None


def read_card(folder: Path) -> Card:
    """The card of a package, or of a run that got as far as a validation.

    Raises:
        AssetFormatError: The folder holds neither, or its card is damaged.
    """
    packaged = (folder / PACKAGE_CARD).is_file()
    file = folder / (PACKAGE_CARD if packaged else RUN_CARD)
    if not file.is_file():
        raise AssetFormatError(
            f"{folder} holds no trained method: give a run folder of 'emoca train' that got as far as a validation, or "
            "a folder of 'emoca package'"
        )
    text = read_text(file, RECORD_BYTES)
    peek = parse_record(text, _Peek, str(file))
    if packaged and peek.format != PACKAGE_FORMAT:
        raise AssetFormatError(f"{folder} was written by another version of this project ({peek.format})")
    if packaged:
        return parse_record(text, PackageCard, str(file))
    if peek.emotion_backbone is not None:
        return parse_record(text, EmotionCard, str(file))
    if peek.stage is None:
        raise AssetFormatError(f"{folder} is no run of 'emoca train coarse', 'detail' or 'emotion'")
    return parse_record(text, MethodCard, str(file))
