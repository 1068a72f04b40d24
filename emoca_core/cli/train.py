"""``emoca train``: train a part of the project on your data, on one CPU or many GPUs."""

import argparse
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.cli.settings import settings_from

NAME = "train"
HELP = "train an emotion backbone"
MANY = "On several processes: accelerate launch -m emoca_core.train emotion ... with the same arguments."


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(NAME, help=HELP, description=HELP, epilog=MANY)
    tasks = parser.add_subparsers(metavar="TASK", required=True)
    emotion = tasks.add_parser("emotion", help="an emotion backbone: expression, valence, arousal", epilog=MANY)
    emotion.add_argument("--backbone", required=True, help="emotion backbone, or a preset of one, e.g. resnet50")
    emotion.add_argument("--data", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    emotion.add_argument("--out", required=True, type=Path, metavar="DIR", help="run folder")
    emotion.add_argument("--preset", choices=("paper", "upstream"), default="paper", help="objective and classes")
    emotion.add_argument("--splits", nargs=2, default=("train", "validation"), metavar=("TRAIN", "VALIDATION"))
    emotion.add_argument("--no-balanced", action="store_true", help="draw samples uniformly, not classes")
    emotion.add_argument("--resume", action="store_true", help="continue the run in --out")
    for option, what in (("set", "training"), ("backbone-set", "backbone"), ("data-set", "data set")):
        emotion.add_argument(
            f"--{option}",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"a {what} parameter, e.g. "
            + {"set": "epochs=5", "backbone-set": "weights=random", "data-set": "crop=shared"}[option],
        )
    emotion.set_defaults(train=run_emotion)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the chosen task."""
    args.train(args)
    return 0


def run_emotion(args: argparse.Namespace) -> None:
    """Train an emotion backbone."""
    from emoca_core.train.run_emotion import train_emotion

    progress = train_emotion(
        args.backbone,
        args.data,
        args.out,
        preset=args.preset,
        backbone_params=settings_from(args.backbone_set),
        data_params=settings_from(args.data_set),
        splits=tuple(args.splits),
        balanced=not args.no_balanced,
        settings=settings_from(args.set),
        resume=args.resume,
    )
    best = "no validation" if progress.best is None else f"best score {progress.best:.4f} at step {progress.best_step}"
    print(f"{progress.step} steps, {best}: {args.out}")
