"""``emoca package``: a run as a folder that others can use."""

import argparse
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.registry import get_registry
from emoca_core.registry.catalogue import get_catalogue

NAME = "package"
HELP = "make a trained run a folder to give away: weights, card, recipe, licences"
_EPILOG = """\
DIR holds weights.safetensors (what was trained, along the runs that this one started from), card.json, README.md (a
model card for the Hugging Face hub), registry.yaml and LICENSES.md. Face models and published weights are named, not
copied.

Use it as a recipe: emoca reconstruct photo.jpg --recipe DIR. After an upload to the hub: --recipe owner/name.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder of `emoca train coarse` or `detail`")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder to make; its name is the method's"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the package and say what users have to bring."""
    from emoca_core.runs.package import package_run

    registry = get_registry()
    card = package_run(args.folder, args.out, get_catalogue(args.catalogue, registry), registry)
    print(f"{args.out}: {card.weights.tensors} tensors, {card.weights.values:,} values")
    for name in card.assets:
        print(f"  users bring: {name}")
    return 0
