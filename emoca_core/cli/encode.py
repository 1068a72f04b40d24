"""``emoca encode``: any method over any number of faces, to a folder of Parquet files."""

import argparse
import sys
from pathlib import Path

from emoca_core.cli import SOME_FAILED, Subparsers
from emoca_core.cli.cli_settings import whole
from emoca_core.errors import ParamsError
from emoca_core.limits import BATCH, COUNT

NAME = "encode"
HELP = "encode the faces of a manifest by any method: codes, cameras, landmarks, emotion, quality"
_EPILOG = """\
example: emoca encode faces.csv --recipe open_fit --out codes.parquet
         torchrun --nproc_per_node 8 -m -- emoca_core encode faces.parquet --recipe open_deca --out codes.parquet
         emoca benchmark --methods codes.parquet,mediapipe52 --data faces.csv --out benchmark

The folder is one table for pandas, DuckDB, Polars and Spark: a row for each row of the manifest, the largest face of
its image. Rows without a face stay, their status says why. The same command goes on after a stop, at the first shard
that is missing. docs/encode.md describes the columns.

exit code: 0 all images were read, 1 some could not be, 2 no face, or the command is wrong.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help=".parquet or .csv")
    parser.add_argument("--recipe", required=True, metavar="NAME", help="recipe, run folder of `emoca train`, package")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the shards")
    parser.add_argument("--split", metavar="NAME", help="only the rows of this split")
    parser.add_argument(
        "--emotion",
        type=_backbone,
        default="open_emotion",
        metavar="NAME",
        help="emotion backbone, preset or run whose answers are added; or none (default: %(default)s)",
    )
    parser.add_argument(
        "--crop",
        choices=("native", "shared"),
        default="native",
        help="the method's own rule, or one for all (default: %(default)s)",
    )
    parser.add_argument(
        "--second-look", action="store_true", help="look twice at every face: better told doubts, half the speed"
    )
    parser.add_argument(
        "--shard", type=whole(1, COUNT), default=1024, help="rows of one file; what a stop costs (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=whole(1, BATCH), default=32, help="faces at a time (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    parser.add_argument(
        "--engine",
        choices=("processes", "ray"),
        default="processes",
        help="who shares the work: processes that torchrun started, or a Ray cluster, with an encoder on every GPU "
        "(default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace codes that other settings made")
    return parser


def _backbone(text: str) -> str | None:
    return None if text == "none" else text


def run(args: argparse.Namespace) -> int:
    """Encode; the exit code is in the help text."""
    from emoca_core.datasets import Manifest
    from emoca_core.encoding import EncodeSettings, encode_manifest
    from emoca_core.probe.processes import device_of_process, process_count

    if args.engine == "ray" and args.device != "auto":
        raise ParamsError("--engine ray gives each worker a GPU where there are any: leave --device out")
    alone = process_count() == 1
    manifest = Manifest.open(args.manifest)
    settings = EncodeSettings(args.emotion, args.crop, args.second_look, args.shard, args.batch_size)
    counts = encode_manifest(
        manifest.of_split(args.split) if args.split else manifest,
        args.recipe,
        args.out,
        settings,
        device_of_process(args.device),
        args.overwrite,
        args.engine,
    )
    if counts is None:
        return 0
    lost = {"without a face": counts["no_face"], "unreadable": counts["unreadable"]}
    said = "".join(f", {number} {what}" for what, number in lost.items() if number)
    print(f"{counts['ok']} faces of {counts.total()} images{said}", file=sys.stderr)
    print(args.out)
    return SOME_FAILED if counts["unreadable"] and alone else 0
