"""Photos beside the bare faces of several methods: a picture of docs/open-weights.md.

python -m benchmarks.refined_pictures PHOTOS... --out sheet.jpg [--weights best.safetensors]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from PIL import Image

from emoca_core import load_method
from emoca_core.method import Method
from emoca_core.reconstruction.capture import crops_of
from emoca_core.rendering.shape import render_shape

METHODS = ("mediapipe52", "open_fit_codes", "open_emoca_fit_codes", "open_emoca")
SIZE = 224


def main() -> None:
    """Draw a row for each face, a column for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", help="of the refinement; by default those that come with the project")
    args = parser.parse_args()
    torch.set_num_threads(1)
    change = {"encoder": {"params": {"weights": args.weights}}} if args.weights else {}
    methods = [load_method(name, change=change if "emoca_fit" in name else {}, device="cpu") for name in METHODS]
    sheet = np.concatenate([rows_of(methods, photo) for photo in args.photos])
    Image.fromarray(sheet).save(args.out, quality=90)


@torch.no_grad()
def rows_of(methods: list[Method], photo: Path) -> ndarray:
    """All faces of a photo: the crop, and each method's mesh in its own camera over black."""
    columns = []
    for method in methods:
        crop = crops_of(method, photo)
        code = method.encode(crop)
        assert code.camera is not None
        mesh = render_shape(method.renderer, method.face_model, method.face_model(code), code.camera, (SIZE, SIZE))
        columns += [mesh] if columns else [crop.image, mesh]
    wide = torch.cat(columns, dim=3).clamp(0, 1)
    return (255 * wide).round().byte().permute(0, 2, 3, 1).flatten(0, 1).numpy()


if __name__ == "__main__":
    main()
