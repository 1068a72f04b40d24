"""``emoca train``: train a part of the project on your data, on one CPU or many GPUs."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.cli.cli_settings import class_set, settings_from

NAME = "train"
HELP = "train an emotion backbone, or a recipe: its encoder (coarse), then its detail"
MANY = "On several processes: torchrun --nproc_per_node N -m -- emoca_core train TASK ... with the same arguments."


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP, epilog=MANY)
    tasks = parser.add_subparsers(metavar="TASK", required=True)
    emotion = tasks.add_parser("emotion", help="an emotion backbone: expression, valence, arousal", epilog=MANY)
    emotion.add_argument("--backbone", required=True, help="emotion backbone, or a preset of one, e.g. resnet50")
    emotion.add_argument("--data", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    emotion.add_argument("--out", required=True, type=Path, metavar="DIR", help="run folder")
    emotion.add_argument("--preset", choices=("paper", "upstream"), default="paper", help="objective and classes")
    emotion.add_argument(
        "--classes", type=class_set, metavar="A,B,...", help="expression classes instead of the preset's; data: all"
    )
    emotion.add_argument("--splits", nargs=2, default=("train", "validation"), metavar=("TRAIN", "VALIDATION"))
    emotion.add_argument("--no-balanced", action="store_true", help="draw samples uniformly, not classes")
    emotion.add_argument("--resume", action="store_true", help="continue the run in --out")
    emotion.add_argument(
        "--teacher", metavar="BACKBONE", help="trained backbone, preset or run folder whose classes are learnt as well"
    )
    examples = {"set": "epochs=5", "backbone-set": "weights=random", "data-set": "crop=shared"}
    _add_settings(emotion, {**examples, "objective-set": "label_smoothing=0.1", "augment-set": "rotate=20"})
    emotion.set_defaults(train=run_emotion)
    _add_stage(tasks, "coarse", "the encoder of a recipe")
    _add_stage(tasks, "detail", "the detail model of a recipe, on top of a trained encoder")
    return parser


def _add_stage(tasks: Subparsers, stage: str, what: str) -> None:
    parser = tasks.add_parser(stage, help=what, description=f"train {what}", epilog=MANY)
    parser.add_argument("--recipe", required=True, help="name of a recipe")
    parser.add_argument("--data", required=True, help="manifest (.parquet, .csv), or name of a data set")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="run folder")
    parser.add_argument("--start", type=Path, metavar="RUN", help="run folder or package to start from")
    parser.add_argument(
        "--emotion", type=Path, metavar="RUN", help="run folder of 'emoca train emotion' to look through"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a manifest with landmarks that every validation measures too, e.g. photos=faces.csv",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    _add_settings(
        parser, {"set": "max_steps=500", "recipe-set": "losses.emotion.weight=0.5", "data-set": "image_size=112"}
    )
    parser.set_defaults(train=run_stage, stage=stage)


def _add_settings(parser: argparse.ArgumentParser, examples: Mapping[str, str]) -> None:
    what = {
        **{"set": "training", "backbone-set": "backbone", "recipe-set": "recipe", "data-set": "data set"},
        **{"objective-set": "objective", "augment-set": "augmentation"},
    }
    for option, example in examples.items():
        parser.add_argument(
            f"--{option}",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"a {what[option]} parameter, e.g. {example}",
        )


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
        classes=args.classes,
        backbone_params=settings_from(args.backbone_set),
        data_params=settings_from(args.data_set),
        splits=tuple(args.splits),
        balanced=not args.no_balanced,
        settings=settings_from(args.set),
        objective=settings_from(args.objective_set),
        augmentation=settings_from(args.augment_set),
        teacher=args.teacher,
        resume=args.resume,
    )
    best = "no validation" if progress.best is None else f"best score {progress.best:.4f} at step {progress.best_step}"
    print(f"{progress.step} steps, {best}: {args.out}")


def run_stage(args: argparse.Namespace) -> None:
    """Train the encoder or the detail model of a recipe."""
    from emoca_core.registry.merging import merge
    from emoca_core.train.run_stage import prepare_stage

    ready = prepare_stage(
        args.stage,
        args.recipe,
        args.data,
        settings=merge(
            settings_from([*args.set, *(f"data.{assignment}" for assignment in args.data_set)]), also_from(args.also)
        ),
        change=settings_from(args.recipe_set),
        start=args.start,
        emotion=args.emotion,
        registry_file=args.catalogue,
    )
    progress = ready.train(args.out, resume=args.resume)
    best = "no validation" if progress.best is None else f"best loss {progress.best:.4f} at step {progress.best_step}"
    print(f"{progress.step} steps, {best}: {args.out}")
    for line in also_lines(args.out) if ready.also else ():
        print(line)


def also_from(assignments: Sequence[str]) -> dict[str, object]:
    """Settings of further validation sets, of assignments like ``photos=faces.csv``: cut around their landmarks.

    Raises:
        ParamsError: Something that is not NAME=FILE.
    """
    from emoca_core.errors import ParamsError

    also = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not (name and equals and file):
            raise ParamsError(f"--also wants NAME=FILE, e.g. photos=faces.csv, not '{assignment}'")
        also[name] = {"uses": "manifest", "params": {"file": file, "crop": "shared"}}
    return {"also": also} if also else {}


def also_lines(run: Path) -> Iterator[str]:
    """What the best weights of a run reach on its further validation sets."""
    from emoca_core.runs.trained_folder import open_folder

    for name, value in sorted(open_folder(run).card.metrics.items()):
        if "/" in name and value is not None and "_error" in name:
            yield f"{name}: {value:.4f}"
