"""``emoca demo``: pictures that show what the project does, from open parts only."""

import argparse
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.cli.reconstruct import add_method_arguments, exit_code, load, reconstruct

NAME = "demo"
HELP = "turn the example photos into 3D faces and draw the emotions"


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(NAME, help=HELP, description=HELP)
    parser.add_argument("--out", default="demo", metavar="DIR", help="output folder (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="do finished photos again")
    add_method_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Reconstruct the example photos, draw the emotions, carry one over, let a photo move, and say where they are."""
    from emoca_core.cli.demo_run import draw_emotions, example_photos, move_photo, optimise_emotion
    from emoca_core.files import writing_to

    out = Path(args.out)
    photos = example_photos()
    method = load(args)
    report = reconstruct(method, args, photos, out / "photos")
    with writing_to(out):
        draw_emotions(method.face_model, method.renderer, out / "emotions.png")
    optimised = optimise_emotion(method, photos, out / "optimised", overwrite=args.overwrite)
    film = move_photo(method, photos[0], out / "retargeting", overwrite=args.overwrite)
    print("Look at:")
    faces = sorted(out.glob("photos/*/face_*/overlay.png"))
    for picture in (*faces, out / "photos/index.html", out / "emotions.png", *optimised, film):
        print(f"  {picture}")
    return exit_code(report)
