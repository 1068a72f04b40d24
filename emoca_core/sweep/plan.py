"""The YAML file of a sweep: what is trained, and how the variants differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml  # to write: reading is in emoca_core.parsing
from pydantic import Field, field_validator

from emoca_core.errors import EmocaError, ParamsError, printable
from emoca_core.files import path_below
from emoca_core.parsing import read_yaml
from emoca_core.registry.merging import merge
from emoca_core.registry.spec import Seed, SettingsModel, validated

Assignments = dict[str, object]
_UNSAFE = frozenset('/\\:*?"<>|')
_OWN_FILES = ("table.md", "table.csv", "result.json", "faces.png")
"""What a sweep writes beside the folders of its variants."""
_EMOTION, _FACE = ("backbone", "data", "preset", "classes"), ("recipe", "data", "start", "emotion")
_OPTIONS: Mapping[str, tuple[str, ...]] = {"emotion": _EMOTION, "coarse": _FACE, "detail": _FACE}
"""Stage -> its options of ``emoca train``; the first two must be given."""
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    stage: ("set", "backbone-set" if stage == "emotion" else "recipe-set", "data-set") for stage in _OPTIONS
}
"""Stage -> its options with assignments."""


class Variant(SettingsModel, populate_by_name=True):
    """What a variant changes; the same keys at the top of the file hold for all variants.

    Keys of ``set``, ``recipe-set``, ``backbone-set`` and ``data-set`` may be dotted, as on the command line.
    """

    recipe: str | None = None
    """Name of the recipe."""
    data: str | None = None
    """Manifest, or name of a data set."""
    start: str | None = None
    """Run folder whose weights to start from."""
    emotion: str | None = None
    """Run folder of ``emoca train emotion`` to look through."""
    backbone: str | None = None
    """Of stage ``emotion``: the emotion backbone, or a preset of one."""
    preset: str | None = None
    """Of stage ``emotion``: ``paper`` or ``upstream``."""
    classes: str | tuple[str, ...] | None = None
    """Of stage ``emotion``: the expression classes, or ``data``."""
    settings: Assignments = Field(default_factory=dict, alias="set")
    """Training parameters."""
    recipe_settings: Assignments = Field(default_factory=dict, alias="recipe-set")
    """Recipe parameters."""
    backbone_settings: Assignments = Field(default_factory=dict, alias="backbone-set")
    """Backbone parameters."""
    data_settings: Assignments = Field(default_factory=dict, alias="data-set")
    """Data set parameters."""

    @field_validator("settings", "recipe_settings", "backbone_settings", "data_settings")
    @classmethod
    def _nested(cls, assignments: Assignments) -> Assignments:
        return nested(assignments)

    def given(self) -> dict[str, object]:
        """What is set, by the key of the file."""
        return self.model_dump(by_alias=True, exclude_defaults=True, include=set(Variant.model_fields))

    def assigned(self, option: str) -> Assignments:
        """What is set under an option with assignments."""
        return {**values} if isinstance(values := self.given().get(option), dict) else {}


class Plan(Variant):
    """The whole file."""

    stage: Literal["coarse", "detail", "emotion"] = "coarse"
    """Training stage."""
    seeds: tuple[Seed, ...] = Field(default=(0, 1, 2), min_length=1)
    """Every variant is trained once with each."""
    variants: dict[str, Variant] = Field(min_length=1)
    """By name; the others are compared with the first."""
    metrics: tuple[str, ...] = ()
    """Columns of the table; by default all metrics of the validation that are not terms of the objective."""
    report: Literal["best", "last"] = "best"
    """``best`` reads the validation whose weights were kept, ``last`` the last one."""

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("every seed once")
        return seeds

    @field_validator("variants", mode="before")
    @classmethod
    def _nothing_changed(cls, variants: object) -> object:
        if not isinstance(variants, Mapping):
            return variants
        owners = dict.fromkeys(_OWN_FILES, "a file of the sweep")
        for name in variants:
            if not name.strip(". ") or _UNSAFE & set(name) or printable(name) != name:
                raise ValueError(f"'{name}' cannot be the name of a folder")
            folder = folder_name(name).casefold()  # some file systems do not tell A from a
            if folder in owners:
                raise ValueError(f"'{name}' would share a folder with {owners[folder]}")
            owners[folder] = f"'{name}'"
        return {name: {} if variant is None else variant for name, variant in variants.items()}


@dataclass(frozen=True)
class Run:
    """One training of a sweep.

    Attributes:
        variant: Name of the variant.
        seed: Its seed.
        folder: Its run folder.
        arguments: What follows ``emoca train``.
    """

    variant: str
    seed: int
    folder: Path
    arguments: tuple[str, ...]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """What the training printed."""
        return self.folder.with_name(self.folder.name + ".log")

    @property
    def record(self) -> Path:
        """Written when the training has finished, or failed."""
        return self.folder.with_name(self.folder.name + ".json")


def read_plan(file: Path) -> Plan:
    """Read the file of a sweep.

    Raises:
        EmocaError: It cannot be read, or is not YAML.
        ParamsError: A key is unknown, missing or out of range.
    """
    raw = read_yaml(file, EmocaError)
    if not isinstance(raw, dict):
        raise EmocaError(f"{file} must hold stage, recipe, data, seeds and variants")
    plan = validated(Plan, raw, str(file))
    allowed = (*_OPTIONS[plan.stage], *_SETTINGS[plan.stage])
    for name, variant in plan.variants.items():
        everything = plan.given() | variant.given()
        if other := [key for key in everything if key not in allowed]:
            raise ParamsError(f"{file}: '{other[0]}' is not of the stage {plan.stage}, which has {', '.join(allowed)}")
        for key in allowed[:2]:
            if key not in everything:
                raise ParamsError(f"{file}: variant '{name}' has no {key}, and the file names none for all")
        for place in _SETTINGS[plan.stage][:2]:
            if "seed" in plan.assigned(place) | variant.assigned(place):
                raise ParamsError(f"{file}: 'seed' under '{place}' is set by 'seeds'")
    return plan


def runs_of(plan: Plan, out: Path) -> list[Run]:
    """All trainings: the first seed of every variant, then the second, so that an early look shows all variants."""
    return [
        Run(name, seed, run_folder(name, seed, out), arguments(plan, name, seed, out))
        for seed in plan.seeds
        for name in plan.variants
    ]


def run_folder(variant: str, seed: int, out: Path) -> Path:
    """Where a run is.

    Raises:
        UnsafePathError: The variant's name is no name of a folder, or a link leads out of the sweep's folder.
    """
    return path_below(out, folder_name(variant), f"seed-{seed}", what="variant")


def folder_name(variant: str) -> str:
    """A variant's folder."""
    return variant.replace(" ", "_")


def arguments(plan: Plan, name: str, seed: int, out: Path) -> tuple[str, ...]:
    """The training of a variant as arguments of ``emoca train``."""
    common, own = plan.given(), plan.variants[name].given()
    given = [plan.stage, "--out", str(run_folder(name, seed, out))]
    for option in _OPTIONS[plan.stage]:
        if (value := own.get(option) or common.get(option)) is not None:
            given += [f"--{option}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    for option in _SETTINGS[plan.stage]:
        values = merge(plan.assigned(option), plan.variants[name].assigned(option), keep_null=True)
        for key, value in (values | {"seed": seed} if option == "set" else values).items():
            given += [f"--{option}", f"{key}={as_yaml(value)}"]
    return tuple(given)


def as_yaml(value: object) -> str:
    """One line that YAML reads as the value."""
    text = yaml.safe_dump(value, default_flow_style=True, width=2**20, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def nested(assignments: Mapping[str, object]) -> dict[str, object]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``; keys further inside are left alone, because names may hold dots.

    Raises:
        ValueError: A key without a name between its dots.
    """
    values: dict[str, object] = {}
    for key, value in assignments.items():
        if not all(str(key).split(".")):
            raise ValueError(f"'{key}' is not the name of a setting")
        first, *inside = str(key).split(".")
        for part in reversed(inside):
            value = {part: value}
        values = merge(values, {first: value}, keep_null=True)
    return values
