"""``emoca optimise``: one person's face with the expression that a network sees in another photo."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emoca_core.cli import DONE, Subparsers
from emoca_core.cli.cli_settings import names, positive, settings_from, whole
from emoca_core.cli.reconstruct import add_method_arguments, load
from emoca_core.errors import ParamsError
from emoca_core.parsing import shown

if TYPE_CHECKING:
    from emoca_core.interfaces import CapturedFace
    from emoca_core.optimisation.record import ResultRecord
    from emoca_core.optimisation.to_folder import Plan

NAME = "optimise"
HELP = "give one face the expression that an emotion network sees in another photo"

_EPILOG = """\
example:
  emoca optimise me.jpg surprised.jpg --out me_surprised
  emoca optimise me.jpg surprised.jpg --out starts --compare initialisations
  emoca optimise me.jpg surprised.jpg --out judges --compare backbones open_emotion,fer_mini_xception
  emoca optimise me.jpg surprised.jpg --out jaw --unknowns expression,jaw_pose --jaw-prior target
  emoca optimise me.jpg surprised.jpg --out more --term landmarks.uses=landmark_reprojection --term landmarks.weight=2

DIR/index.html shows faces, film, curves and figures; DIR/face holds the best face, DIR/result.json all figures,
DIR/history.csv every term at every step. What is finished is skipped. docs/optimisation.md says what the figures mean.

exit code: 0 done, 2 bad input, or nothing could be optimised, 130 stopped with Ctrl-C.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE", help="photo of the person")
    parser.add_argument("target", metavar="TARGET", help="photo with the expression")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    parser.add_argument("--overwrite", action="store_true", help="do it again, where it is finished")
    for which in ("source", "target"):
        parser.add_argument(
            f"--{which}-face", type=whole(0), default=0, metavar="N", help="of several people; 0 is the largest"
        )
    _add_energy_arguments(parser)
    _add_descent_arguments(parser)
    parser.add_argument(
        "--compare",
        nargs="+",
        metavar="WHAT",
        help="initialisations: all eight starts; or backbones A,B,C: one optimisation for each judge",
    )
    parser.add_argument(
        "--write", type=names, metavar="NAMES", help="formats of the face (default: glb,codes,overlay; json always)"
    )
    parser.add_argument("--no-film", action="store_true", help="leave out film.mp4")
    add_method_arguments(parser, batches=False)
    return parser


def _add_energy_arguments(parser: argparse.ArgumentParser) -> None:
    """What is descended."""
    energy = parser.add_argument_group("energy")
    energy.add_argument(
        "--judge", metavar="NAME", help="emotion backbone, or run of `emoca train emotion` (default: open_emotion)"
    )
    energy.add_argument("--witness", metavar="NAME", help="one that takes no part (default: whoever else is at hand)")
    energy.add_argument(
        "--unknowns", type=names, default=("expression",), metavar="BLOCKS", help="e.g. expression,jaw_pose,camera"
    )
    energy.add_argument(
        "--term",
        action="append",
        default=[],
        dest="terms",
        metavar="NAME.KEY=VALUE",
        help="change or add a term, as in recipes; NAME=null takes one away; may be repeated",
    )
    energy.add_argument(
        "--jaw-prior", metavar="REFERENCE", help="keep the jaw near that of target or source, or at X,Y,Z radians"
    )
    energy.add_argument("--starts", type=names, metavar="NAMES", help="what the target gives at first (docs), or all")
    energy.add_argument("--background", choices=("none", "black", "input"), help="around the face that judges see")
    energy.add_argument("--detail", action="store_true", default=None, help="judges look at the wrinkles as well")
    energy.add_argument("--size", type=whole(16, 1024), metavar="PX", help="side of what judges see (default: 128)")


def _add_descent_arguments(parser: argparse.ArgumentParser) -> None:
    """How it is descended."""
    descent = parser.add_argument_group("descent")
    descent.add_argument("--optimizer", choices=("sgd", "adam", "lbfgs"), help="(default: adam)")
    descent.add_argument("--learning-rate", type=positive, metavar="X", help="in standard deviations of the unknowns")
    descent.add_argument(
        "--rate", action="append", default=[], dest="rates", metavar="BLOCK=X", help="of one block; may be repeated"
    )
    descent.add_argument("--steps", type=whole(1, 100_000), metavar="N", help="at most (default: 1000)")
    descent.add_argument(
        "--patience", type=whole(1, 100_000), metavar="N", help="stop after so many steps without gain (default: 20)"
    )


def run(args: argparse.Namespace) -> int:
    """Optimise; the exit code is in the help text."""
    judges = _judges(args)
    method = load(args)
    from emoca_core.optimisation.comparison import compare_backbones
    from emoca_core.optimisation.pair import one_face
    from emoca_core.optimisation.to_folder import PAGE, optimise_to_folder
    from emoca_core.reconstruction import Settings

    settings = Settings(crop=args.crop)
    source, target = (
        one_face(method, photo, number, settings)
        for photo, number in ((args.source, args.source_face), (args.target, args.target_face))
    )
    plan = _plan(args, source, target)
    if judges is not None:
        records = compare_backbones(method, source, target, plan, judges, args.out, overwrite=args.overwrite, say=_say)
    else:
        record = optimise_to_folder(method, source, target, plan, args.out, overwrite=args.overwrite, say=_say)
        records = {record.judge: record}
    _sum_up(records)
    print(args.out / PAGE)
    return DONE


def _judges(args: argparse.Namespace) -> tuple[str, ...] | None:
    """Whose optimisations are compared; all starts where those are.

    Raises:
        ParamsError: Something else is to be compared, or --judge or --starts is given as well.
    """
    what, *given = args.compare or ("nothing",)
    judges = tuple(dict.fromkeys(name for word in given for name in word.split(",") if name))
    if args.compare and what == "initialisations" and not given:
        if args.starts:
            raise ParamsError("--compare initialisations takes all starts: leave out --starts")
        args.starts = ("all",)
    elif what == "backbones" and len(judges) > 1:
        if args.judge:
            raise ParamsError("--compare backbones names the judges: leave out --judge")
        return judges
    elif args.compare:
        raise ParamsError("--compare takes `initialisations`, or `backbones` and at least two names: backbones A,B")
    return None


def _plan(args: argparse.Namespace, source: "CapturedFace", target: "CapturedFace") -> "Plan":
    """What the arguments ask for.

    Raises:
        ParamsError: A value that cannot be read.
    """
    from emoca_core.optimisation import STARTS, default_terms
    from emoca_core.optimisation.optimisation import DEFAULT_JUDGE
    from emoca_core.optimisation.starts import DEFAULT_START
    from emoca_core.optimisation.terms import changed_terms, jaw_term
    from emoca_core.optimisation.to_folder import DEFAULT_WRITE, Plan

    terms = default_terms(target.parameters)
    if args.jaw_prior is not None:
        terms["jaw_prior"] = jaw_term(_jaw(args.jaw_prior, source, target))
    options = ("optimizer", "learning_rate", "steps", "patience", "background", "detail", "size")
    settings = {name: value for name in options if (value := getattr(args, name)) is not None}
    if args.rates:
        settings["learning_rates"] = settings_from(args.rates)
    return Plan(
        terms=changed_terms(terms, settings_from(args.terms)),
        unknowns=args.unknowns,
        judge=args.judge or DEFAULT_JUDGE,
        witness=args.witness,
        starts=STARTS if args.starts == ("all",) else args.starts or (DEFAULT_START,),
        settings=settings,
        write=args.write or DEFAULT_WRITE,
        film=not args.no_film,
    )


def _jaw(text: str, source: "CapturedFace", target: "CapturedFace") -> list[float]:
    """The reference of ``--jaw-prior``, axis-angle, radians."""
    if (face := {"source": source, "target": target}.get(text)) is not None:
        if face.parameters.jaw_pose is None:
            raise ParamsError(f"--jaw-prior {text}: recipe '{face.recipe}' estimates no jaw")
        return [float(value) for value in face.parameters.jaw_pose[0]]
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(abs(value) < 3.15 for value in values):  # NaN is not either
        raise ParamsError(f"--jaw-prior {shown(text)}: write target, source, or three angles in radians: 0.1,0,0")
    return values


def _sum_up(records: "Mapping[str, ResultRecord]") -> None:
    """One line for each judge."""
    from emoca_core.optimisation.page import verdict

    for record in records.values():
        _say(verdict(record))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
