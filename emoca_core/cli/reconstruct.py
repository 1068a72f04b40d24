"""``emoca reconstruct``: photos and clips to 3D faces."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emoca_core.cli import BAD_INPUT, Subparsers, loading
from emoca_core.cli.cli_settings import names, seconds, settings_from, share, whole
from emoca_core.errors import ParamsError, RecipeError, unknown_name
from emoca_core.limits import BATCH
from emoca_core.parsing import shown

if TYPE_CHECKING:
    from emoca_core.method import Method
    from emoca_core.reconstruction import ClipSettings, Report, Settings

NAME = "reconstruct"
HELP = "turn photos and clips into 3D faces"

SOME_FAILED = 1
_EPILOG = """\
Photos: DIR/<photo>/face_0/ holds face.glb, face.obj, face.safetensors, face.json and overlay.png, or what
--write names.
Clips: DIR/<clip>/track_0/ holds one person: overlay.mp4, an animated face.glb, arkit.csv, sequence.safetensors, .json
and .parquet. DIR/index.html shows everything.
What is finished is skipped, and a stopped clip goes on in the middle: after a stop, give the same command again.

exit code: 0 all was done (one without a face counts as done, if another has one), 1 some photos or clips could not be
used, 2 no face came out, the output cannot be written, or the command is wrong, 130 stopped with Ctrl-C.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="photo, clip, folder (searched) or pattern")
    parser.add_argument("--out", default="captures", metavar="DIR", help="output folder (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="do finished photos and clips again")
    parser.add_argument(
        "--min-score",
        type=share,
        default=0.0,
        metavar="X",
        help="leave out faces that the detector is less sure of, 0 to 1 (default: take all that it reports)",
    )
    parser.add_argument(
        "--write",
        type=names,
        metavar="NAMES",
        help="formats, e.g. glb,ply; see `emoca list exporter` (default: glb,obj,codes,overlay,page; json always)",
    )
    parser.add_argument("--same-person", action="store_true", help="one identity for the largest face of every photo")
    add_clip_arguments(parser)
    add_method_arguments(parser, recipe=None)
    return parser


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Which part of clips, and how people are followed."""
    clips = parser.add_argument_group("clips")
    clips.add_argument("--start", type=seconds, default=0.0, metavar="S", help="first moment, seconds")
    clips.add_argument("--end", type=seconds, metavar="S", help="moment before which to end, seconds")
    clips.add_argument("--every", type=whole(), default=1, metavar="N", help="take one frame of N")
    clips.add_argument(
        "--fps",
        type=seconds,
        metavar="N",
        help="folders are clips: numbered frames, N a second",
    )
    clips.add_argument(
        "--track",
        type=_track,
        default="largest",
        metavar="WHO",
        help="largest (the person seen largest and longest), all, or a number of one (default: %(default)s)",
    )
    clips.add_argument(
        "--smooth", type=share, metavar="X", help="how strongly movement is smoothed, 0 (off) to 1 (default: 0.6)"
    )


def add_method_arguments(
    parser: argparse.ArgumentParser, *, batches: bool = True, recipe: str | None = "open_fit"
) -> None:
    """Which method, and how it runs; ``batches`` where many faces are reconstructed, ``recipe`` by default."""
    parser.add_argument(
        "--recipe",
        default=recipe,
        help="method, see `emoca list recipe`; or a run folder, a package, or owner/name on the Hugging Face hub "
        f"(default: {recipe or 'as `emoca list recipe` says at its end'})",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    parser.add_argument(
        "--crop", choices=("native", "shared"), default="native", help="the method's own crop, or one for all methods"
    )
    if batches:
        parser.add_argument(
            "--batch-size", type=whole(1, BATCH), metavar="N", help="faces at once (default: 8 photos, 64 frames)"
        )
    parser.add_argument(
        "--engine",
        choices=("torch", "onnx"),
        default="torch",
        help="what runs the encoder; onnx: on the CPU, for encoders that are networks (default: %(default)s)",
    )
    add_changes(parser)


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Other parameters of the method."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="PART.PARAM=VALUE",
        help="another parameter, e.g. face_model.texture_size=512; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Reconstruct everything; the exit code is in the help text."""
    method = load(args) if args.recipe is not None else load_default(args)
    report = reconstruct(method, args, args.paths, Path(args.out))
    if report.has_faces:
        print(Path(args.out) / "index.html")
    return exit_code(report)


def load_default(args: argparse.Namespace) -> "Method":
    """The method that the catalogue names where the arguments name none; what binds its user is said on stderr.

    Raises:
        RecipeError: The catalogue names none.
        ParamsError: It cannot be changed as ``--set`` says.
    """
    from emoca_core.registry.catalogue import get_catalogue

    default = get_catalogue(args.catalogue).default_recipe
    if default is None:
        raise RecipeError("the catalogue has no default_recipe: name one by --recipe, see `emoca list recipe`")
    parse_changes(args.changes)
    try:
        method = load(argparse.Namespace(**{**vars(args), "recipe": default.uses}))
    except (ParamsError, RecipeError) as error:
        if not args.changes:
            raise
        example = f", e.g. --recipe {default.free}" if default.free else ""
        raise ParamsError(
            f"--set does not fit {default.uses}, the default: name the recipe that is meant{example}; or see what this "
            f"one has: emoca show {default.uses}\n  {error}"
        ) from None
    if default.restriction:
        other = f"; for any use: --recipe {default.free}" if default.free else ""
        print(f"{default.uses}, the default, is {default.restriction}{other}", file=sys.stderr)
    return method


def load(args: argparse.Namespace) -> "Method":
    """The method that the arguments name.

    Raises:
        RecipeError: Its encoder or detail model has random weights, which nobody asked for by ``--set``.
    """
    change = parse_changes(args.changes)
    with loading():
        from emoca_core.api import load_method
        from emoca_core.runs.cards import TRAINED_PARTS
        from emoca_core.weights import RANDOM

        method = load_method(args.recipe, registry_file=args.catalogue, change=change, device=args.device)
    for kind, part in method.parts().items():
        given = "weights" in change.get(kind, {}).get("params", {})
        random = kind in TRAINED_PARTS and getattr(part.params, "weights", None) == RANDOM and not part.asset_paths
        if random and not given:
            raise RecipeError(
                f"the {kind} of '{args.recipe}' has random weights: give the run or the package that it was trained in "
                f"as --recipe, or say --set {kind}.weights={RANDOM}"
            )
    if getattr(args, "engine", "torch") == "onnx":
        from emoca_core.deployment.onnx_encoder import use_onnx

        return use_onnx(method)
    return method


def reconstruct(method: "Method", args: argparse.Namespace, paths: Iterable[str | Path], out: Path) -> "Report":
    """Run a method over photos, and sum up on stderr."""
    from emoca_core.reconstruction import reconstruct_to_folder

    settings, clips = _settings(args)
    write = getattr(args, "write", None)
    report = reconstruct_to_folder(
        method, paths, out, settings=settings, clips=clips, write=write, overwrite=args.overwrite
    )
    print(summary(report), file=sys.stderr)
    return report


def _settings(args: argparse.Namespace) -> "tuple[Settings, ClipSettings]":
    """Of photos, and of clips; what a command does not offer is as by default."""
    from emoca_core.reconstruction import Settings

    of_photos = _given(args, *_OF_BOTH, "same_person")
    return Settings(**of_photos), clip_settings(args)


_OF_BOTH = ("crop", "min_score", "batch_size")


def clip_settings(args: argparse.Namespace) -> "ClipSettings":
    """What the arguments say of clips."""
    from emoca_core.reconstruction import ClipSettings

    of_clips = _given(args, *_OF_BOTH, "start", "end", "every", "track", "smooth")
    return ClipSettings(**of_clips, frame_rate=getattr(args, "fps", None))


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    values = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def summary(report: "Report") -> str:
    """One line."""
    parts = []
    if report.photos or report.faces or not (report.clips or report.without_face or report.failed):
        parts.append(f"{_count(report.faces, 'face')} from {_count(report.photos, 'photo')}")
    if report.clips or report.people:
        people = "1 person" if report.people == 1 else f"{report.people} people"
        parts.append(f"{people} from {_count(report.clips, 'clip')}")
    if report.doubtful:
        parts.append(f"{report.doubtful} doubtful")
    if report.left_out:
        parts.append(f"{_count(report.left_out, 'face')} below the score")
    if report.replaced:
        parts.append(f"{_count(report.replaced, 'result')} replaced")
    if report.skipped:
        parts.append(f"{_count(report.skipped, 'photo')} finished before")
    if report.skipped_clips:
        parts.append(f"{_count(report.skipped_clips, 'clip')} finished before")
    if report.without_face:
        parts.append(f"{len(report.without_face)} without a face")
    if report.not_taken:
        parts.append(f"{_count(len(report.not_taken), 'picture')} not taken")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def exit_code(report: "Report") -> int:
    """0 all done, 1 some failed, 2 no face came out."""
    if not report.has_faces:
        return BAD_INPUT
    return SOME_FAILED if report.failed else 0


def parse_changes(changes: Iterable[str]) -> dict[str, dict[str, dict[str, object]]]:
    """``part.param=value`` as a change of the recipe; values are YAML.

    Raises:
        ParamsError: Not of that form.
        UnknownNameError: No such part.
    """
    from emoca_core.registry import get_registry
    from emoca_core.registry.kinds import part_kinds

    known = part_kinds(get_registry().kinds.values())
    found: dict[str, dict[str, dict[str, object]]] = {}
    for part, params in settings_from(changes).items():
        if part not in known:
            raise unknown_name("part", part, known)
        if not isinstance(params, dict):
            raise ParamsError(f"--set {part}: expected PART.PARAM=VALUE, e.g. face_model.texture_size=512")
        found[part] = {"params": params}
    return found


def _track(text: str) -> "int | Literal['largest', 'all']":
    names: dict[str, Literal["largest", "all"]] = {"largest": "largest", "all": "all"}
    if text in names:
        return names[text]
    try:
        return whole(0)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{shown(text)}' is neither largest nor all nor a number from 0") from None
