"""What a plugin declares: a light, import-free description of one component."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

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
        module, _, attribute = self.target.partition(":")
        cls: type[Any] = getattr(importlib.import_module(module), attribute)
        return cls


class ComponentParams(BaseModel):
    """Base of every component's ``Params``: unknown keys are errors, values are immutable.

    Document each field by a docstring under it: ``emoca show`` prints it, with type, range and unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
