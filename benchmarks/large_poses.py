"""What ``open_fit`` makes of heads that are turned aside: synthetic ones, by yaw.

    python benchmarks/large_poses.py [--people 24] [--seed 4242] [--degrees 0 15 30 45 60 75 90] [--before]
        [--pictures OUT]

A picture counts as found where the landmarks of a face lie on the head; as wrong where they do not; as named where no
face is found and the message says that there is a head in profile. Error: mean distance of the 51 points of brows,
eyes, nose and mouth from those of the head (hidden ones too), in % of the longer side of the box of all 68; median and,
in brackets, 90th percentile. ``--before`` leaves out what is done for profiles alone.
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw

from emoca_core import get_registry, load_method
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import FaceDataset, PerspectiveCamera
from emoca_core.method import Method
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.capture import capture_faces, find_faces
from emoca_core.reconstruction.capture_settings import Settings
from emoca_core.rendering.face import render_face
from emoca_plugins.datasets.synthetic_scene import backgrounds, camera_around, photograph
from emoca_plugins.landmarkers import mediapipe

SIZE, WIDER = 320, 0.55
"""Side of the pictures; focal length in units of the data set's, so that the whole head is seen."""
INNER = slice(17, None)
ON_THE_HEAD = 15.0
"""Largest error of landmarks that are on the head, %."""


@dataclass(frozen=True)
class Seen:
    """What became of one picture; NaN where no face was found."""

    error: float = math.nan
    fit_error: float = math.nan
    turn_error: float = math.nan
    doubtful: bool = False
    named: bool = False


def picture(faces: FaceDataset, person: int, degrees: float) -> tuple[UInt8[ndarray, "S S 3"], Float[ndarray, "68 2"]]:
    """A person's head, turned to the left or the right, and where its landmarks are, pixels."""
    draws = torch.rand(1, 200, generator=torch.Generator().manual_seed(person))
    code = faces.draw([person])[0]
    yaw = math.radians(degrees) * side_of(person)
    code = code.replace(global_pose=torch.tensor([[0.0, yaw, 0.0]]))
    geometry = faces.face_model(code)
    near = camera_around(geometry.landmarks["ibug68"], draws[:, :10])
    camera = PerspectiveCamera(near.focal * WIDER, near.centre, near.translation)
    albedo = faces.face_model.albedo(code)
    drawn = render_face(faces.renderer, faces.face_model, geometry, camera, albedo, code.lighting, (SIZE, SIZE))
    image = photograph(drawn, backgrounds(draws[:, 10:110], SIZE), draws[:, 110:120])[0]
    points = (camera.project(geometry.landmarks["ibug68"])[0, :, :2] + 1) * SIZE / 2 - 0.5
    return (image * 255).byte().permute(1, 2, 0).numpy(), points.numpy()


def side_of(person: int) -> int:
    """Every other one looks to the other side."""
    return 1 if person % 2 else -1


def look(method: Method, path: Path, points: Float[ndarray, "68 2"], yaw: float) -> tuple[Seen, ndarray | None]:
    """What a reconstruction makes of a picture, and the landmarks that were detected."""
    photo = read_photo(path)
    found = find_faces(method, photo, Settings()).faces[:1]
    if not found:
        assert method.landmarker is not None
        return Seen(named="profile," in method.landmarker.explain_no_face(photo.pixels)), None
    (face,) = capture_faces(method, found, Settings())
    detected = face.detection.landmarks["ibug68"]
    assert face.landmarks is not None
    assert face.parameters.global_pose is not None
    forwards = rotation_vector_to_matrix(face.parameters.global_pose.double())[0, :, 2].numpy()
    turned = math.degrees(math.atan2(forwards[0], forwards[2]))
    quality = face.quality
    seen = Seen(off(detected, points), off(face.landmarks, points), abs(turned - yaw), quality.is_doubtful)
    return seen, detected


def off(found: Float[ndarray, "68 2"], points: Float[ndarray, "68 2"]) -> float:
    """Mean distance of the inner points, % of the head's box of landmarks."""
    apart = np.linalg.norm(found[INNER] - points[INNER], axis=1).mean()
    return float(100 * apart / np.ptp(points, axis=0).max())


def row(degrees: float, seen: Sequence[Seen]) -> str:
    """A line of the table."""
    right = [one for one in seen if one.error <= ON_THE_HEAD]
    wrong = sum(one.error > ON_THE_HEAD for one in seen)

    def middle(name: str) -> str:
        values = [getattr(one, name) for one in right]
        return f"{np.median(values):.1f} ({np.percentile(values, 90):.1f})" if values else ""

    counts = [len(right), sum(one.doubtful for one in right), wrong, sum(one.named for one in seen)]
    cells = [f"{degrees:g}°", *map(str, counts), *map(middle, ("error", "fit_error", "turn_error"))]
    return "| " + " | ".join(cells) + " |"


def save(folder: Path, name: str, pixels: ndarray, detected: ndarray | None) -> None:
    """The picture with what was detected."""
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for x, y in () if detected is None else detected.tolist():
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=(0, 255, 0))
    image.save(folder / name)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--seed", type=int, default=4242, help="who they are")
    parser.add_argument("--degrees", type=float, nargs="+", default=[0, 15, 30, 45, 60, 75, 90])
    parser.add_argument("--pictures", type=Path, metavar="OUT")
    parser.add_argument("--before", action="store_true", help="without what is done for profiles")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.before:
        mediapipe.face_in_profile = lambda *_: None  # type: ignore[attr-defined]
        mediapipe.is_elsewhere = lambda *_: False  # type: ignore[attr-defined]
    params = {"length": options.people, "seed": options.seed, "faces_per_identity": 1}
    faces = get_registry().build("dataset", "synthetic_faces", params)
    method = load_method("open_fit", device="cpu", change={"encoder": {"params": {"appearance": False}}})
    print("| turned by | found | of them doubtful | wrong | named | landmarks, % | fitted, % | turn, degrees |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for degrees in options.degrees:
            seen = []
            for person in progress_bar(range(options.people), label=f"{degrees:g} degrees", unit="face"):
                pixels, points = picture(faces, person, degrees)
                path = Path(folder) / "head.png"
                Image.fromarray(pixels).save(path)
                one, detected = look(method, path, points, degrees * side_of(person))
                seen.append(one)
                if options.pictures:
                    save(options.pictures, f"{degrees:02.0f}_{person:02d}.png", pixels, detected)
            print(row(degrees, seen), flush=True)


if __name__ == "__main__":
    main()
