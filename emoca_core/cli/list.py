"""``emoca list``: what is installed."""

import argparse
import shutil
import sys
from collections.abc import Iterable

from emoca_core.cli import DONE, SOME_FAILED, Subparsers
from emoca_core.errors import unknown_name
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, get_catalogue
from emoca_core.registry.kinds import KINDS

NAME = "list"
HELP = "components, recipes and assets that exist"

OTHER_SECTIONS = ("recipe", "asset")
Row = tuple[str, str, str, str]


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"only one of: {', '.join((*KINDS, *OTHER_SECTIONS))}")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print one table per section, and what is wrong with plugins; 1 if anything is."""
    registry = get_registry()
    sections = (*registry.kinds, *OTHER_SECTIONS)
    if args.kind is not None and args.kind not in sections:
        raise unknown_name("kind", args.kind, sections)
    catalogue = get_catalogue(args.catalogue, registry)
    wanted = [args.kind] if args.kind else sections
    tables = {section: rows for section in wanted if (rows := rows_of(section, catalogue, registry))}
    print("\n\n".join(format_table(section, rows, _width()) for section, rows in tables.items()) or "nothing")
    if "recipe" in tables and (default := catalogue.default_recipe):
        limits = f", {default.restriction}" if default.restriction else ""
        print(f"\nwithout --recipe, emoca reconstruct takes {default.uses}{limits}")
    for problem in registry.problems:
        print(f"! {problem}", file=sys.stderr)
    return SOME_FAILED if registry.problems else DONE


def rows_of(section: str, catalogue: Catalogue, registry: Registry) -> list[Row]:
    """Name, origin, licence and summary of everything in one section."""
    if section == "recipe":
        return [
            (name, "recipe", _together(catalogue.licenses(recipe).values()), recipe.summary)
            for name, recipe in sorted(catalogue.recipes.items())
        ]
    if section == "asset":
        return [(name, "asset", card.license, card.summary) for name, card in sorted(catalogue.assets.items())]
    rows = []
    for kind, name in registry:
        if kind == section:
            entry, card = registry.components[kind, name], catalogue.card(kind, name)
            license, summary = (card.license, card.summary) if card else ("unknown", "(no card)")
            rows.append((name, f"{entry.plugin} {entry.version}", license, summary))
    return rows


def format_table(title: str, rows: list[Row], width: int | None) -> str:
    """Aligned columns under a title; lines end at ``width`` characters, ``None`` for no limit."""
    columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns[-1] = 0  # nothing follows it
    columns[-2] = min(columns[-2], 28)  # a licence may be a sentence; `emoca show` has all of it
    lines = ["  " + "  ".join(_cut(c, w).ljust(w) for c, w in zip(row, columns, strict=True)) for row in rows]
    return "\n".join([title, *(_cut(line, width or 0) for line in lines)])


def _cut(text: str, width: int) -> str:
    return text if not width or len(text) <= width else text[: width - 1] + "…"


def _together(licenses: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(licenses)) or "unknown"


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
