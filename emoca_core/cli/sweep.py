"""``emoca sweep``: an ablation as one command."""

import argparse
import sys
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.cli.cli_settings import whole

NAME = "sweep"
HELP = "train variants of a recipe with several seeds, and compare them in a table and a picture"
_EPILOG = """\
FILE is YAML:

  stage: coarse
  recipe: open_emoca
  data: synthetic_faces
  start: runs/open_deca
  seeds: [0, 1, 2]
  set: {max_steps: 500}                  # for all variants; as after --set of `emoca train`
  variants:
    without emotion: {recipe-set: {losses.emotion.weight: 0}}
    weight 1: {recipe-set: {losses.emotion.weight: 1}}
    Swin: {emotion: runs/swin}

A variant may have recipe, data, start, emotion, set, recipe-set and data-set; of `stage: emotion` it may have backbone,
data, preset, classes, set, backbone-set and data-set. The others are compared with the first.

Each run is in DIR/VARIANT/seed-N. Finished runs are skipped and stopped ones continued, so the same command goes on
after a stop. DIR/table.md, table.csv, result.json and faces.png hold the comparison.

exit code: 0 all runs are finished, 1 some failed, 2 none is finished, or the command is wrong, 130 stopped with Ctrl-C.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the sweep, YAML")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the sweep")
    parser.add_argument("--jobs", type=whole(1, 1024), default=1, metavar="N", help="trainings at a time (default: 1)")
    parser.add_argument("--table-only", action="store_true", help="train nothing; table and picture of what is there")
    parser.add_argument("--no-faces", action="store_true", help="leave out the picture")
    parser.add_argument(
        "--faces", type=whole(1, 1000), default=8, metavar="N", help="of the validation set (default: %(default)s)"
    )
    parser.add_argument("--photos", nargs="+", default=(), metavar="PATH", help="photos to show instead")
    parser.add_argument(
        "--device", default="auto", help="of the picture: auto, cpu, cuda or mps (default: %(default)s)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the sweep; the exit code is in the help text."""
    from emoca_core.sweep import table
    from emoca_core.sweep.plan import read_plan
    from emoca_core.sweep.sweep import draw_faces, run_sweep

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    plan = read_plan(args.file)
    result = run_sweep(plan, args.out, jobs=args.jobs, table_only=args.table_only, say=say)
    print(table.terminal(result))
    print(args.out / "table.md")
    if not args.no_faces and plan.stage != "emotion":  # a backbone has no face to draw
        print(draw_faces(plan, result, args.out, faces=args.faces, photos=args.photos, device=args.device))
    return 1 if result.failures else 0
