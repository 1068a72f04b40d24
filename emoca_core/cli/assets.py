"""``emoca assets``: licensed and large files that users bring; what is there, what is missing, where to obtain it."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from emoca_core.cli import BAD_INPUT, Subparsers
from emoca_core.files import sha256_of
from emoca_core.registry.assets import ENVIRONMENT_VARIABLE, AssetRecord, asset_folder, read_index
from emoca_core.registry.catalogue import AssetCard, Catalogue, Recipe, get_catalogue

NAME = "assets"
HELP = "files that you bring: what is there, what is missing, where to obtain it; add them"

_SHOWN_HASH = 16


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument("--recipe", metavar="NAME", help="only what this recipe needs")
    parser.add_argument("--verify", action="store_true", help="compare every file with its recorded sha256")
    parser.set_defaults(files=None, name=None)
    actions = parser.add_subparsers(title="actions", metavar="add")
    add = actions.add_parser(
        "add",
        help="take published files into the asset folder",
        description="Recognise published files by their content, convert them once to plain arrays, record their "
        "origin. Folders are searched. Your files stay where they are.",
    )
    add.add_argument("files", nargs="+", metavar="FILE", help="published file, or a folder that holds some")
    add.add_argument("--name", metavar="ASSET", help="which asset it is, where the content fits several")
    return parser


def run(args: argparse.Namespace) -> int:
    """Add files, or print the list."""
    catalogue = get_catalogue(args.catalogue)
    return _add(args.files, args.name, catalogue) if args.files else _list(args, catalogue)


def needs_of(recipe: Recipe, catalogue: Catalogue) -> list[str]:
    """Assets that the cards of a recipe's parts name, in order, each once."""
    cards = [catalogue.card(kind, use.uses) for kind, use in recipe.parts().items()]
    return list(dict.fromkeys(asset for card in cards if card for asset in card.assets))


def _add(files: Iterable[str], name: str | None, catalogue: Catalogue) -> int:
    from emoca_core.formats.add import add_files

    taken, problems = 0, 0
    for added in add_files(files, name):
        if added.record is None:
            problems += 1
            print(f"! {added.problem}", file=sys.stderr)
            continue
        taken += 1
        verb = "is already there" if added.unchanged else f"added as {added.record.file}"
        license = card.license if (card := catalogue.assets.get(added.record.name)) else "unknown"
        instead = f", in place of the one from {added.replaced}" if added.replaced else ""
        print(f"{added.path}: {added.record.name} {verb}{instead} (licence: {license})")
    if not taken and not problems:
        print("emoca: none of these files is a published model this project knows", file=sys.stderr)
    return 0 if taken and not problems else BAD_INPUT


def _list(args: argparse.Namespace, catalogue: Catalogue) -> int:
    folder = asset_folder()
    index = read_index(folder)
    wanted = needs_of(catalogue.recipe(args.recipe), catalogue) if args.recipe else sorted(catalogue.assets)
    users = _users(catalogue)
    print(f"asset folder: {folder}  (set {ENVIRONMENT_VARIABLE} to use another)")
    damaged = False
    for name in wanted:
        record, card = index.get(name), catalogue.assets.get(name)
        path = folder / record.file if record else None
        if record and path and path.is_file():
            intact = not args.verify or sha256_of(path) == record.sha256
            damaged |= not intact
            lines = _present(record, path, "" if intact else "  DAMAGED: its sha256 has changed; add it again")
        else:
            lines = _absent(name, card)
        print("\n".join(["", *lines, *_common(card, users.get(name, []))]))
    if args.recipe and not wanted:
        print(f"\nrecipe '{args.recipe}' needs no files")
    return BAD_INPUT if damaged else 0


def _present(record: AssetRecord, path: Path, note: str) -> list[str]:
    origins = record.origin_sha256.split("+")
    short = ", ".join(hash[:_SHOWN_HASH] for hash in origins)
    return [
        f"+ {record.name}  {path}{note}",
        f"    sha256   {record.sha256}",
        f"    from     {record.origin} (sha256 {short}), {record.format}, added {record.added}",
    ]


def _absent(name: str, card: AssetCard | None) -> list[str]:
    lines = [f"- {name}  missing"]
    if card:
        lines += [f"    file     {' or '.join(card.files)}", f"    obtain   {card.obtain}"]
    return lines


def _common(card: AssetCard | None, users: list[str]) -> list[str]:
    if card is None:
        return ["    the catalogue does not describe it"]
    return [
        f"    what     {card.summary}",
        f"    licence  {card.license}",
        *([f"    used by  {', '.join(users)}"] if users else []),
    ]


def _users(catalogue: Catalogue) -> Mapping[str, list[str]]:
    """Recipes that need each asset; for an asset that no recipe needs, the components."""
    by_recipe: dict[str, list[str]] = {}
    for name, recipe in sorted(catalogue.recipes.items()):
        for asset in needs_of(recipe, catalogue):
            by_recipe.setdefault(asset, []).append(name)
    by_component: dict[str, list[str]] = {}
    for kind, cards in catalogue.components.items():
        for name, card in cards.items():
            for asset in card.assets:
                by_component.setdefault(asset, []).append(f"{kind} {name}")
    return {**by_component, **by_recipe}
