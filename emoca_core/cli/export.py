"""``emoca export``: a method for programs without torch."""

import argparse
from pathlib import Path

from emoca_core.cli import Subparsers
from emoca_core.cli.reconstruct import add_changes, load

NAME = "export"
HELP = "write a method's networks as ONNX files"
_EPILOG = """\
DIR holds encoder.onnx (image [B, 3, S, S], RGB in [0, 1], to the blocks of the face code), face_model.onnx (blocks to
vertices in metres, landmarks and triangles) and card.json (crop, units, licences, how far the files are from torch).

example: emoca export onnx runs/deca --out deca-onnx --int8 photos/
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("format", choices=("onnx",), help="what to write")
    parser.add_argument("recipe", metavar="RECIPE", help="method whose encoder is a network; or a run, or a package")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--int8",
        nargs="+",
        metavar="PHOTO",
        help="an encoder in 8 bits as well, calibrated on the faces of these photos",
    )
    add_changes(parser)
    parser.set_defaults(device="cpu")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the folder and say how far its files are from torch."""
    method = load(args)
    from emoca_core.deployment.onnx_folder import export_onnx
    from emoca_core.reconstruction import crops_of
    from emoca_core.registry.catalogue import get_catalogue

    calibration = crops_of(method, args.int8).image if args.int8 else None
    card = export_onnx(method, args.out, get_catalogue(args.catalogue), calibration)
    for name, value in card.difference.items():
        print(f"{args.out / name}: {value:.1e} from torch")
    if card.int8_vertex_error_mm is not None:
        print(f"{args.out / 'encoder_int8.onnx'}: vertices {card.int8_vertex_error_mm:.2f} mm from the whole encoder's")
    return 0
