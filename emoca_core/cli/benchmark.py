"""``emoca benchmark``: how much emotion each method's face code carries, in one table."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from emoca_core.cli import Subparsers
from emoca_core.cli.cli_settings import class_set, settings_from, whole
from emoca_core.limits import BATCH

if TYPE_CHECKING:
    from emoca_core.datasets import Manifest

NAME = "benchmark"
HELP = "compare how much emotion the codes of methods carry"
_EPILOG = """\
DIR/report.html shows everything on one page; result.json, table.csv and table.md hold the same numbers. Faces, codes
and probes are kept in the cache, so the same command goes on after a stop.

The first method is the one that the others are compared with. Methods whose files are missing are listed with the
reason. exit code: 0 all methods ran, 1 some did not, 2 none did, or the command is wrong.

On several processes: torchrun --nproc_per_node N -m -- emoca_core benchmark ... with the same arguments. Methods that
did not run are listed all the same, but the exit code is 0: launchers take another one for a crash.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods",
        required=True,
        metavar="A,B,...",
        help="recipes, emotion backbones or presets of them, run folders of `emoca train`, packages, or "
        "folders of `emoca encode`",
    )
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    parser.add_argument(
        "--split", metavar="NAME", help="only the rows of this split, e.g. those that no backbone was trained on"
    )
    parser.add_argument("--title", help="name of the data in the report (default: the manifest's)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    parser.add_argument(
        "--folds", type=whole(0, 1000), default=5, help="0: the manifest's splits (default: %(default)s)"
    )
    parser.add_argument(
        "--group", choices=("clip", "identity", "sample"), help="what folds never split (default: the first there is)"
    )
    parser.add_argument(
        "--classes",
        type=class_set,
        default="data",
        metavar="A,B,...",
        help="expression classes; data: those that occur (default: %(default)s)",
    )
    parser.add_argument(
        "--crop", choices=("shared", "native"), default="shared", help="one crop for all, or each method's own"
    )
    parser.add_argument("--preset", choices=("paper", "upstream"), default="paper", help="settings of the probe")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the probe, e.g. width=256 or standardise=off; may be repeated",
    )
    parser.add_argument(
        "--visible", action="store_true", help="after each method, what its posed face shows of the code, too"
    )
    parser.add_argument(
        "--finder",
        default="open_fit_codes",
        metavar="RECIPE",
        help="with --visible: finds codes again in portraits of the faces, 0.1 s each; none: leave it out (default: "
        "%(default)s)",
    )
    parser.add_argument("--landmarker", default="mediapipe", help="finds the faces (default: %(default)s)")
    parser.add_argument("--resamples", type=whole(0, 10**6), default=2000, help="of the bootstrap (default: 2000)")
    parser.add_argument("--batch-size", type=whole(1, BATCH), default=32, help="faces at a time (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    parser.add_argument("--published", action="store_true", help="show the EMOCA paper's numbers beside")
    parser.add_argument("--no-faces", action="store_true", help="leave example faces out: the result names no image")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the benchmark; the exit code is in the help text."""
    from emoca_core.probe.benchmark import Protocol, check_names, collect_codes, compare_codes
    from emoca_core.probe.html import write_report
    from emoca_core.probe.processes import device_of_process, process_count
    from emoca_core.probe.report import terminal_table
    from emoca_core.probe.sources import find_sources
    from emoca_core.registry import get_registry
    from emoca_core.train.world import go_on_alone

    names = [name.strip() for name in args.methods.split(",") if name.strip()]
    check_names(names)
    protocol = Protocol(
        folds=args.folds,
        group_by=args.group,
        classes=args.classes,
        preset=args.preset,
        settings=settings_from(args.set),
        draws=args.resamples,
        published=args.published,
        examples=not args.no_faces,
        batch_size=args.batch_size,
    )
    protocol.probe_settings()  # a misspelt setting is found before anything is computed
    manifest, title = _data(args)
    finder = args.finder if args.visible and args.finder != "none" else None
    sources, unavailable = find_sources(names, args.crop, device_of_process(args.device), args.visible, finder)
    landmarker = get_registry().build("landmarker", args.landmarker)
    collected = collect_codes(sources, manifest, landmarker, args.landmarker, protocol, unavailable, title)
    alone = process_count() == 1
    if not go_on_alone():
        return 0
    result = compare_codes(collected, protocol)
    write_report(result, args.out)
    print(terminal_table(result))
    print(args.out / "report.html")
    return 1 if result.missing and alone else 0


def _data(args: argparse.Namespace) -> "tuple[Manifest, str]":
    """The faces, and what they are called."""
    from emoca_core.datasets import Manifest

    manifest, title = Manifest.open(args.data), args.data.name
    if args.split:
        manifest = manifest.of_split(args.split)
        title = f"{title} ({args.split})"
    return manifest, args.title or title
