"""``emoca index``: the faces of many photos, to be searched by expression."""

import argparse
import sys
from pathlib import Path

from emoca_core.cli import SOME_FAILED, Subparsers
from emoca_core.cli.cli_settings import whole
from emoca_core.limits import BATCH

NAME = "index"
HELP = "encode the faces of a manifest or of photos, to be searched by `emoca retrieve`"
_EPILOG = """\
example: emoca index photos/ --by emotion:open_emotion --out faces.index
         emoca index manifest.parquet --split validation --by codes:open_fit --out fit.index

Of a manifest's images the largest face counts, as in `emoca benchmark`; of photos and folders all faces do. Faces and
features are kept in the cache, so the same command goes on after a stop. The index holds features, labels and paths;
the photos stay where they are.

exit code: 0 all images were read, 1 some could not be, 2 no face, or the command is wrong.
"""
_SHOWN = 5


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", metavar="PATH", help="one manifest (.parquet, .csv), or photos, folders")
    parser.add_argument(
        "--by", required=True, metavar="WHAT", help="emotion:BACKBONE or codes:METHOD, as of `emoca benchmark`"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="INDEX", help="folder of the index")
    parser.add_argument("--split", metavar="NAME", help="of a manifest, only the rows of this split")
    parser.add_argument(
        "--blocks",
        default="",
        metavar="A,B,...",
        help="of a face code (default: expression, jaw, gaze and lids, as far as the method predicts them)",
    )
    parser.add_argument(
        "--crop", choices=("shared", "native"), default="shared", help="one crop for all, or each method's own"
    )
    parser.add_argument("--landmarker", default="mediapipe", help="finds the faces (default: %(default)s)")
    parser.add_argument("--batch-size", type=whole(1, BATCH), default=32, help="faces at a time (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an index that is there")
    return parser


def run(args: argparse.Namespace) -> int:
    """Build the index; the exit code is in the help text."""
    from emoca_core.probe.processes import device_of_process, process_count
    from emoca_core.retrieval.build import build_index

    alone = process_count() == 1
    built = build_index(
        args.photos[0] if len(args.photos) == 1 else args.photos,
        args.by,
        args.out,
        split=args.split,
        blocks=[block.strip() for block in args.blocks.split(",") if block.strip()],
        crop=args.crop,
        landmarker=args.landmarker,
        batch_size=args.batch_size,
        device=device_of_process(args.device),
        overwrite=args.overwrite,
    )
    for reason in built.unreadable[:_SHOWN]:
        print(reason, file=sys.stderr)
    if len(built.unreadable) > _SHOWN:
        print(f"and {len(built.unreadable) - _SHOWN} more images could not be read", file=sys.stderr)
    if built.index:
        card = built.index.card
        counts = card.counts
        lost = {"unreadable": counts.unreadable, "without a face": counts.without_face}
        lost |= {"faces that could not be encoded": counts.without_code}
        said = "".join(f", {number} {what}" for what, number in lost.items() if number)
        print(f"{counts.faces} faces of {counts.images} images{said}; {card.dimensions} numbers each", file=sys.stderr)
        print(args.out)
    return SOME_FAILED if built.unreadable and alone else 0
