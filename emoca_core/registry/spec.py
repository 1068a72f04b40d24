"""What a plugin declares: a light, import-free description of one component."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emoca_core import limits
from emoca_core.errors import ParamsError
from emoca_core.parsing import problems_of

Kind = str
"""Name of a kind of components, e.g. ``"face_model"``; ``emoca_core.registry.kinds`` has the table."""

Model = TypeVar("Model", bound=BaseModel)

Count = Annotated[int, Field(ge=0, le=limits.COUNT)]
Seed = Annotated[int, Field(ge=0, le=limits.SEED)]
ImageSize = Annotated[int, Field(ge=1, le=limits.IMAGE_SIZE)]
BatchSize = Annotated[int, Field(ge=1, le=limits.BATCH)]
DatasetLength = Annotated[int, Field(ge=1, le=limits.DATASET_LENGTH)]


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One named component; ``target`` is imported only when the component is first used.

    Attributes:
        kind: The interface it implements.
        name: Lower-case identifier, unique within its kind, e.g. ``"flame"``.
        target: ``"package.module:Class"``.
        extra: pip extra that provides its optional dependencies, e.g. ``"pytorch3d"``.
    """

    kind: Kind
    name: str
    target: str
    extra: str | None = None


def load_target(target: str) -> Any:
    """What ``"package.module:name"`` means.

    Raises:
        ImportError: The module, or something it imports, is missing.
        AttributeError: The module has no such name.
    """
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class SettingsModel(BaseModel):
    """What a user sets: unknown keys are errors, values are immutable and finite, docstrings describe the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ComponentParams(SettingsModel):
    """Base of every component's ``Params``.

    Document each field by a docstring under it: ``emoca show`` prints it, with type, range and unit.
    """

    @model_validator(mode="before")
    @classmethod
    def _complete_uses(cls, values: object) -> object:
        """A used component by its name alone, or with some of its parameters on top of the default's."""
        if not isinstance(values, Mapping):
            return values
        given = values.keys() & used_components(cls)
        return {**values, **{name: _on_top_of(values[name], cls, name) for name in given}}


class UsedComponent(SettingsModel):
    """A component that another one works with, by name; the registry that builds the one builds the other."""

    uses: str
    """Its name."""
    params: dict[str, object] = Field(default_factory=dict)
    """Its parameters."""


def uses(kind: Kind, name: str | None = None, **params: object) -> Any:
    """A field of ``Params`` that names a component; the constructor gets it, built, under the name of the field.

    ``backbone: UsedComponent = uses("emotion_backbone")`` makes the registry call ``cls(params, backbone=...)``.

    Args:
        kind: Kind of the component.
        name: Its name by default; without one the field is required.
        params: Its parameters by default.
    """
    default = ... if name is None else UsedComponent(uses=name, params=params)
    return Field(default=default, json_schema_extra={"uses": kind})


def used_components(params: type[ComponentParams]) -> dict[str, Kind]:
    """Fields that name a component which the registry builds, and its kind."""
    extras = {name: field.json_schema_extra for name, field in params.model_fields.items()}
    return {name: str(extra["uses"]) for name, extra in extras.items() if isinstance(extra, dict) and "uses" in extra}


def _on_top_of(value: object, model: type[BaseModel], field: str) -> object:
    if isinstance(value, str):
        value = {"uses": value}
    default = model.model_fields[field].default
    if not (isinstance(value, Mapping) and isinstance(default, UsedComponent)):
        return value
    named, params = value.get("uses", default.uses), value.get("params", {})
    same = named == default.uses and isinstance(params, Mapping)
    return {**value, "uses": named, "params": {**default.params, **params} if same else params}


def validated(model: type[Model], values: Mapping[str, object], what: str) -> Model:
    """Settings as an instance of their model.

    Args:
        model: What they have to look like.
        values: Names and values.
        what: Whose settings they are, for the message.

    Raises:
        ParamsError: A setting is unknown or out of range; the message names each with its nearest neighbour.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        known = ", ".join(model.model_fields) or "none"
        lines = [f"{what}:", *problems_of(error, model.model_fields), f"known parameters: {known}"]
        raise ParamsError("\n  ".join(lines)) from None
