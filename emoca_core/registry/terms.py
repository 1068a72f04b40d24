"""What the terms of a recipe's objective read, and whether the recipe's parts can provide it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from emoca_core.errors import ComponentImportError, RecipeError
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Recipe, Term
from emoca_core.registry.spec import Kind

if TYPE_CHECKING:
    from emoca_core.interfaces import Component

Stage = Literal["coarse", "detail"]
STAGES: tuple[Stage, ...] = ("coarse", "detail")
_PICTURES = ("rendering", "mask", "picture")
_DETAIL = ("detail_rendering", "displacement", "detail_maps")
_EMOTIONS = ("emotion_of_input", "emotion_of_rendering")


def terms_of(recipe: Recipe, stage: Stage) -> dict[str, Term]:
    """The terms that count in a stage, by their name in the recipe."""
    return {name: term for name, term in recipe.losses.items() if term.stage in (stage, "all")}


def unavailable(parts: "Mapping[Kind, Component]", stage: Stage, truth: bool = True) -> dict[str, str]:
    """Fields of a ``Capture`` that stay empty in a stage, and why.

    Args:
        parts: The components of the recipe.
        stage: Stage of the training.
        truth: Whether the data know the true code.
    """
    reasons: dict[str, str] = {}
    if "camera" not in getattr(parts["encoder"], "blocks", ()):
        reasons |= dict.fromkeys(_PICTURES, f"{type(parts['encoder']).__name__} estimates no camera")
    if stage == "coarse":
        reasons |= dict.fromkeys(_DETAIL, "the coarse stage has no detail (give the term stage: detail)")
    elif parts.get("detail") is None:
        reasons |= dict.fromkeys(_DETAIL, "the recipe has no detail model")
    if parts.get("emotion_backbone") is None:
        reasons |= dict.fromkeys(_EMOTIONS, "the recipe has no emotion_backbone (name one, or give --emotion)")
    if not truth:
        reasons["truth"] = "the data do not know the true code (synthetic faces do)"
    return reasons


def unfilled(terms: Mapping[str, frozenset[str]], empty: Mapping[str, str]) -> list[str]:
    """One line for each term that reads a field that stays empty.

    Args:
        terms: What each term reads (``Loss.requires``).
        empty: Fields that stay empty, and why.
    """
    lines = []
    for name, requires in terms.items():
        fields = sorted(requires & empty.keys())
        for reason in dict.fromkeys(empty[field] for field in fields):
            concerned = ", ".join(field for field in fields if empty[field] == reason)
            lines.append(f"term '{name}' reads {concerned}: {reason}")
    return lines


def looks_at_emotion(recipe: Recipe, stage: Stage, registry: Registry) -> bool:
    """Whether a term of a stage reads what the emotion backbone sees.

    Raises:
        UnknownNameError: There is no such loss.
    """
    read = [_requires(term, registry) for term in terms_of(recipe, stage).values()]
    return not frozenset().union(*read).isdisjoint(_EMOTIONS)


def check_terms(name: str, recipe: Recipe, parts: "Mapping[Kind, Component]", registry: Registry) -> None:
    """Refuse a recipe whose terms read what its parts never fill. The terms are not built.

    Raises:
        RecipeError: All such terms.
        UnknownNameError: There is no such loss.
    """
    lines: list[str] = []
    for stage in STAGES:
        own = {
            label: term for label, term in terms_of(recipe, stage).items() if term.stage != "all" or stage == "coarse"
        }
        lines += unfilled({label: _requires(term, registry) for label, term in own.items()}, unavailable(parts, stage))
    if lines:
        raise RecipeError("\n  ".join([f"recipe '{name}':", *lines]))


def _requires(term: Term, registry: Registry) -> frozenset[str]:
    try:
        requires: frozenset[str] = getattr(registry.resolve("loss", term.uses), "requires", frozenset())
    except ComponentImportError:  # only training needs the packages of a loss
        return frozenset()
    return requires
