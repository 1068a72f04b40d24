"""The parts of a recipe, built together; what is missing or wrong is reported at once."""

from collections.abc import Callable, Mapping

import torch

from emoca_core.errors import EmocaError, MissingAssetError, ParamsError, RecipeError, first_line
from emoca_core.interfaces import Component, Loss, Parts
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Catalogue, Recipe, Term
from emoca_core.registry.spec import Kind, used_components


def build_parts(recipe: Recipe, catalogue: Catalogue, registry: Registry) -> dict[Kind, Component]:
    """Build every part of a recipe, and report everything that is missing or wrong at once.

    Raises:
        MissingAssetError: Only files are missing; all of them are listed.
        RecipeError: Something else is wrong; everything is listed.
    """
    parts: dict[Kind, Component] = {}
    errors: list[EmocaError] = []
    for kind in build_order(recipe, registry):
        try:
            parts[kind] = build_part(kind, recipe, catalogue, registry, parts)
        except _NoPartsError:
            if not errors:
                raise
        except EmocaError as error:
            errors.append(error)
    if errors:
        raise _joined(errors)
    return parts


def build_order(recipe: Recipe, registry: Registry) -> list[Kind]:
    """The parts of a recipe; those that are built for the others come last."""
    return sorted(recipe.parts(), key=lambda kind: takes_parts(kind, recipe, registry))


def takes_parts(kind: Kind, recipe: Recipe, registry: Registry) -> bool:
    """Whether a part of a recipe, or one that it uses, is built for the others; one that cannot be imported is not."""
    use = recipe.parts()[kind]
    try:
        return _built_for_others(kind, use.uses, use.params, registry)
    except EmocaError:  # building it says why
        return False


def _built_for_others(kind: Kind, name: str, params: Mapping[str, object], registry: Registry) -> bool:
    cls = registry.resolve(kind, name)
    fields = used_components(cls.Params)
    if cls.takes_parts or not fields:
        return cls.takes_parts
    chosen = registry.params(kind, name, params)
    used = [(used_kind, getattr(chosen, field)) for field, used_kind in fields.items()]
    return any(_built_for_others(used_kind, one.uses, one.params, registry) for used_kind, one in used)


def build_part(
    kind: Kind, recipe: Recipe, catalogue: Catalogue, registry: Registry, others: Mapping[Kind, Component]
) -> Component:
    """One part of a recipe, with those of ``others`` that it is built for.

    Raises:
        RecipeError: They are not there.
        EmocaError: What ``Registry.build`` says.
    """
    use = recipe.parts()[kind]
    parts = None
    if takes_parts(kind, recipe, registry):
        try:
            parts = Parts.of(others)
        except RecipeError as error:
            raise _NoPartsError(f"{kind} '{use.uses}': {error}") from None
    return registry.build(kind, use.uses, catalogue.params(kind, use), parts)


def build_term(term: Term, parts: Mapping[Kind, Component], catalogue: Catalogue, registry: Registry) -> Loss:
    """One term of an objective, for the parts of a method.

    Raises:
        RecipeError: The loss cannot work with these parts.
        EmocaError: What ``Registry.build`` says.
    """
    loss = registry.build("loss", term.uses, catalogue.params("loss", term))
    loss.attach(Parts.of(parts))
    return loss


class _NoPartsError(RecipeError):
    """What a part is built for is not there, which has a reason of its own."""


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
        raise EmocaError(f"device '{name}' cannot be used: {first_line(error)}. Try 'cpu' or 'auto'.") from None


def _joined(errors: list[EmocaError]) -> EmocaError:
    if len(errors) == 1 and not isinstance(errors[0], ParamsError):  # which is a recipe that cannot be built
        return errors[0]
    kind: Callable[[str], EmocaError] = (
        MissingAssetError if all(isinstance(e, MissingAssetError) for e in errors) else RecipeError
    )
    return kind("\n".join(str(error) for error in errors))
