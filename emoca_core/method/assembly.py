"""The parts of a recipe, built together; what is missing or wrong is reported at once."""

from collections.abc import Callable
from typing import Any

import torch

from emoca_core.errors import EmocaError, MissingAssetError, RecipeError
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Catalogue, Recipe
from emoca_core.registry.spec import Kind


def build_parts(recipe: Recipe, catalogue: Catalogue, registry: Registry) -> dict[Kind, Any]:
    """Build every part of a recipe, and report everything that is missing or wrong at once.

    Raises:
        MissingAssetError: Only files are missing; all of them are listed.
        RecipeError: Something else is wrong; everything is listed.
    """
    parts: dict[Kind, Any] = {}
    errors: list[EmocaError] = []
    for kind, use in recipe.parts().items():
        try:
            parts[kind] = registry.build(kind, use.uses, catalogue.params(kind, use))
        except EmocaError as error:
            errors.append(error)
    if errors:
        raise _joined(errors)
    return parts


def pick_device(name: str) -> torch.device:
    """``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        EmocaError: Not a device, or not available on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise EmocaError(
            f"device '{name}' cannot be used: {str(error).splitlines()[0]}. Try 'cpu' or 'auto'."
        ) from None


def _joined(errors: list[EmocaError]) -> EmocaError:
    if len(errors) == 1:
        return errors[0]
    kind: Callable[[str], EmocaError] = (
        MissingAssetError if all(isinstance(e, MissingAssetError) for e in errors) else RecipeError
    )
    return kind("\n".join(str(error) for error in errors))
