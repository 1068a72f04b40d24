"""A trained method by the name of its folder: a run of ``emoca train``, or what ``emoca package`` made of one."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emoca_core.errors import AssetFormatError, unknown_name
from emoca_core.files import leads_out, sha256_of
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Catalogue, Recipe, changed
from emoca_core.runs.cards import (
    PACKAGE_WEIGHTS,
    RUN_WEIGHTS,
    TRAINED_PARTS,
    Card,
    EmotionCard,
    MethodCard,
    PackageCard,
    Start,
    read_card,
)
from emoca_core.runs.hub import download, is_repository
from emoca_core.weights import RANDOM

ONLY_TRAINING = ("losses", "training", "emotion_backbone")
"""Keys of a recipe that capturing faces does without."""


@dataclass(frozen=True)
class TrainedFolder:
    """A folder with a card and weights.

    Attributes:
        path: The folder.
        name: Of the method, in tables and results.
        card: ``best.json`` of a run, ``card.json`` of a package.
    """

    path: Path
    name: str
    card: Card

    @property
    def packaged(self) -> bool:
        """Made by ``emoca package``, so that all weights are in one file."""
        return isinstance(self.card, PackageCard)

    @property
    def weights(self) -> Path:
        """The file of the weights; a run may need those of the runs before it too."""
        return self.path / (PACKAGE_WEIGHTS if self.packaged else RUN_WEIGHTS)

    @property
    def parts(self) -> tuple[str, ...]:
        """Kinds of the parts that may have weights here."""
        return ("emotion_backbone",) if isinstance(self.card, EmotionCard) else TRAINED_PARTS

    @property
    def frozen(self) -> Mapping[str, str]:
        """Hash of the weights of each network that was not trained."""
        return self.card.frozen if isinstance(self.card, MethodCard) else {}

    @property
    def method_card(self) -> MethodCard:
        """The card of a recipe's training.

        Raises:
            AssetFormatError: An emotion backbone was trained, which is no recipe.
        """
        if not isinstance(self.card, MethodCard):
            raise AssetFormatError(
                f"{self.path} is no run of 'emoca train coarse' or 'emoca train detail' but of 'emoca train emotion', "
                "which is a backbone and no recipe"
            )
        return self.card

    @property
    def emotion_card(self) -> EmotionCard:
        """The card of a backbone's training.

        Raises:
            AssetFormatError: Something else was trained.
        """
        if not isinstance(self.card, EmotionCard):
            raise AssetFormatError(f"{self.path} is not a run of 'emoca train emotion'")
        return self.card

    def chain(self) -> list["TrainedFolder"]:
        """The folders whose weights make up the method, the oldest first: this one, and those that it started from.

        Raises:
            AssetFormatError: One of them is gone or has changed.
        """
        chain: list[TrainedFolder] = [self]
        while (start := _start_of(chain[-1].card)) is not None:
            file = Path(start.file)
            if not file.is_file() or sha256_of(file) != start.sha256:
                raise AssetFormatError(f"{chain[-1].path} started from {file}, which is gone or has changed since")
            before = open_folder(file.parent)
            if before.path.resolve() in [folder.path.resolve() for folder in chain]:
                raise AssetFormatError(f"{self.path} started from itself, says {before.path}")
            chain.append(before)
        return chain[::-1]

    def recipe(self, registry: Registry) -> Recipe:
        """How the method is built before its weights are loaded.

        What only training needs is left out: objective, settings, and the emotion backbone it was trained with. Parts
        whose weights all lie in the folder start from random ones: published files would be overwritten.

        Raises:
            AssetFormatError: An emotion backbone was trained, which is no recipe.
        """
        recipe = self.method_card.recipe
        change: dict[str, object] = dict.fromkeys(ONLY_TRAINING)
        for kind in self.complete_parts():
            if use := recipe.parts().get(kind):
                change[kind] = {"params": without_weights(kind, use.uses, registry)}
        if "detail" not in recipe.parts():
            change["probe"] = [block for block in recipe.probe if block != "detail"]
        return changed(recipe, change)

    def complete_parts(self) -> list[str]:
        """Parts of which every weight lies in the folder: the first training of each began with the whole part."""
        if self.packaged:
            return []  # its recipe says so already
        first: dict[str, MethodCard] = {}
        for folder in self.chain():
            if not folder.packaged:
                card = folder.method_card
                first.setdefault({"coarse": "encoder", "detail": "detail"}[card.stage], card)
        return [kind for kind, card in first.items() if not any(is_within(name, kind) for name in card.frozen)]


def find_method(name: str, catalogue: Catalogue, registry: Registry) -> tuple[Recipe, TrainedFolder | None]:
    """A recipe by name, or a trained method by its folder or its repository on the Hugging Face hub.

    Args:
        name: A recipe of the catalogue, a run folder, a package, ``owner/name`` or ``hf://owner/name``.
        catalogue: With the recipes.
        registry: With the components.

    Returns:
        The recipe, and the folder that its weights come from: always the package, where the recipe is a package's.

    Raises:
        UnknownNameError: None of these; the message lists the recipes.
        AssetFormatError: A folder that holds no trained method.
        MissingAssetError: A repository that is not available.
    """
    if (recipe := catalogue.recipes.get(name)) is not None:
        trained = open_folder(Path(recipe.trained)) if recipe.trained else None
        return recipe.model_copy(update={"trained": None}), trained
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
    folder = Path(os.path.expanduser(name))
    if os.path.isdir(folder):  # which is false, not an error, for names that no file can have
        return open_folder(folder)
    if not is_repository(name):
        return None
    snapshot = download(name)  # files of the cache are links to the repository's blobs
    return open_folder(snapshot, name.removeprefix("hf://"), within=snapshot.parents[1])


def open_folder(folder: Path, name: str | None = None, within: Path | None = None) -> TrainedFolder:
    """Open a run of ``emoca train``, or a package.

    Args:
        folder: The folder.
        name: Of the method; by default that of the folder.
        within: Where links in the folder may lead; by default into the folder.

    Raises:
        AssetFormatError: It is neither, or a file is missing, damaged, or a link that leads out.
    """
    trained = TrainedFolder(folder, name or label_of(folder), read_card(folder))
    for file in folder.iterdir():
        if leads_out(within or folder, file):
            raise AssetFormatError(f"{file} is a link that leads out of the folder, which is not read")
    if not trained.weights.is_file():
        raise AssetFormatError(f"{folder} has lost its weights, {trained.weights.name}")
    return trained


def label_of(folder: Path) -> str:
    """The name of a folder; with the variant's, where it is a run of a sweep."""
    path = folder.resolve()
    return f"{path.parent.name}/{path.name}" if re.fullmatch(r"seed-\d+", path.name) else path.name


def is_within(name: str, part: str) -> bool:
    """Whether a module or tensor is a part, or belongs to it."""
    return name == part or name.startswith(part + ".")


def without_weights(kind: str, uses: str, registry: Registry) -> dict[str, object]:
    """Parameters that build a part without reading published weights; empty for parts that read none."""
    field = registry.resolve(kind, uses).Params.model_fields.get("weights")
    kinds = {field.annotation, *getattr(field.annotation, "__args__", ())} if field is not None else set()
    return {} if kinds.isdisjoint({RANDOM, str}) else {"weights": RANDOM}


def _start_of(card: Card) -> Start | None:
    return card.start if isinstance(card, MethodCard) and not isinstance(card, PackageCard) else None
