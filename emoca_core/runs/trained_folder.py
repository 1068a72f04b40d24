"""A trained method by the name of its folder: a run of ``emoca train``, or what ``emoca package`` made of one."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from emoca_core.errors import AssetFormatError, unknown_name
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Catalogue, Recipe, merge
from emoca_core.runs.hub import download, is_repository

RUN_CARD, PACKAGE_CARD = "best.json", "card.json"
RUN_WEIGHTS, PACKAGE_WEIGHTS = "best.safetensors", "weights.safetensors"
FORMAT = "emoca-method/1"
"""Of packages."""
TRAINED_PARTS = ("encoder", "detail")
"""Parts of a recipe that a stage trains."""
ONLY_TRAINING = ("losses", "training", "emotion_backbone")
"""Keys of a recipe that capturing faces does without."""


@dataclass(frozen=True)
class TrainedFolder:
    """A folder with a card and weights.

    Attributes:
        path: The folder.
        name: Of the method, in tables and results.
        packaged: Made by ``emoca package``, so that all weights are in one file.
        card: ``best.json`` of a run, ``card.json`` of a package.
    """

    path: Path
    name: str
    packaged: bool
    card: Mapping[str, Any]

    @property
    def weights(self) -> Path:
        """The file of the weights; a run may need those of the runs before it too."""
        return self.path / (PACKAGE_WEIGHTS if self.packaged else RUN_WEIGHTS)

    @property
    def frozen(self) -> Mapping[str, str]:
        """Hash of the weights of each network that was not trained."""
        return dict(self.card["frozen"])

    def chain(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Files of weights with the cards of their trainings, the oldest first.

        Raises:
            AssetFormatError: A run that this one started from is gone or has changed.
        """
        if self.packaged:
            return [(self.weights, self.card)]
        from emoca_core.runs.start import chain

        return [(folder / RUN_WEIGHTS, card) for folder, card in chain(self.path)]

    def recorded_recipe(self) -> Recipe:
        """The recipe that was trained, with its objective.

        Raises:
            AssetFormatError: The card describes no recipe.
        """
        try:
            return Recipe.model_validate(self.card["recipe"])
        except (KeyError, pydantic.ValidationError) as error:
            raise AssetFormatError(f"{self.path} does not describe a recipe: {error}") from None

    def recipe(self, registry: Registry) -> Recipe:
        """How the method is built before its weights are loaded.

        What only training needs is left out: objective, settings, and the emotion backbone it was trained with. Parts
        whose weights all lie in the folder start from random ones: published files would be overwritten.

        Raises:
            AssetFormatError: The card describes no recipe.
        """
        recipe = self.recorded_recipe()
        plain = recipe.model_dump(by_alias=True, exclude_none=True, exclude={*ONLY_TRAINING})
        for kind in self.complete_parts():
            if use := recipe.parts().get(kind):
                plain = merge(plain, {kind: {"params": without_weights(kind, use.uses, registry)}})
        if "detail" not in recipe.parts():
            plain["probe"] = [block for block in recipe.probe if block != "detail"]
        return Recipe.model_validate(plain)

    def complete_parts(self) -> list[str]:
        """Parts of which every weight lies in the folder: the first training of each began with the whole part."""
        if self.packaged:
            return []  # its recipe says so already
        first: dict[str, Mapping[str, Any]] = {}
        for _, card in self.chain():
            first.setdefault({"coarse": "encoder", "detail": "detail"}[card["stage"]], card)
        return [kind for kind, card in first.items() if not any(is_within(name, kind) for name in card["frozen"])]


def find_method(name: str, catalogue: Catalogue, registry: Registry) -> tuple[Recipe, TrainedFolder | None]:
    """A recipe by name, or a trained method by its folder or its repository on the Hugging Face hub.

    Args:
        name: A recipe of the catalogue, a run folder, a package, ``owner/name`` or ``hf://owner/name``.
        catalogue: With the recipes.
        registry: With the components.

    Returns:
        The recipe, and the folder that its weights come from.

    Raises:
        UnknownNameError: None of these; the message lists the recipes.
        AssetFormatError: A folder that holds no trained method.
        MissingAssetError: A repository that is not available.
    """
    if name in catalogue.recipes:
        return catalogue.recipes[name], None
    trained = find_trained(name)
    if trained is None:
        raise unknown_name("recipe or run folder", name, catalogue.recipes)
    return trained.recipe(registry), trained


def find_trained(name: str) -> TrainedFolder | None:
    """The trained method behind a name; ``None`` if it is neither a folder nor a repository.

    Raises:
        AssetFormatError: A folder that holds no trained method.
        MissingAssetError: A repository that is not available.
    """
    if (folder := Path(name).expanduser()).is_dir():
        return open_folder(folder)
    return open_folder(download(name), name.removeprefix("hf://")) if is_repository(name) else None


def open_folder(folder: Path, name: str | None = None) -> TrainedFolder:
    """Open a run of ``emoca train coarse|detail``, or a package.

    Raises:
        AssetFormatError: It is neither.
    """
    if (folder / PACKAGE_CARD).is_file():
        try:
            card = json.loads((folder / PACKAGE_CARD).read_text(encoding="utf-8"))
            known = card["format"] == FORMAT and isinstance(card["frozen"], dict)
        except (ValueError, KeyError, TypeError) as error:
            raise AssetFormatError(f"{folder / PACKAGE_CARD} is damaged: {error!r}") from None
        if not known:
            raise AssetFormatError(f"{folder} was written by another version of this project ({card['format']})")
        return _with_weights(TrainedFolder(folder, name or label_of(folder), True, card))
    if not (folder / RUN_CARD).is_file():
        raise AssetFormatError(
            f"{folder} holds no trained method: give a run folder of 'emoca train' that got as far as a validation, or "
            "a folder of 'emoca package'"
        )
    from emoca_core.runs.start import read_card

    card = read_card(folder)
    if not {"recipe", "stage", "frozen"} <= card.keys():
        other = " but of 'emoca train emotion', which is a backbone and no recipe" if "emotion_backbone" in card else ""
        raise AssetFormatError(f"{folder} is no run of 'emoca train coarse' or 'emoca train detail'{other}")
    return _with_weights(TrainedFolder(folder, name or label_of(folder), False, card))


def label_of(folder: Path) -> str:
    """The name of a folder; with the variant's, where it is a run of a sweep."""
    path = folder.resolve()
    return f"{path.parent.name}/{path.name}" if re.fullmatch(r"seed-\d+", path.name) else path.name


def is_within(name: str, part: str) -> bool:
    """Whether a module or tensor is a part, or belongs to it."""
    return name == part or name.startswith(part + ".")


def without_weights(kind: str, uses: str, registry: Registry) -> dict[str, Any]:
    """Parameters that build a part without reading published weights; empty for parts that read none."""
    from emoca_core.weights.checkpoints import RANDOM

    field = registry.resolve(kind, uses).Params.model_fields.get("weights")
    kinds = {field.annotation, *getattr(field.annotation, "__args__", ())} if field is not None else set()
    return {} if kinds.isdisjoint({RANDOM, str}) else {"weights": RANDOM}


def _with_weights(trained: TrainedFolder) -> TrainedFolder:
    if not trained.weights.is_file():
        raise AssetFormatError(f"{trained.path} has lost its weights, {trained.weights.name}")
    return trained
