"""``emoca check``: build everything that a recipe names, and say everything that is missing at once."""

import argparse
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from emoca_core.cli import BAD_INPUT, Subparsers
from emoca_core.errors import ComponentImportError, EmocaError, MissingAssetError
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, Recipe, Term, get_catalogue
from emoca_core.registry.spec import Kind
from emoca_core.runs.trained_folder import TrainedFolder, find_method

if TYPE_CHECKING:
    from emoca_core.interfaces import Loss

T = TypeVar("T")

NAME = "check"
HELP = "build every part of a recipe and say what is missing"


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="or run folder; default: all recipes")
    return parser


def run(args: argparse.Namespace) -> int:
    """Check the recipes one after the other; 2 if any of them cannot be built."""
    registry = get_registry()
    catalogue = get_catalogue(args.catalogue, registry)
    recipes = {name: find_method(name, catalogue, registry) for name in args.recipes or sorted(catalogue.recipes)}
    failed = [name for name, found in recipes.items() if not check_recipe(name, *found, catalogue, registry)]
    if failed:
        print(f"emoca: cannot be built: {', '.join(failed)}", file=sys.stderr)
    return BAD_INPUT if failed else 0


def check_recipe(
    name: str, recipe: Recipe, trained: TrainedFolder | None, catalogue: Catalogue, registry: Registry
) -> bool:
    """Build the parts, the terms of the objective and the method itself; print one line for each.

    A term that lacks a file or a package does not count: only training needs it.
    """
    from emoca_core.interfaces import Component, Parts
    from emoca_core.method import Method
    from emoca_core.method.assembly import build_order, build_part
    from emoca_core.method.judges import refuse_random_judges
    from emoca_core.registry.terms import check_terms

    print(f"recipe {name}")
    uses, parts = recipe.parts(), dict[Kind, Component]()
    for kind in build_order(recipe, registry):
        _, part = _attempt(kind, uses[kind].uses, partial(build_part, kind, recipe, catalogue, registry, parts))
        parts |= {} if part is None else {kind: part}
    terms = {
        label: _attempt(
            f"{term.role} {label}", term.uses, partial(_build_term, term, catalogue, registry), optional=True
        )
        for label, term in recipe.losses.items()
    }
    if parts.keys() != uses.keys() or not all(fine for fine, _ in terms.values()):
        return False

    def assemble() -> Method:
        method = Method(name, recipe, parts)
        check_terms(name, recipe, parts, registry)
        built = {label: (recipe.losses[label], loss) for label, (_, loss) in terms.items() if loss is not None}
        for _, loss in built.values():
            loss.attach(Parts.of(parts))
        if trained:
            from emoca_core.runs.loading import load_trained

            load_trained(parts, trained)
        elif built:  # whose training has looked at its judges, with weights that need not be here any more
            refuse_random_judges(method, built, catalogue, registry)
        return method

    return _attempt("method", name, assemble)[0]


def _build_term(term: Term, catalogue: Catalogue, registry: Registry) -> "Loss":
    return registry.build("loss", term.uses, catalogue.params("loss", term))


def _attempt(label: str, name: str, build: Callable[[], T], *, optional: bool = False) -> tuple[bool, T | None]:
    """Whether all is well, and what ``build`` returns; nothing is wrong where what it lacks is optional."""
    try:
        built = build()
    except EmocaError as error:
        verdict = "missing" if isinstance(error, MissingAssetError) else "wrong"
        excused = optional and isinstance(error, MissingAssetError | ComponentImportError)
        note = ", for training" if excused else ""
        print(f"  {label:<24} {name:<24} {verdict}{note}\n" + textwrap.indent(str(error), "      "))
        return excused, None
    print(f"  {label:<24} {name:<24} ok")
    return True, built
