"""What a plugin declares: a light, import-free description of one component."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from emoca_core.errors import ParamsError, did_you_mean

Kind = Literal[
    "face_model",
    "encoder",
    "renderer",
    "emotion_backbone",
    "loss",
    "landmarker",
    "dataset",
    "detail",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Model = TypeVar("Model", bound=BaseModel)


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

    def load(self) -> type[Any]:
        """Import the module and return the class.

        Raises:
            ImportError: The module, or something it imports, is missing.
            AttributeError: The module has no such class.
        """
        cls: type[Any] = load_target(self.target)
        return cls


def load_target(target: str) -> Any:
    """What ``"package.module:name"`` means.

    Raises:
        ImportError: The module, or something it imports, is missing.
        AttributeError: The module has no such name.
    """
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class ComponentParams(BaseModel):
    """Base of every component's ``Params``: unknown keys are errors, values are immutable.

    Document each field by a docstring under it: ``emoca show`` prints it, with type, range and unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def validated(model: type[Model], values: Mapping[str, Any], what: str) -> Model:
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
        lines = [_explain(e, model.model_fields) for e in error.errors()]
        known = ", ".join(model.model_fields) or "none"
        raise ParamsError("\n".join([f"{what}:", *lines, f"  known parameters: {known}"])) from None


def _explain(error: Any, known: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"]))
    hint = did_you_mean(where, known) if error["type"] == "extra_forbidden" else ""
    return f"  {where}: {error['msg']} (got {error['input']!r}){hint}"
