"""The pictures of docs/open-head.md, drawn with the project's own renderer: `python -m tools.open_head.pictures`."""

import argparse
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from emoca_core import get_registry
from emoca_core.files import atomic_write
from emoca_core.geometry.lighting import SH_CONSTANTS
from emoca_core.interfaces import Albedo, FaceParameters, WeakPerspectiveCamera
from emoca_core.rendering.face import render_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES, emotion_prototypes
from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.renderers.zbuffer import ZBuffer

BACKGROUND = (0.92, 0.93, 0.95)
LIGHT = (0.68, -0.09, 0.20, 0.33)
"""Brightness from everywhere, and from +x, +y, +z."""
SUPERSAMPLING = 2
LARGEST_FILE = 400_000


@dataclass(frozen=True)
class Studio:
    """A head, a renderer and a camera that frames the whole head."""

    head: OpenHead
    renderer: ZBuffer
    size: int = 250
    scale: float = 7.2
    centre: tuple[float, float] = (0.0, 0.012)

    def shoot(
        self, parameters: FaceParameters, label: str = "", textured: bool = True, landmarks: str | None = None
    ) -> np.ndarray:
        """One tile [size, size, 3], uint8."""
        with torch.no_grad():
            geometry = self.head(parameters)
            albedo = self.head.albedo(parameters) if textured else Albedo()
            middle = geometry.vertices[0].aminmax(dim=0)
            turned = parameters.global_pose is not None  # then the head leaves the middle: follow it
            x = float(middle.min[0] + middle.max[0]) / 2 if turned else self.centre[0]
            camera = WeakPerspectiveCamera(torch.tensor([self.scale]), torch.tensor([[-x, -self.centre[1]]]))
            side = self.size * SUPERSAMPLING
            picture = render_face(self.renderer, self.head, geometry, camera, albedo, _lighting(), (side, side))
            image = picture.image if textured else picture.image * 0.75
            image = image + (1 - picture.mask) * torch.tensor(BACKGROUND).view(1, 3, 1, 1)
            image = torch.nn.functional.avg_pool2d(image.clamp(0, 1), SUPERSAMPLING)[0]
            tile = Image.fromarray((image.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8))
            draw = ImageDraw.Draw(tile)
            if landmarks:
                _draw_points(draw, camera.project(geometry.landmarks[landmarks])[0], self.size)
            draw.text((6, 4), label, fill=(30, 30, 30))
        return np.asarray(tile)

    def close(self, scale: float, centre: tuple[float, float]) -> "Studio":
        """The same studio with a closer camera."""
        return Studio(self.head, self.renderer, self.size, scale, centre)


def _lighting() -> Tensor:
    """Soft light from above the camera, a little from the subject's right."""
    light = torch.zeros(1, 9, 3)
    for band, strength in enumerate(LIGHT):
        light[:, band] = strength / SH_CONSTANTS[band]
    return light


def _draw_points(draw: ImageDraw.ImageDraw, points: Tensor, size: int) -> None:
    radius = 1.6 if len(points) < 100 else 1.0
    for index, (x, y, _) in enumerate(points.tolist()):
        cx, cy = (x + 1) * size / 2 - 0.5, (y + 1) * size / 2 - 0.5
        fill = (255, 60, 60) if index >= 468 else (0, 220, 70)  # the irises
        draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=fill)


def expression(**values: float) -> Tensor:
    """Activations; a name without side means both."""
    code = torch.zeros(1, len(ARKIT_NAMES))
    for name, value in values.items():
        for shape in [name] if name in ARKIT_NAMES else [name + "Left", name + "Right"]:
            code[0, ARKIT_NAMES.index(shape)] = value
    return code


def albedo_code(head: OpenHead, skin: str | None = None, **values: float) -> Tensor:
    """An albedo code by skin and names."""
    code = torch.zeros(1, len(head.albedo_names))
    if skin:
        tone = head.appearance.skin_codes[head.appearance.skin_names.index(skin)]
        code[0, : len(tone)] = tone
    for name, value in values.items():
        code[0, head.albedo_names.index(name)] = value
    return code


def neutral(**blocks: Tensor) -> FaceParameters:
    """The mean head with some blocks set."""
    mean = FaceParameters(shape=torch.zeros(1, 100))
    return mean.replace(**blocks)


def pose(pitch: float = 0, yaw: float = 0) -> Tensor:
    """Axis-angle of a pitch or a yaw in degrees."""
    return torch.tensor([[math.radians(pitch), math.radians(yaw), 0.0]])


def identities(studio: Studio) -> list[list[np.ndarray]]:
    """Eight random people, textured and grey."""
    generator = torch.Generator().manual_seed(5)
    head = studio.head
    rows: list[list[np.ndarray]] = [[], [], [], []]
    for person in range(8):
        shape = 0.8 * torch.randn(1, 100, generator=generator)
        code = 0.8 * torch.randn(1, len(head.albedo_names), generator=generator)
        tone = head.appearance.skin_codes[int(torch.randint(20, (1,), generator=generator))]
        code[0, : len(tone)] = 0.9 * tone + 0.15 * code[0, : len(tone)]
        row = person // 4 * 2
        rows[row].append(studio.shoot(neutral(shape=shape, albedo=code)))
        rows[row + 1].append(studio.shoot(neutral(shape=shape, global_pose=pose(yaw=30)), textured=False))
    return rows


def emotions(studio: Studio) -> list[list[np.ndarray]]:
    """Every prototype on a man and on a woman."""
    head = studio.head
    rows: list[list[np.ndarray]] = []
    casting = (
        ({"gender": 0.1, "age": 0.66, "asian": 0.2, "african": 0.1, "caucasian": 0.7, "weight": 0.45},
         albedo_code(head, "young_caucasian_male", stubble=1.0, scalp_hair=1.0)),
        ({"gender": 0.95, "age": 0.66, "asian": 0.15, "african": 0.8, "caucasian": 0.05},
         albedo_code(head, "young_african_female", lip_redness=1.0, lashes=1.0)),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    for phenotypes, code in casting:
        shape = head.semantic_shape(**phenotypes) + 0.5 * torch.randn(1, 100, generator=generator)
        tiles = [studio.shoot(head.emotion(n).replace(shape=shape, albedo=code), n) for n in emotion_prototypes()]
        rows += [tiles[:5], tiles[5:]]
    return rows


def jaw_and_eyes(studio: Studio) -> list[list[np.ndarray]]:
    """Jaw rotations, mouth shapes, lids and gaze."""
    both = lambda pitch, yaw: torch.tensor([[pitch, yaw, 0.0, pitch, yaw, 0.0]])  # noqa: E731
    shoot = studio.shoot
    mouth, eye = studio.close(21, (0, -0.045)), studio.close(21, (0.032, 0.03))
    smile = expression(mouthSmile=1, mouthUpperUp=1, mouthLowerDown=1)
    left = expression(eyeLookOutLeft=1, eyeLookInRight=1)
    return [
        [shoot(neutral(jaw_pose=pose(d)), f"jaw {d} deg") for d in (0, 10, 20.7)]
        + [shoot(neutral(jaw_pose=pose(20.7), global_pose=pose(yaw=60)), "jaw 20.7 deg"),
           mouth.shoot(neutral(expression=smile, jaw_pose=pose(6)), "teeth")],
        [shoot(neutral(expression=expression(**{n: 1.0})), n)
         for n in ("jawOpen", "mouthPucker", "mouthFunnel", "cheekPuff", "noseSneer")],
        [shoot(neutral(expression=expression(eyeBlink=1)), "blink"),
         shoot(neutral(expression=expression(eyeBlinkLeft=1)), "wink left"),
         shoot(neutral(expression=expression(eyeLookUp=1), eye_pose=both(-0.28, 0)), "look up"),
         shoot(neutral(expression=left, eye_pose=both(0, 0.35)), "look left"),
         shoot(neutral(expression=expression(eyeSquint=1, cheekSquint=1)), "squint")],
        [eye.shoot(neutral(), "eye"),
         eye.shoot(neutral(expression=expression(eyeWide=1)), "wide"),
         eye.shoot(neutral(expression=expression(eyeSquint=1, cheekSquint=1)), "squint"),
         eye.shoot(neutral(expression=expression(eyeBlink=1)), "blink"),
         eye.shoot(neutral(albedo=albedo_code(studio.head, iris_lightness=1.6, brow_lightness=1)), "blue iris")],
    ]  # fmt: skip


def contours(studio: Studio) -> list[list[np.ndarray]]:
    """The 68 points from profile to profile."""
    code = albedo_code(studio.head, "young_asian_female")
    yaws = (-60, -39, -20, -10, 0, 10, 20, 39, 60, 80)
    tiles = [
        studio.shoot(neutral(global_pose=pose(yaw=yaw), albedo=code), f"yaw {yaw}", landmarks="ibug68") for yaw in yaws
    ]
    return [tiles[:5], tiles[5:]]


def landmark_overlay(studio: Studio) -> list[list[np.ndarray]]:
    """Both landmark sets on several people and expressions."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    large = Studio(studio.head, studio.renderer, 400, 8.4, (0.0, -0.012))
    for name in ("mediapipe478", "ibug68"):
        row = [large.shoot(neutral(), landmarks=name)]
        for emotion in ("surprise", "happy"):
            shape = 0.9 * torch.randn(1, 100, generator=generator)
            row.append(large.shoot(studio.head.emotion(emotion).replace(shape=shape), emotion, landmarks=name))
        rows.append(row)
    return rows


def save(path: Path, rows: list[list[np.ndarray]]) -> None:
    """Write a sheet as PNG with as many palette colours as fit below the size limit."""
    sheet = Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows]))
    for colours in (256, 192, 128, 96, 64):
        buffer = io.BytesIO()
        sheet.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            buffer, "PNG", optimize=True
        )
        if buffer.tell() <= LARGEST_FILE:
            break
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    print(f"{path}: {buffer.tell() / 1e3:.0f} kB, {colours} colours")


def synthetic_faces(path: Path) -> None:
    """64 synthetic faces with all variety, of 64 people."""
    params = {"image_size": 112, "variety": 1.0, "faces_per_identity": 1, "length": 64}
    faces = get_registry().build("dataset", "synthetic_faces", params)
    images = torch.stack([faces[index].image for index in range(len(faces))]).unflatten(0, (8, 8))
    sheet = images.permute(0, 3, 1, 4, 2).reshape(8 * 112, 8 * 112, 3)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path, quality=85)


def main() -> None:
    """Draw all sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs/images")
    parser.add_argument("--only", nargs="*", help="names of sheets")
    arguments = parser.parse_args()
    studio = Studio(OpenHead(), ZBuffer())
    sheets = {
        "identities": identities, "emotions": emotions, "jaw_eyes": jaw_and_eyes, "contour": contours,
        "landmarks": landmark_overlay,
    }  # fmt: skip
    for name, draw in sheets.items():
        if not arguments.only or name in arguments.only:
            save(arguments.out / f"open_head_{name}.png", draw(studio))
    if not arguments.only or "synthetic_faces" in arguments.only:
        synthetic_faces(arguments.out / "synthetic_faces.jpg")


if __name__ == "__main__":
    main()
