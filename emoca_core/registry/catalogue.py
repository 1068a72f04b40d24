"""registry.yaml: the catalogue people read. Cards describe components and assets; recipes combine components.

Several files make one catalogue: the project's own, those that plugins ship, and the user's on top. Names only, never
import paths, so that reading somebody's file cannot run code.
"""

import functools
import importlib.resources
import os
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emoca_core.errors import CatalogueError, PluginError, RecipeError, unknown_name
from emoca_core.limits import EXTENDS_DEPTH
from emoca_core.parsing import checked, read_yaml
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.containment import contained, said_by
from emoca_core.registry.kinds import KINDS, KindSpec, part_kinds
from emoca_core.registry.merging import merge
from emoca_core.registry.offers import Origin, Problem
from emoca_core.registry.spec import Kind

ENVIRONMENT_VARIABLE = "EMOCA_CATALOGUE"
OLD_VARIABLE = "EMOCA_REGISTRY"
"""The word until 0.1, understood for one version more."""
PACKAGE_CARD = "card.json"
"""What makes a folder a package: its registry.yaml belongs to the weights beside it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)  # built once


class ShippedWeights(_Strict):
    """Trained weights that come with the project: what they are made of, and how they are made again."""

    sha256: str
    """Of the file."""
    data: tuple[str, ...]
    """What they were trained on, each with its licence."""
    made_by: tuple[str, ...]
    """Command lines, in order."""
    figures: dict[str, str]
    """What was measured, on what."""


class Card(_Strict):
    """What a person wants to know before using a component."""

    summary: str
    """One sentence."""
    paper: str | None = None
    """Citation."""
    license: str
    """Of the method's weights or data, as a user must respect it."""
    presets: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Named parameter sets."""
    assets: tuple[str, ...] = ()
    """Names of the files that the user has to bring."""
    witnesses: tuple[str, ...] = ()
    """Of an emotion backbone: its own name, or presets, that are trained and may judge what another one has shaped.
    Of a loss: those that tell whether a face is still the same person's, the most trusted one first."""
    kin: tuple[str, ...] = ()
    """Of an emotion backbone: others that share its network, and so are no witnesses of it, nor it of them."""
    shipped: ShippedWeights | None = None
    """The weights, where they come with the project."""


class AssetCard(_Strict):
    """A file that the user has to bring."""

    summary: str
    """What it is."""
    files: tuple[str, ...]
    """Published file names, any one of which will do."""
    license: str
    """Of the file."""
    obtain: str
    """Official page and how to get it there."""


class Use(_Strict):
    """A component by name; ``preset`` names an entry of its card, ``params`` go on top of the preset."""

    uses: str
    preset: str | None = None
    params: dict[str, object] = Field(default_factory=dict)
    untrained: bool = False
    """Let it judge a training although its weights are random."""


class Term(Use):
    """One term of the objective: part of the loss, or only measured."""

    weight: float = Field(default=1.0, ge=0)
    """Factor of the term (dimensionless)."""
    stage: Literal["coarse", "detail", "all"] = "all"
    """Training stage in which the term counts."""
    role: Literal["loss", "metric"] = Field(default="loss", alias="as")
    """Whether the term drives the training or is only logged."""


class Recipe(_Strict):
    """A complete method: one component for each kind that it names, and what is compared, probed and trained."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Kind, Use | None]

    summary: str
    losses: dict[str, Term] = Field(default_factory=dict)
    probe: tuple[str, ...] = ()
    """Blocks of the face code that the emotion probe reads, in this order."""
    training: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Settings of the training stages, by stage."""
    trained: str | None = None
    """Folder of the run or package whose weights complete the parts, relative to the file that names it."""

    @model_validator(mode="after")
    def _is_complete(self) -> "Recipe":
        self.__pydantic_extra__ = dict.fromkeys(part_kinds()) | (self.__pydantic_extra__ or {})
        missing = [kind.name for kind in KINDS.values() if kind.place == "required" and not getattr(self, kind.name)]
        if missing:
            raise ValueError(f"a recipe needs {', '.join(missing)}")
        return self

    def plain(self) -> dict[str, object]:
        """As a file of the catalogue has it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def parts(self) -> dict[Kind, Use]:
        """The parts that are present, in the order in which a photo meets them."""
        return {kind: use for kind, use in self.__pydantic_extra__.items() if use is not None}


class DefaultRecipe(_Strict):
    """What ``emoca reconstruct`` takes where nobody names a recipe."""

    uses: str
    """Its name."""
    restriction: str | None = None
    """What its licences hold a user to, e.g. ``for research only``; said whenever it is taken."""
    free: str | None = None
    """A recipe for any use, named beside the restriction."""


class Catalogue(_Strict):
    """All cards and recipes."""

    version: Literal[1]
    default_recipe: DefaultRecipe | None = None
    components: dict[Kind, dict[str, Card]] = Field(default_factory=dict)
    assets: dict[str, AssetCard] = Field(default_factory=dict)
    recipes: dict[str, Recipe] = Field(default_factory=dict)

    def recipe(self, name: str) -> Recipe:
        """A recipe by name.

        Raises:
            UnknownNameError: There is none; the message lists what exists.
        """
        if name not in self.recipes:
            raise unknown_name("recipe", name, self.recipes)
        return self.recipes[name]

    def card(self, kind: Kind, name: str) -> Card | None:
        """The card of a component; ``None`` if its plugin ships none."""
        return self.components.get(kind, {}).get(name)

    def params(self, kind: Kind, use: Use) -> dict[str, object]:
        """The preset's parameters with the recipe's on top.

        Raises:
            UnknownNameError: The card has no such preset.
        """
        if use.preset is None:
            return dict(use.params)
        card = self.card(kind, use.uses)
        presets = card.presets if card else {}
        if use.preset not in presets:
            raise unknown_name(f"preset of {kind} '{use.uses}'", use.preset, presets)
        return merge(presets[use.preset], use.params)

    def licenses(self, recipe: Recipe) -> dict[str, str]:
        """Licence of every part of a recipe and of every asset it needs, by ``kind name`` or asset name."""
        union: dict[str, str] = {}
        for kind, use in recipe.parts().items():
            if card := self.card(kind, use.uses):
                union[f"{kind} {use.uses}"] = card.license
                union |= {f"asset {a}": self.assets[a].license for a in card.assets if a in self.assets}
        return union


def default_path() -> Traversable:
    """The packaged file, or the one at the repository root for an editable install."""
    packaged = importlib.resources.files("emoca_core") / "registry.yaml"
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "registry.yaml"


def load(paths: Iterable[Traversable | Path], kinds: Mapping[Kind, KindSpec] = KINDS) -> Catalogue:
    """Read the files, merge them in order, resolve ``extends`` and validate; ``kinds`` are those that exist.

    Raises:
        CatalogueError: A file is missing, is not YAML or does not follow the schema; the message says where.
    """
    files = list(paths)
    return _assembled([read(path) for path in files], str(files[-1]) if files else "the catalogue", kinds)


def _assembled(files: Iterable[Mapping[str, object]], source: str, kinds: Mapping[Kind, KindSpec]) -> Catalogue:
    raw: dict[str, object] = {}
    for file in files:
        raw = merge(raw, file, keep_null=True)  # a recipe's nulls are for what it extends
    own = {name: recipe for name, recipe in _section(raw, "recipes").items() if recipe is not None}
    recipes = {name: _extended(name, own, source) for name in own}
    raw = merge({}, raw) | {"recipes": recipes}
    odd = [kind for kind in _section(raw, "components") if kind not in kinds]
    lines = [f"components: {unknown_name('kind', kind, kinds)}" for kind in odd]
    for name, recipe in recipes.items():
        lines += [f"recipe '{name}': {line}" for line in _unknown_keys(recipe, kinds.values())]
    if lines:
        raise CatalogueError("\n".join([f"{source} is not valid:", *(f"  {line}" for line in lines)]))
    return checked(Catalogue, raw, source, CatalogueError)


def _unknown_keys(recipe: Mapping[str, object], kinds: Iterable[KindSpec]) -> list[str]:
    """What stands in a recipe and is neither a part of some kind nor anything else that a recipe has."""
    known = {*Recipe.model_fields, *part_kinds(kinds)}
    return [str(unknown_name("part", key, known)) for key in recipe if key not in known]


def read(path: Traversable | Path) -> dict[str, object]:
    """One file as plain data.

    Raises:
        CatalogueError: It is missing, not YAML, or not a mapping.
    """
    raw = read_yaml(path, CatalogueError)
    if not isinstance(raw, dict) or not all(
        v is None or key == "version" or isinstance(v, dict) for key, v in raw.items()
    ):
        raise CatalogueError(
            f"{path} must hold 'version: 1' and the sections components, assets, recipes and default_recipe"
        )
    for recipe in _section(raw, "recipes").values():
        _find_weights(recipe, path)
    return {key: value for key, value in raw.items() if value is not None}


def _section(file: Mapping[str, object], name: str) -> dict[str, object]:
    """What a file has under a name; nothing where that is no mapping."""
    return section if isinstance(section := file.get(name), dict) else {}


def _find_weights(recipe: object, path: Traversable | Path) -> None:
    """Make the path of a recipe's weights absolute. A package's recipe has them even where its file does not say so."""
    if not (isinstance(recipe, dict) and isinstance(path, Path)):
        return
    if "trained" not in recipe and (path.parent / PACKAGE_CARD).is_file():
        recipe["trained"] = "."
    if isinstance(named := recipe.get("trained"), str):
        recipe["trained"] = str((path.parent / Path(named).expanduser()).absolute())


@functools.lru_cache(maxsize=8)
def _cached(
    shipped: tuple[tuple[Origin, Traversable], ...],
    user: Path | None,
    kinds: tuple[KindSpec, ...],
    states: tuple[tuple[str, int, int] | None, ...],
) -> tuple[Catalogue, list[Problem]]:
    base, by_name = read(default_path()), {kind.name: kind for kind in kinds}
    with_plugins, problems = _with_plugins(base, shipped, by_name)
    files = [with_plugins, *([read(user)] if user else [])]
    return _assembled(files, str(user or default_path()), by_name), problems


def get_catalogue(user_file: Path | str | None = None, registry: Registry | None = None) -> Catalogue:
    """The project's file, then those of plugins, then the user's (argument, else ``EMOCA_CATALOGUE``).

    A plugin's file adds to what is there. What it would replace, and a file that is not valid, is left out and reported
    to the registry; the user's file may replace everything.

    Raises:
        CatalogueError: The user's file is not valid.

    Example:
        >>> get_catalogue().recipe("open_fit").face_model.uses
        'open_head'
    """
    registry = registry or get_registry()
    user_file = user_file or os.environ.get(ENVIRONMENT_VARIABLE) or os.environ.get(OLD_VARIABLE)
    shipped = tuple((origin, path) for origin, paths in registry.catalogues.items() for path in paths)
    user = Path(user_file) if user_file else None
    states = tuple(_state(path) for path in (default_path(), *(path for _, path in shipped), user))
    catalogue, problems = _cached(shipped, user, tuple(registry.kinds.values()), states)
    registry.problems += [problem for problem in problems if problem not in registry.problems]
    return catalogue


def _with_plugins(
    merged: dict[str, object], shipped: Iterable[tuple[Origin, Traversable]], kinds: Mapping[Kind, KindSpec]
) -> tuple[dict[str, object], list[Problem]]:
    """What the files of plugins add, and what was left out of them."""
    problems = []
    for origin, path in shipped:
        try:
            with contained():
                own = read(path)
                problems += [Problem(origin, taken, "exists already, and is kept") for taken in _take_out(own, merged)]
                _assembled([merged, own], str(path), kinds)
        except PluginError as error:
            problems.append(Problem(origin, str(path.name), said_by(error.__cause__ or error)))
            continue
        merged = merge(merged, own, keep_null=True)
    return merged, problems


def _take_out(own: dict[str, object], merged: Mapping[str, object]) -> list[str]:
    """Remove from a file what the others have already; the names."""
    sections = [(name[:-1], _section(own, name), _section(merged, name)) for name in ("assets", "recipes")]
    cards, others = _section(own, "components"), _section(merged, "components")
    sections += [(kind, _section(cards, kind), _section(others, kind)) for kind in cards]
    taken = [(what, name, entries) for what, entries, others in sections for name in entries if name in others]
    for _, name, entries in taken:
        del entries[name]
    default = ["default_recipe"] if own.pop("default_recipe", None) else []  # the project's and the user's alone
    return [f"{what} '{name}'" for what, name, _ in taken] + default


def _state(path: Traversable | Path | None) -> tuple[str, int, int] | None:
    """What changes when a file is edited, or another folder is the current one."""
    if not isinstance(path, Path):
        return None
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return os.path.abspath(path), status.st_mtime_ns, status.st_size


def backbones_by_name(catalogue: Catalogue, registry: Registry) -> dict[str, Use]:
    """Emotion backbones by their own names, and by those of their presets."""
    cards = catalogue.components.get("emotion_backbone", {})
    presets = {preset: Use(uses=owner, preset=preset) for owner, card in cards.items() for preset in card.presets}
    return presets | {name: Use(uses=name) for name in registry.names("emotion_backbone")}


def _extended(name: str, recipes: Mapping[str, object], source: str) -> dict[str, object]:
    """A recipe on top of the one it extends, and so on."""
    chain: list[str] = []
    links: list[Mapping[str, object]] = []
    wanted: object = name
    while wanted:
        if not isinstance(wanted, str):
            raise CatalogueError(f"{source}: recipe '{chain[-1]}': extends must be the name of a recipe")
        if wanted in chain:
            raise CatalogueError(f"{source}: recipes extend each other in a circle: {' -> '.join((*chain, wanted))}")
        EXTENDS_DEPTH.check(len(chain), f"{source}: recipe '{name}'", CatalogueError)
        if wanted not in recipes:
            raise unknown_name(f"recipe to extend in '{chain[-1]}'", wanted, recipes)
        if not isinstance(recipe := recipes[wanted], Mapping):
            raise CatalogueError(f"{source}: recipe '{wanted}' must be a mapping of parts")
        chain.append(wanted)
        links.append({key: value for key, value in recipe.items() if key != "extends"})
        wanted = recipe.get("extends")
    merged: dict[str, object] = {}
    for link in reversed(links):
        merged = merge(merged, link)
    return merged


def changed(recipe: Recipe, *changes: object) -> Recipe:
    """The recipe with changes merged into it, one after the other.

    Raises:
        RecipeError: The result is no recipe; the message lists all reasons.
    """
    plain = recipe.model_dump(by_alias=True, exclude_none=True)
    for change in changes:
        if not isinstance(change, Mapping) or not all(isinstance(key, str) for key in change):
            raise RecipeError(f"a change maps names of parts to what changes in them, which {change!r} does not")
        plain = merge(plain, change)
    own = {kind: use for kind, use in plain.items() if kind not in recipe.parts()}
    if lines := _unknown_keys(own, get_registry().kinds.values()):
        raise RecipeError("\n".join(["the changed recipe is not valid:", *(f"  {line}" for line in lines)]))
    return checked(Recipe, plain, "the changed recipe", RecipeError)
