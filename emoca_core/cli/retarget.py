"""``emoca retarget``: a face that moves as somebody else's does."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emoca_core.cli import BAD_INPUT, DONE, SOME_FAILED, Subparsers
from emoca_core.cli.cli_settings import names, seconds
from emoca_core.cli.reconstruct import add_clip_arguments, add_method_arguments, clip_settings, load
from emoca_core.errors import ParamsError
from emoca_core.parsing import shown

if TYPE_CHECKING:
    from emoca_core.interfaces import EmotionBackbone, Loss
    from emoca_core.method import Method
    from emoca_core.retargeting import RetargetReport, RetargetSettings

NAME = "retarget"
HELP = "let the face of a photo move as somebody else does"
_EPILOG = """\
example:
  emoca retarget me.jpg talk.mp4 --out moved
  emoca retarget me.jpg emotion:happy --curve 0:0,0.5:1,2:0 --out moved
  emoca retarget me.jpg take.csv --relative --gain mouth=0.8 --onto avatar.glb --out moved

DRIVER is a clip, a photo, sequence.safetensors or face.safetensors of `emoca reconstruct` (or its folder), a table of
ARKit values (.csv, as Live Link Face writes it), or emotion:NAME. DIR/SOURCE_by_DRIVER/ holds overlay.mp4 (driver,
retargeted face, its shape), an animated face.glb, arkit.csv, sequence.safetensors and retarget.json with the measures;
DIR/index.html shows everything. What is finished is skipped: after a stop, give the same command again.

exit code: 0 all was done, 1 some drivers could not be used, 2 none could, or the command is wrong, 130 stopped with
Ctrl-C.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE", help="photo of the face that shall move")
    parser.add_argument("driving", nargs="+", metavar="DRIVER", help="what moves it, see below")
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder")
    parser.add_argument("--overwrite", action="store_true", help="do finished ones again")
    parser.add_argument(
        "--write",
        type=names,
        metavar="NAMES",
        help="formats, see `emoca list exporter` (default: glb,arkit_csv,codes,parquet,overlay,page; json always)",
    )
    movement = parser.add_argument_group("movement")
    movement.add_argument(
        "--relative", action="store_true", help="hand on the difference to the driver's rest, not what they look like"
    )
    movement.add_argument(
        "--rest", type=seconds, metavar="S", help="moment of that rest, seconds (default: the most neutral frame)"
    )
    movement.add_argument(
        "--gain", metavar="A=X,...", help="factors for brows, eyes, gaze, cheeks, mouth, e.g. brows=1.2,mouth=0.8"
    )
    movement.add_argument(
        "--keep", action="append", default=[], metavar="WHAT", help="source-pose or source-gaze stays as in the photo"
    )
    movement.add_argument(
        "--curve",
        metavar="S:X,...",
        help="how strongly emotions and photos are shown along time (default: 0:0,1:1,2:0)",
    )
    onto = parser.add_argument_group("another head")
    onto.add_argument(
        "--onto",
        type=Path,
        metavar="FILE",
        help="moves as well: GLB with morph targets by ARKit names in any spelling, or OBJ without any, which gets "
        "them by deformation transfer",
    )
    onto.add_argument(
        "--pairs", type=Path, metavar="FILE", help="CSV of triangles of the face model and of the OBJ that correspond"
    )
    parser.add_argument(
        "--witness",
        metavar="NAME",
        help="emotion backbone that compares driver and result, or none (default: the first trained one that is here)",
    )
    parser.add_argument(
        "--recognition",
        metavar="NAME",
        help="network that tells whether the face is still the same person's: identity, faceres, or none (default: the "
        "first that is here)",
    )
    add_clip_arguments(parser)
    add_method_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Retarget every driver; the exit code is in the help text."""
    from emoca_core.retargeting import open_onto, retarget_to_folder

    if args.pairs is not None and args.onto is None:
        raise ParamsError("--pairs belongs to --onto: it says which triangles of that mesh correspond")
    settings = settings_of(args)  # what is misspelt is found before anything is computed
    onto = None if args.onto is None else open_onto(args.onto, args.pairs)
    method = load(args)
    report = retarget_to_folder(
        method,
        args.source,
        args.driving,
        args.out,
        settings=settings,
        onto=onto,
        witness=_witness(args.witness, method),
        recognition=_recognition(args.recognition, method),
        write=args.write,
        overwrite=args.overwrite,
    )
    print(summary(report), file=sys.stderr)
    if report.done or report.skipped:
        print(Path(args.out) / "index.html")
    return exit_code(report)


def settings_of(args: argparse.Namespace) -> "RetargetSettings":
    """What the arguments say of the movement.

    Raises:
        EmocaError: Something that is not possible.
    """
    from emoca_core.retargeting import Curve, RetargetSettings

    return RetargetSettings(
        relative=args.relative,
        rest=args.rest,
        gain=gain_of(args.gain),
        keep=frozenset(args.keep),
        curve=Curve() if args.curve is None else Curve.parse(args.curve),
        rate=args.fps,
        clip=clip_settings(args),
    )


def gain_of(text: str | None) -> dict[str, float]:
    """``brows=1.2,mouth=0.8`` as factors.

    Raises:
        ParamsError: Not of that form.
    """
    factors: dict[str, float] = {}
    for pair in (text or "").split(",") if text is not None else ():
        name, _, value = pair.partition("=")
        try:
            factors[name.strip()] = float(value)
        except ValueError:
            raise ParamsError(f"'{shown(pair)}' is no gain: write region=factor, as in mouth=0.8") from None
    return factors


def _witness(asked: str | None, method: "Method") -> "tuple[str, EmotionBackbone] | None":
    """A backbone that took no part: the one asked for, or the first that is here besides the method's own."""
    from emoca_core.runs.backbones import find_witness, load_emotion_backbone

    if asked is None:
        own = method.recipe.parts().get("emotion_backbone")
        return find_witness(*([own.uses] if own else []), device=method.device)
    return None if asked == "none" else (asked, load_emotion_backbone(asked, method.device))


def _recognition(asked: str | None, method: "Method") -> "tuple[str, Loss] | None":
    """The recognition network asked for, or the first that is here."""
    from emoca_core.runs.recognition import find_recognition, load_recognition

    if asked is None:
        return find_recognition(method.device)
    return None if asked == "none" else (asked, load_recognition(asked, method.device))


def summary(report: "RetargetReport") -> str:
    """One line."""
    parts = [f"{len(report.done)} retargeted"]
    if report.skipped:
        parts.append(f"{len(report.skipped)} finished before")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return ", ".join(parts)


def exit_code(report: "RetargetReport") -> int:
    """0 all done, 1 some failed, 2 nothing came out."""
    if not (report.done or report.skipped):
        return BAD_INPUT
    return SOME_FAILED if report.failed else DONE
