"""How well and how fast ``open_fit`` explains the faces of a folder of photos.

    python benchmarks/landmark_fit.py PHOTOS [--pictures FOLDER] [--batch 8] [--threads N]

One line per face: mean error of 68 points, as % of the distance of the outer eye corners, against the landmarker's own.
``points`` compares the same places of the face (MediaPipe's points that stand for iBUG's, on photo and model);
``ibug68`` the model's iBUG points, whose jaw follows the visible outline, with MediaPipe's, whose jaw does not.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core import Method, load_method
from emoca_core.errors import ImageError
from emoca_core.images.crops import crops_to_batch
from emoca_core.images.photo_search import find_photos
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import FaceCrop, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import MEDIAPIPE_TO_IBUG68

FRONTAL = 20.0
"""Degrees between the face and the camera up to which it counts as frontal."""
LIMITS = {"frontal": 4.0, "all": 7.0}
"""Largest mean error accepted, %."""


@dataclass(frozen=True)
class Fit:
    """One fitted face."""

    name: str
    turned: float
    points: float
    ibug68: float
    smile: float
    jaw: float
    identity: float


def detect(method: Method, folder: Path) -> dict[str, FaceCrop]:
    """All faces of all photos as batches of one."""
    assert method.landmarker is not None
    crops = {}
    for path in find_photos(folder):
        try:
            photo = read_photo(path).pixels
        except ImageError as error:
            print(f"{path.name}: {error}")
            continue
        for number, face in enumerate(method.landmarker.detect(photo)):
            cut = method.encoder.crop_rule(photo, face)
            crops[f"{path.stem}#{number}"] = crops_to_batch([cut], [face], [photo.shape[:2]])
    return crops


def measure(method: Method, names: list[str], crop: FaceCrop, code: FaceParameters) -> list[Fit]:
    """Errors and a few coefficients of a batch."""
    assert code.camera is not None
    assert code.expression is not None
    assert code.shape is not None
    assert code.jaw_pose is not None
    landmarks = method.face_model(code).landmarks
    seen = crop.landmarks["ibug68"]
    eyes = (seen[:, 36] - seen[:, 45]).norm(dim=-1)

    def error(points: Float[Tensor, "B 68 3"]) -> list[float]:
        offset = code.camera.project(points)[..., :2] - seen  # type: ignore[union-attr]
        return (100 * offset.norm(dim=-1).mean(1) / eyes).tolist()

    same = error(landmarks["mediapipe478"][:, torch.tensor(MEDIAPIPE_TO_IBUG68.tolist())])
    own = error(landmarks["ibug68"])
    smile = code.expression[:, [ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]].mean(1)
    turned = torch.rad2deg(code.global_pose.norm(dim=1))  # type: ignore[union-attr]
    jaw, identity = torch.rad2deg(code.jaw_pose[:, 0]), code.shape.square().mean(1).sqrt()
    rows = zip(names, turned.tolist(), same, own, smile.tolist(), jaw.tolist(), identity.tolist(), strict=True)
    return [Fit(*row) for row in rows]


def seconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Median wall-clock time of a call that is warm."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def draw(method: Method, names: list[str], crop: FaceCrop, code: FaceParameters, folder: Path, size: int = 448) -> None:
    """Photo, photo with landmarks (detected green, fitted red), grey mesh, rendering over the photo, albedo."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    geometry = method.face_model(code)
    rendering = method.render(geometry, code, (size, size))
    assert rendering is not None
    assert rendering.albedo_image is not None
    assert rendering.normals is not None
    assert code.camera is not None
    photo = torch.nn.functional.interpolate(crop.image, (size, size), mode="bilinear", align_corners=False)
    grey = rendering.normals[:, 2:].clamp(0, 1).expand(-1, 3, -1, -1)
    fitted = code.camera.project(geometry.landmarks["ibug68"])[..., :2]
    over = [
        photo * (1 - rendering.mask) + picture * rendering.mask
        for picture in (0.7 * grey + 0.3 * photo, rendering.image)
    ]
    for i, name in enumerate(names):
        columns = [photo[i], photo[i], over[0][i], over[1][i], rendering.albedo_image[i]]
        pixels = (torch.cat(columns, 2).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        image = Image.fromarray(np.ascontiguousarray(pixels))
        pen = ImageDraw.Draw(image)
        for points, color in ((crop.landmarks["ibug68"][i], (0, 255, 0)), (fitted[i], (255, 60, 60))):
            for x, y in ((points + 1) * size / 2 - 0.5).tolist():
                pen.ellipse([x + size - 2, y - 2, x + size + 2, y + 2], fill=color)
        image.save(folder / f"{name}.png")


def main() -> None:
    """Fit every face of a folder, print the table and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--pictures", type=Path, help="write one picture per face here")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    method = load_method("open_fit", device="cpu")
    crops = detect(method, options.photos)
    names = list(crops)
    fits: list[Fit] = []
    with torch.no_grad():
        for start in range(0, len(names), options.batch):
            part = names[start : start + options.batch]
            crop = FaceCrop.cat([crops[name] for name in part])
            code = method.encode(crop)
            fits += measure(method, part, crop, code)
            if options.pictures:
                draw(method, part, crop, code, options.pictures)
    print(f"{'face':26s} turned  points  ibug68  smile   jaw  identity")
    for fit in fits:
        print(
            f"{fit.name:26s} {fit.turned:5.0f}°  {fit.points:5.2f}%  {fit.ibug68:5.2f}%  {fit.smile:5.2f}  "
            f"{fit.jaw:3.0f}°  {fit.identity:7.2f}"
        )
    frontal = [fit for fit in fits if fit.turned <= FRONTAL]
    for group, members in (("frontal", frontal), ("all", fits)):
        points, own = ([getattr(fit, key) for fit in members] for key in ("points", "ibug68"))
        print(
            f"{group:8s} {len(members):3d} faces: points mean {statistics.mean(points):.2f} % max {max(points):.2f} %, "
            f"ibug68 mean {statistics.mean(own):.2f} % max {max(own):.2f} % (accepted: mean {LIMITS[group]:.0f} %)"
        )
    one, several = crops[names[0]], FaceCrop.cat([crops[name] for name in (names * options.batch)[: options.batch]])
    single, batch = seconds(lambda: method.encode(one)), seconds(lambda: method.encode(several))
    print(
        f"warm, {torch.get_num_threads()} threads: one face {single:.2f} s; a batch of {options.batch} {batch:.2f} s = "
        f"{batch / options.batch:.3f} s per face, {batch / (options.batch * single):.2f} of that many singles"
    )


if __name__ == "__main__":
    main()
