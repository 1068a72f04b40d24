"""``emoca benchmark``: how much emotion each method's face code carries, in one table."""

import argparse
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.cli.settings import settings_from

NAME = "benchmark"
HELP = "compare how much emotion the codes of methods carry"
_EPILOG = """\
DIR/report.html shows everything on one page; result.json, table.csv and table.md hold the same numbers. Faces, codes
and probes are kept in the cache, so the same command goes on after a stop.

The first method is the one that the others are compared with. Methods whose files are missing are listed with the
reason. exit code: 0 all methods ran, 1 some did not, 2 none did, or the command is wrong.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods",
        required=True,
        metavar="A,B,...",
        help="recipes, emotion backbones or presets of them, or run folders of `emoca train emotion`",
    )
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    parser.add_argument("--folds", type=int, default=5, help="0: the manifest's own splits (default: %(default)s)")
    parser.add_argument(
        "--group", choices=("clip", "identity", "sample"), help="what folds never split (default: the first there is)"
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
    parser.add_argument("--landmarker", default="mediapipe", help="finds the faces (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="faces encoded at a time (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    parser.add_argument("--published", action="store_true", help="show the EMOCA paper's numbers beside")
    parser.add_argument("--no-faces", action="store_true", help="leave example faces out of the report")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the benchmark; the exit code is in the help text."""
    from emoca_core.datasets import Manifest
    from emoca_core.method import pick_device
    from emoca_core.probe.benchmark import Protocol, benchmark, check_names
    from emoca_core.probe.outputs import write_report
    from emoca_core.probe.report import terminal_table
    from emoca_core.probe.sources import find_sources
    from emoca_core.registry import get_registry

    names = [name.strip() for name in args.methods.split(",") if name.strip()]
    check_names(names)
    protocol = Protocol(
        folds=args.folds,
        group_by=args.group,
        preset=args.preset,
        settings=settings_from(args.set),
        draws=args.resamples,
        published=args.published,
        thumbnails=not args.no_faces,
        batch_size=args.batch_size,
    )
    protocol.probe_settings()  # a misspelt setting is found before anything is computed
    manifest = Manifest.open(args.data)
    sources, unavailable = find_sources(names, args.crop, pick_device(args.device))
    landmarker = get_registry().build("landmarker", args.landmarker)
    result = benchmark(sources, manifest, landmarker, args.landmarker, protocol, unavailable, args.data.name)
    write_report(result, args.out)
    print(terminal_table(result))
    print(args.out / "report.html")
    return 1 if result.missing else 0
