"""``emoca show``: everything about one component, recipe or asset."""

import argparse
import textwrap
from collections.abc import Iterator

from emoca_core.cli import Subparsers
from emoca_core.errors import ComponentImportError, unknown_name
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, Recipe, Use, get_catalogue
from emoca_core.registry.kinds import KINDS
from emoca_core.registry.spec import Kind
from emoca_core.runs.trained_folder import TrainedFolder, find_trained

NAME = "show"
HELP = "card, parameters and licences of a component, a recipe, a run folder or an asset"

OTHER_SECTIONS = ("recipe", "asset")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument(
        "kind", nargs="?", metavar="KIND", help=f"one of: {', '.join((*KINDS, *OTHER_SECTIONS))}; default: all"
    )
    parser.add_argument("name", metavar="NAME", help="as `emoca list` prints it, or a run folder")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print a page for everything of that name."""
    registry = get_registry()
    catalogue = get_catalogue(args.catalogue, registry)
    sections = (*registry.kinds, *OTHER_SECTIONS)
    if args.kind is not None and args.kind not in sections:
        raise unknown_name("kind", args.kind, sections)
    named = {section: names_in(section, catalogue, registry) for section in sections if args.kind in (None, section)}
    found = [section for section, names in named.items() if args.name in names]
    if not found and args.kind in (None, "recipe") and (trained := find_trained(args.name)):
        print("\n".join(trained_page(trained, catalogue)))
        return 0
    if not found:
        notes = map(str, registry.problems)
        raise unknown_name(args.kind or "component, recipe or asset", args.name, set().union(*named.values()), notes)
    print("\n\n".join("\n".join(page(section, args.name, catalogue, registry)) for section in found))
    return 0


def names_in(section: str, catalogue: Catalogue, registry: Registry) -> set[str]:
    """Everything that has a page in a section: what is installed, and what has a card."""
    if section == "recipe":
        return set(catalogue.recipes)
    if section == "asset":
        return set(catalogue.assets)
    installed = {name for kind, name in registry if kind == section}
    return installed | set(catalogue.components.get(section, {}))


def page(section: str, name: str, catalogue: Catalogue, registry: Registry) -> Iterator[str]:
    """The lines of one page."""
    yield f"{section} {name}"
    if section == "recipe":
        yield from recipe_page(catalogue.recipes[name], catalogue)
    elif section == "asset":
        card = catalogue.assets[name]
        yield from (
            card.summary,
            field("files", ", ".join(card.files)),
            field("licence", card.license),
            field("obtain", card.obtain),
        )
    else:
        yield from component_page(section, name, catalogue, registry)


def trained_page(trained: TrainedFolder, catalogue: Catalogue) -> Iterator[str]:
    """The page of a run folder or a package: its training, then its recipe."""
    card = trained.method_card
    metrics = {name: "undefined" if value is None else f"{value:.4g}" for name, value in sorted(card.metrics.items())}
    yield f"trained method {trained.name}"
    yield field("folder", str(trained.path))
    yield field("training", f"{card.stage} stage, step {card.step}")
    yield field("validation", ", ".join(" ".join(item) for item in metrics.items()))
    yield from recipe_page(card.recipe, catalogue)


def recipe_page(recipe: Recipe, catalogue: Catalogue) -> Iterator[str]:
    """The resolved parts, the terms of the objective, every licence and every asset."""
    yield recipe.summary
    for kind, use in recipe.parts().items():
        yield field(kind, describe_use(use, catalogue.params(kind, use)))
    for name, term in recipe.losses.items():
        details = f"{describe_use(term, catalogue.params('loss', term))}, weight {term.weight:g}, stage {term.stage}"
        yield field(f"{term.role} {name}", details)
    for stage, settings in recipe.training.items():
        yield field(f"training {stage}", describe_values(settings))
    yield "licences (all of them bind you)"
    for what, license in catalogue.licenses(recipe).items():
        yield field(what, license)
    yield "assets that you have to bring"
    cards = [catalogue.card(kind, use.uses) for kind, use in recipe.parts().items()]
    assets = dict.fromkeys(asset for card in cards if card for asset in card.assets)
    yield from (field(name, catalogue.assets[name].obtain if name in catalogue.assets else "") for name in assets)
    if not assets:
        yield "  none"


def component_page(kind: Kind, name: str, catalogue: Catalogue, registry: Registry) -> Iterator[str]:
    """The card, who offers it, and its parameters."""
    card = catalogue.card(kind, name)
    if card:
        yield card.summary
        yield from (
            field(label, value)
            for label, value in (
                ("paper", card.paper),
                ("licence", card.license),
                ("assets", ", ".join(card.assets)),
            )
            if value
        )
        if shipped := card.shipped:
            yield field("weights", f"come with the project, sha256 {shipped.sha256}")
            yield from (field("trained on", data) for data in shipped.data)
            yield from (field(name, figure) for name, figure in shipped.figures.items())
            yield from (field("made by", command) for command in shipped.made_by)
        for preset, values in card.presets.items():
            yield field(f"preset {preset}", describe_values(values))
    if (kind, name) not in registry.components:
        yield "no installed plugin offers it"
        return
    entry = registry.components[kind, name]
    yield field("plugin", f"{entry.plugin} {entry.version}")
    yield field("class", entry.spec.target)
    try:
        params = registry.resolve(kind, name).Params
    except ComponentImportError as error:
        yield f"parameters unknown: {error}"
        return
    from emoca_core.cli.schema import describe_params

    yield "parameters" if params.model_fields else "no parameters"
    yield from describe_params(params)


def describe_use(use: Use, params: dict[str, object]) -> str:
    """A component with the parameters that a recipe gives it."""
    preset = f" ({use.preset})" if use.preset else ""
    return f"{use.uses}{preset} {describe_values(params)}".strip()


def describe_values(values: dict[str, object]) -> str:
    """``a=1 b=2``."""
    return " ".join(f"{key}={value}" for key, value in values.items())


def field(label: str, text: str) -> str:
    """An indented line that continues below itself."""
    body = textwrap.wrap(" ".join(text.split()), 96, break_long_words=False, break_on_hyphens=False) or [""]
    return f"  {label:<24} " + ("\n" + " " * 27).join(body)
