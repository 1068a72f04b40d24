"""``emoca data``: published data sets to manifests, photos to face crops, and checks before a training."""

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emoca_core.cli import BAD_INPUT, Subparsers
from emoca_core.cli.cli_settings import class_set, settings_from, whole
from emoca_core.errors import ParamsError, unknown_name
from emoca_core.limits import IMAGE_SIZE, SEED
from emoca_core.vocabulary.emotions import BASIC_EXPRESSIONS, EXPRESSIONS

if TYPE_CHECKING:
    from emoca_core.datasets import Manifest, ManifestRow
    from emoca_core.interfaces import CropRule

NAME = "data"
HELP = "make, check and split manifests of labelled faces; cut the faces out"

SOME_FAILED = 1
_LAYOUTS = """\
layouts:
  affectnet   the first release: training.csv, validation.csv, folders of photos
  affectnet8  the release of 8 classes: train_set and val_set with images and annotations
  afew_va     one folder with a JSON file for each clip
  folders     one folder for each class, as FER2013 is spread; splits around them if there are any
  table       any CSV file
  vggface2    train, train_annotated_torch7, seg; with --list the rows of six photos
  voxceleb2   dev/images_cropped_full_height, vox2_best_clips_annotated_torch7, seg; with --list its frames
"""
_SPLITS = (
    "The split files of the published data sets are not public. Splits made here are fixed by --seed and named by a "
    "hash that results can be reported with."
)
_GROUPS = ("clip", "identity", "sample")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_import(actions)
    _add_render(actions)
    _add_preprocess(actions)
    _add_check(actions)
    _add_split(actions)
    _add_join(actions)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    code: int = args.action(args)
    return code


def _add_import(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "import",
        help="a published data set to a manifest",
        description="Read the labels of a data set that you have, without its pictures.",
        epilog=_LAYOUTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("layout", metavar="NAME", help="layout, see below")
    parser.add_argument("--root", required=True, type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    parser.add_argument("--like-emonet", action="store_true", help="drop faces whose levels contradict their class")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="table: the file, if the folder has several")
    parser.add_argument("--list", type=Path, metavar="FILE", help="vggface2, voxceleb2: .npy, only these photos")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="vggface2, voxceleb2: folder of the segmentations")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="OURS=THEIRS", help="table: e.g. path=filename expression=label"
    )
    parser.add_argument("--classes", type=_names, default=(), metavar="A,B,...", help="table: names of codes 0, 1, ...")
    parser.add_argument(
        "--va-range", nargs=2, type=float, default=(-1.0, 1.0), metavar=("LOW", "HIGH"), help="table: e.g. 1 9"
    )
    _add_split_arguments(parser, required=False)
    parser.set_defaults(action=run_import)


def _add_preprocess(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "preprocess",
        help="photos to face crops with landmarks",
        description="Find the face of every row, cut it out, and write a manifest of the crops. The same command goes "
        "on after a stop. Exit code: 0 all done, 1 some images failed (failures.csv), 2 none came out.",
    )
    _add_manifest(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the crops")
    parser.add_argument(
        "--crop", default="shared", help="shared, the rule of a method, or whole: only add landmarks (default: shared)"
    )
    parser.add_argument(
        "--size", type=whole(1, IMAGE_SIZE), metavar="PIXELS", help="side of the crops (default: the rule's)"
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--keep-landmarks", action="store_true", help="use the manifest's where there are any")
    known.add_argument(
        "--codes", type=Path, metavar="DIR", help="folder of `emoca encode`: its faces are cut, without looking again"
    )
    parser.add_argument("--format", choices=("png", "jpg"), default="png", help="of the crops (default: png)")
    parser.add_argument("--landmarker", default="mediapipe", help="finds the faces (default: mediapipe)")
    _add_workers(parser)
    parser.set_defaults(action=run_preprocess)


def _add_render(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "render",
        help="a data set of the registry to images and a manifest",
        description="Write every face of a data set, e.g. of synthetic_faces, as a PNG, with its labels in a manifest.",
    )
    parser.add_argument("dataset", metavar="NAME", help="see: emoca list dataset")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where images and manifest.parquet go")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, e.g. length=1000 or seed=1"
    )
    _add_split_arguments(parser, required=False)
    parser.set_defaults(action=run_render)


def _add_check(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "check",
        help="read every image, look at labels and splits",
        description="Read every image of a manifest. Named are images and masks that cannot be used, pictures that are "
        "in several splits (by content), faces that are listed twice, and classes that the task does not have. Exit "
        "code: 1 if there is any of these, or no row.",
    )
    _add_manifest(parser)
    parser.add_argument(
        "--classes",
        type=class_set,
        default=BASIC_EXPRESSIONS,
        metavar="A,B,...",
        help="expression classes of the task; data: all that occur (default: those of training, without contempt)",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the good rows to this manifest")
    _add_workers(parser)
    parser.set_defaults(action=run_check)


def _add_split(actions: Subparsers) -> None:
    parser = actions.add_parser("split", help="split by clip, person or image", description=_SPLITS)
    _add_manifest(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    _add_split_arguments(parser, required=True)
    parser.set_defaults(action=run_split)


def _add_join(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "join",
        help="several manifests to one",
        description="Write the faces of several manifests to one, in the order given. FILE:SPLIT takes one split of a "
        "manifest; a manifest named twice counts twice, which draws its faces twice as often. Identities and clips of "
        "the same name become one.",
    )
    parser.add_argument("manifests", nargs="+", metavar="FILE[:SPLIT]", help=".parquet or .csv")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="manifest, .parquet or .csv")
    parser.set_defaults(action=run_join)


def _add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help=".parquet or .csv")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where relative paths start (default: its folder)")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=whole(1, 1024), metavar="N", help="in parallel (default: the number of CPUs)")


def _add_split_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    parts = parser.add_mutually_exclusive_group(required=required)
    parts.add_argument("--split", nargs="+", metavar="NAME=SHARE", help="e.g. train=0.6 validation=0.2 test=0.2")
    parts.add_argument("--folds", type=whole(), metavar="N", help="equal parts fold_0, fold_1, ...")
    parser.add_argument("--by", choices=_GROUPS, help="never split these (default: clips, else people, else images)")
    parser.add_argument("--seed", type=whole(0, SEED), default=0, help="another seed gives another split (default: 0)")


def run_import(args: argparse.Namespace) -> int:
    """Write a manifest, and say what was left out."""
    from emoca_core.datasets import Manifest, write_manifest
    from emoca_core.datasets.cleaning import like_emonet
    from emoca_core.datasets.importers import ImportOptions, Tally, get_importer, storable
    from emoca_core.datasets.rows import relocated

    read, tally = get_importer(args.layout), Tally()
    low, high = args.va_range
    if not -math.inf < low < high < math.inf:
        raise ParamsError(f"--va-range {low:g} {high:g}: both must be finite, the first less than the second")
    options = ImportOptions(
        args.csv or args.list, _assigned(args.columns, "--columns"), args.classes, (low, high), args.masks
    )
    counts = _Counts()
    rows = relocated(storable(read(args.root, options, tally), tally), args.root, args.out.parent)
    rows = counts.of(_shown(like_emonet(rows, tally) if args.like_emonet else rows))
    write_manifest(rows, args.out)
    _say_counts(counts, args.out)
    for reason, count in tally.dropped.most_common():
        print(f"  dropped {count}: {reason}")
    for reason, count in tally.unknown.most_common():
        print(f"  unknown {count}: {reason}")
    if tally.not_taken:
        print(f"  not taken {len(tally.not_taken)}: named on stderr")
    for path, reason in tally.not_taken:
        print(f"{path}: not taken: {reason}", file=sys.stderr)
    if args.split or args.folds:
        _split(Manifest.open(args.out), args)
    return 0 if counts.rows else BAD_INPUT


def run_render(args: argparse.Namespace) -> int:
    """Render, write, and split where that was asked for."""
    from emoca_core.datasets import Manifest
    from emoca_core.datasets.render import render_dataset
    from emoca_core.registry import get_registry

    faces = get_registry().build("dataset", args.dataset, settings_from(args.set))
    args.out = render_dataset(faces, args.out, tuple(getattr(faces.params, "labels", EXPRESSIONS)))
    print(f"{args.out}: {len(faces)} faces")
    if args.split or args.folds:
        _split(Manifest.open(args.out), args)
    return 0


def run_preprocess(args: argparse.Namespace) -> int:
    """Cut the faces out."""
    from emoca_core.datasets import Manifest
    from emoca_core.datasets.encoded import Encoded
    from emoca_core.datasets.marked import marked
    from emoca_core.datasets.preprocess import FAILURES, PreprocessSettings, preprocess
    from emoca_core.registry import get_registry

    manifest = Manifest.open(args.manifest, args.root)
    if args.codes:
        manifest = marked(manifest, Encoded.open(args.codes))
    settings = PreprocessSettings(
        _crop_rule(args.crop, args.size),
        "marked" if args.codes else "keep" if args.keep_landmarks else "detect",
        args.format,
    )
    landmarker = get_registry().build("landmarker", args.landmarker)
    report = preprocess(manifest, args.out, landmarker, settings, _workers(args))
    print(f"{report.manifest}: {report.done} faces")
    if report.failed:
        print(f"{report.failed} images failed, see {args.out / FAILURES}", file=sys.stderr)
    return BAD_INPUT if not report.done else SOME_FAILED if report.failed else 0


def run_check(args: argparse.Namespace) -> int:
    """Read every image, and look at labels and splits."""
    from emoca_core.datasets import Manifest, write_manifest
    from emoca_core.datasets.check import check_images, find_repeats
    from emoca_core.datasets.labels import choose_classes, count_labels
    from emoca_core.datasets.rows import relocated

    manifest = Manifest.open(args.manifest, args.root)
    contents: list[bytes] = []
    reasons: list[str] = []

    def good_rows() -> Iterator["ManifestRow"]:
        for row, reason, content in check_images(manifest, _workers(args)):
            contents.append(content)
            if reason is None:
                yield row
            else:
                reasons.append(reason)
                print(reason, file=sys.stderr)

    rows = good_rows()
    if args.write:
        good = write_manifest(relocated(rows, manifest.folder, args.write.parent), args.write)
    else:
        good = sum(1 for _ in rows)
    repeats = list(find_repeats(manifest, contents))
    labels = count_labels(manifest, choose_classes(args.classes, manifest))
    for line in [*repeats, *labels.notes(), *([] if len(manifest) else ["the manifest has no rows"])]:
        print(f"{args.manifest}: {line}", file=sys.stderr)
    print(f"{args.manifest}: {good} images can be read, {len(reasons)} cannot")
    used = ", ".join(f"{name} {count}" for name, count in labels.used.items() if count) or "no classes"
    print(f"  {used}; {labels.valence_arousal} with valence and arousal")
    return SOME_FAILED if reasons or repeats or labels.left_out or not len(manifest) else 0


def run_split(args: argparse.Namespace) -> int:
    """Write a manifest with another split."""
    from emoca_core.datasets import Manifest

    _split(Manifest.open(args.manifest, args.root), args)
    return 0


def run_join(args: argparse.Namespace) -> int:
    """Write the rows of all manifests to one."""
    from emoca_core.datasets import Manifest, write_manifest
    from emoca_core.datasets.rows import iterate_rows, relocated

    parts = []
    for text in args.manifests:
        name, colon, split = text.rpartition(":")
        one_split = colon and not Path(text).exists()  # a name may hold a colon
        parts.append(Manifest.open(name).of_split(split) if one_split else Manifest.open(text))
    counts = _Counts()
    rows = (row for part in parts for row in relocated(iterate_rows(part), part.folder, args.out.parent))
    write_manifest(counts.of(rows), args.out)
    _say_counts(counts, args.out)
    return 0


def _split(manifest: "Manifest", args: argparse.Namespace) -> None:
    from emoca_core.datasets import write_manifest
    from emoca_core.datasets.rows import relocated
    from emoca_core.datasets.splits import build_folds, build_split, with_split

    if args.folds:
        names, digest = build_folds(manifest, args.folds, args.by, args.seed)
    else:
        names, digest = build_split(manifest, _shares(args.split), args.by, args.seed)
    rows = relocated(with_split(manifest, names), manifest.folder, args.out.parent)
    write_manifest(rows, args.out)
    sizes = ", ".join(f"{name} {count}" for name, count in sorted(Counter(names).items()))
    print(f"{args.out}: {sizes}\n  split {digest}")


def _crop_rule(name: str, size: int | None) -> "CropRule | None":
    """The rule of a name; ``None`` for ``whole``."""
    from dataclasses import replace

    from emoca_core.images.crops import crop_names, find_crop
    from emoca_core.registry import get_registry

    if name == "whole":
        return None
    if name not in (names := crop_names(registry := get_registry())):
        raise unknown_name("crop rule", name, [*names, "whole"])
    rule = find_crop(name, registry)
    return replace(rule, size=size) if size else rule  # type: ignore[type-var]


class _Counts:
    """Rows by split and by class, while they stream past."""

    def __init__(self) -> None:
        self.rows = 0
        self.splits: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()

    def of(self, rows: Iterable["ManifestRow"]) -> Iterator["ManifestRow"]:
        """The same rows."""
        for row in rows:
            self.rows += 1
            self.splits[row.split or "no split"] += 1
            self.classes[row.expression or "no class"] += 1
            yield row


def _say_counts(counts: _Counts, out: Path) -> None:
    print(f"{out}: {counts.rows} faces")
    for counter in (counts.splits, counts.classes):
        print("  " + ", ".join(f"{name} {count}" for name, count in counter.most_common()))


def _shown(rows: Iterator["ManifestRow"]) -> Iterable["ManifestRow"]:
    from emoca_core.progress import progress_bar

    return progress_bar(rows, label="reading labels", unit="face")


def _shares(assignments: Iterable[str]) -> dict[str, float]:
    try:
        shares = {name: float(share) for name, share in _assigned(assignments, "--split").items()}
    except ValueError as error:
        raise ParamsError(f"--split: {error}") from None
    if not all(share > 0 for share in shares.values()) or not sum(shares.values()) <= 1 + 1e-9:
        given = ", ".join(f"{name}={share:g}" for name, share in shares.items())
        raise ParamsError(f"--split: shares are numbers above 0 that add up to at most 1, not {given}")
    return shares


def _assigned(assignments: Iterable[str], option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in assignments]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ParamsError(f"{option} {name}{equals}{value}: expected NAME=VALUE")
        if sum(name == other for other, *_ in pairs) > 1:
            raise ParamsError(f"{option}: '{name}' has two values")
    return {name: value for name, _, value in pairs}


def _workers(args: argparse.Namespace) -> int:
    return args.workers or os.cpu_count() or 1


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
