"""``emoca retrieve``: the faces of an index that are like that of a photo, and how well the index tells expressions."""

import argparse
import sys
from pathlib import Path

from emoca_core.cli import BAD_INPUT, SOME_FAILED, Subparsers
from emoca_core.cli.cli_settings import whole
from emoca_core.errors import EmocaError, ParamsError

NAME = "retrieve"
HELP = "find the faces of an index whose expressions are most like that of a photo, or measure the index"
_EPILOG = """\
example: emoca retrieve smile.jpg --index faces.index --out found
         emoca retrieve smile.jpg --index named.index --distinct identity    # of a manifest with the column identity
         emoca retrieve --index named.index --evaluate                       # and with labels

DIR/PHOTO.html shows the faces found on one page without any other file, DIR/PHOTO.png as a picture: the nearest, and
ranks 0, 10, 20, ... The largest face of a photo is asked for; if the photo itself is in the index, or a copy of its
file, it is left out.

--evaluate asks for the neighbours of every labelled face, leaves out the face's own person, and writes figures.json:
precision at 1, 5 and 10, differences of valence and arousal, chance, and 95 % intervals over people.

exit code: 0 done, 1 some photos failed, 2 all did, or the command is wrong.
"""
_MOST = 1000


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="photos, folders or patterns")
    parser.add_argument("--index", required=True, type=Path, metavar="INDEX", help="what `emoca index` wrote")
    parser.add_argument("--out", type=Path, default=Path("retrieved"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--top", type=whole(1, _MOST), default=10, help="faces shown (default: %(default)s)")
    parser.add_argument(
        "--metric",
        choices=("l2", "cosine", "seuclidean"),
        default="l2",
        help="seuclidean: l2 of numbers divided by their standard deviations (default: %(default)s)",
    )
    parser.add_argument(
        "--distinct",
        choices=("identity", "clip", "photo"),
        help="one face of each, and none of the query's own; --evaluate: whom a query leaves out (default: its person)",
    )
    parser.add_argument(
        "--every",
        type=whole(0, _MOST),
        default=10,
        metavar="N",
        help="show ranks 0, N, 2N, ... too (default: %(default)s)",
    )
    parser.add_argument("--evaluate", action="store_true", help="measure the index instead of asking it")
    parser.add_argument("--resamples", type=whole(1, 10**6), default=2000, help="of people (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Ask or measure; the exit code is in the help text."""
    if args.evaluate == bool(args.photos):
        raise ParamsError("name photos to ask for, or --evaluate to measure the index")
    return _evaluate(args) if args.evaluate else _ask(args)


def _evaluate(args: argparse.Namespace) -> int:
    from emoca_core.files import write_json, writing_to
    from emoca_core.retrieval.figures import figures_table, measure
    from emoca_core.retrieval.index import open_index

    measured = measure(open_index(args.index), args.metric, leave_out=args.distinct, draws=args.resamples)
    with writing_to(args.out):
        write_json(args.out / "figures.json", measured.model_dump(mode="json"))
    print(figures_table([measured]))
    print(f"{measured.queries} faces with a class, {measured.groups} groups by {measured.left_out}")
    print(args.out / "figures.json")
    return 0


def _ask(args: argparse.Namespace) -> int:
    from emoca_core.files import plain_name, writing_to
    from emoca_core.images.photo_search import find_photos
    from emoca_core.method import pick_device
    from emoca_core.retrieval.index import open_index
    from emoca_core.retrieval.query import Retriever
    from emoca_core.retrieval.sheet import sheet_of, write_page, write_picture

    photos = find_photos(args.photos)
    retriever = Retriever.of(open_index(args.index), pick_device(args.device))
    if retriever.warning:
        print(retriever.warning, file=sys.stderr)
    failed, names = 0, set[str]()
    for photo in photos:
        try:
            query = retriever.query(photo)
        except EmocaError as error:
            if len(photos) == 1:
                raise
            print(f"emoca: {error}", file=sys.stderr)
            failed += 1
            continue
        if query.faces > 1:
            print(f"{photo}: the largest of {query.faces} faces", file=sys.stderr)
        sheet = sheet_of(retriever.index, query, args.metric, args.top, args.distinct, args.every)
        name = _unused(plain_name(photo.stem), names)
        with writing_to(args.out):
            write_page(sheet, args.out / f"{name}.html")
            write_picture(sheet, args.out / f"{name}.png")
        print(args.out / f"{name}.html")
    return (BAD_INPUT if failed == len(photos) else SOME_FAILED) if failed else 0


def _unused(name: str, taken: set[str]) -> str:
    """The name, with a number where another photo of this run has it."""
    free = next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if n.casefold() not in taken)
    taken.add(free.casefold())
    return free
