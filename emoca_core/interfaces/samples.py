"""Made-up faces, to try parts on: reproducible, of plausible size, and of no particular method."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import (
    BLOCKS,
    Block,
    Capture,
    DetailMaps,
    EmotionPrediction,
    FaceCrop,
    FaceGeometry,
    FaceParameters,
    FaceTruth,
    Rendering,
    WeakPerspectiveCamera,
)

FACES = 2  # not 3, which is also the number of colours and of axes
SIZES: Mapping[Block, int] = {
    "shape": 100,
    "expression": 52,
    "global_pose": 3,
    "neck_pose": 3,
    "jaw_pose": 3,
    "eye_pose": 6,
    "eyelids": 2,
    "albedo": 50,
    "lighting": 27,
    "detail": 128,
    "camera": 3,
}
"""Sizes of the blocks in the sample of a loss."""

_POSES = ("global_pose", "neck_pose", "jaw_pose", "eye_pose")
SURFACE = (17, 24)  # rows and columns of the sample mesh


def sample_parameters(blocks: Mapping[Block, int], count: int = FACES) -> FaceParameters:
    """A code with the given blocks: half a sigma of every coefficient, small rotations, a camera that sees the face."""
    random = torch.Generator().manual_seed(5)
    code: dict[str, Tensor | WeakPerspectiveCamera] = {}
    for name, size in blocks.items():
        noise = torch.rand(count, size, generator=random)
        if name == "camera":
            code[name] = WeakPerspectiveCamera(7 + noise[:, 0], 0.02 * noise.new_ones(count, 2))
        elif name == "lighting":
            light = torch.tensor([3.0, *[0.3] * 8])[:, None].expand(9, 3)
            code[name] = light + 0.1 * noise.view(count, 9, 3)
        else:
            code[name] = 0.2 * (noise - 0.5) if name in _POSES else 0.5 * noise
    return FaceParameters(units={name: "latent" for name in blocks if name not in BLOCKS}).replace(**code)


def sample_image(size: int, count: int = FACES) -> Float[Tensor, "B 3 H W"]:
    """Smooth coloured pictures in [0, 1], every one different."""
    random = torch.Generator().manual_seed(7)
    coarse = torch.rand(count, 3, 9, 9, generator=random)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)


def frontal_landmarks() -> Float[Tensor, "68 2"]:
    """The 68 iBUG points of a schematic frontal face, NDC (x right, y down)."""
    parts = [
        _arc(0.0, -0.1, 0.62, 0.75, 180.0, 0.0, 17),  # jaw, from the subject's right ear to the left one
        _arc(-0.3, -0.25, 0.2, 0.12, 200.0, 340.0, 5),  # right brow
        _arc(0.3, -0.25, 0.2, 0.12, 200.0, 340.0, 5),  # left brow
        torch.stack([torch.zeros(4), torch.linspace(-0.2, 0.12, 4)], dim=1),  # bridge of the nose
        _arc(0.0, 0.12, 0.12, 0.06, 170.0, 10.0, 5),  # below the nose
        _arc(-0.3, -0.15, 0.1, 0.05, 180.0, 480.0, 6),  # right eye
        _arc(0.3, -0.15, 0.1, 0.05, 180.0, 480.0, 6),  # left eye
        _arc(0.0, 0.35, 0.22, 0.1, 180.0, 510.0, 12),  # outer lips
        _arc(0.0, 0.35, 0.14, 0.04, 180.0, 495.0, 8),  # inner lips
    ]
    return torch.cat(parts)


def sample_crop(size: int = 128, count: int = FACES) -> FaceCrop:
    """Crops with every optional field; landmarks of a schematic face, shifted a little from face to face."""
    shift = 0.02 * torch.arange(count)[:, None, None]
    dense = torch.cat([frontal_landmarks() * (1 - 0.1 * ring) for ring in range(8)])[:478]
    return FaceCrop(
        image=sample_image(size, count),
        landmarks={"ibug68": frontal_landmarks() + shift, "mediapipe478": dense + shift},
        blendshapes=0.3 * torch.rand(count, 52, generator=torch.Generator().manual_seed(11)),
        crop_to_image=torch.tensor([[2.0, 0.0, 10.0], [0.0, 2.0, 20.0], [0.0, 0.0, 1.0]]).repeat(count, 1, 1),
        photo_size=torch.tensor([[480, 640]]).repeat(count, 1),
        mask=sample_rendering(size, count).mask,
        identity=torch.arange(count),
    )


def sample_geometry(count: int = FACES) -> FaceGeometry:
    """Half an ellipsoid the size of a head, with landmarks above it."""
    rows, columns = SURFACE
    latitude = torch.linspace(-1.4, 1.4, rows)[:, None]
    longitude = torch.linspace(-1.4, 1.4, columns)[None]
    directions = [
        longitude.sin() * latitude.cos(),
        latitude.sin().expand(rows, columns),
        longitude.cos() * latitude.cos(),
    ]
    surface = (torch.stack(directions, dim=-1) * torch.tensor([0.075, 0.1, 0.09])).reshape(1, -1, 3)
    stretch = 1 + 0.05 * torch.arange(count)[:, None, None]
    x, y = (0.1 * frontal_landmarks() * torch.tensor([1.0, -1.0])).unbind(-1)
    landmarks = torch.stack([x, y, 0.09 - 4 * (x * x + y * y)], dim=-1)[None]
    return FaceGeometry(stretch * surface, {"ibug68": stretch * landmarks})


def sample_rendering(size: int = 64, count: int = FACES) -> Rendering:
    """A picture of a disc with everything that a rendering may carry."""
    line = torch.linspace(-1, 1, size)
    x, y = torch.meshgrid(line, line, indexing="xy")
    mask = ((x**2 + y**2) < 0.7).float().expand(count, 1, size, size)
    normals = torch.stack([x, -y, (1 - x**2 - y**2).clamp(min=0.05).sqrt()]).expand(count, 3, size, size)
    albedo, shading = sample_image(size, count).flip(0), 0.5 + 0.4 * normals[:, 2:].expand(count, 3, size, size)
    grid = torch.stack([x, y], dim=-1).expand(count, size, size, 2)
    return Rendering(albedo * shading * mask, mask, albedo * mask, shading * mask, normals * mask, grid, mask)


def sample_emotion(seed: int, count: int = FACES) -> EmotionPrediction:
    """Features, eight classes, valence and arousal."""
    random = torch.Generator().manual_seed(seed)
    logits, features = torch.randn(count, 8, generator=random), torch.randn(count, 64, generator=random)
    levels = torch.rand(2, count, generator=random) - 0.5
    return EmotionPrediction({"features": features}, logits, levels[0], levels[1])


def sample_detail_maps(size: int = 32, count: int = FACES) -> DetailMaps:
    """A detailed surface in UV space beside a photo that differs from it."""
    texture, observed = sample_image(size, count), sample_image(size, count).roll(3, dims=-1)
    visibility = torch.ones(count, 1, size, size)
    visibility[..., : size // 4] = 0.0  # an ear that is turned away
    return DetailMaps(0.8 * texture, observed, visibility, 0.5 + 0.4 * texture.flip(-2))


def sample_capture(size: int = 64) -> Capture:
    """One pass over a batch, with every field filled by something plausible and slightly wrong."""
    crop = sample_crop(size)
    rendering = sample_rendering(size)
    return Capture(
        crop=crop,
        parameters=sample_parameters(SIZES),
        geometry=sample_geometry(),
        rendering=rendering,
        detail_rendering=sample_rendering(size),
        detail_maps=sample_detail_maps(),
        mask=rendering.mask,
        picture=rendering.image + (1 - rendering.mask) * crop.image,
        truth=FaceTruth(sample_parameters(SIZES).map(lambda t: 0.9 * t), sample_geometry().map(lambda t: 0.95 * t)),
        displacement=0.001 * torch.randn(FACES, 1, 32, 32, generator=torch.Generator().manual_seed(3)),
        emotion_of_input=sample_emotion(1),
        emotion_of_rendering=sample_emotion(2),
    )


def _arc(
    x: float, y: float, width: float, height: float, start: float, stop: float, count: int
) -> Float[Tensor, "N 2"]:
    """Points on an ellipse; angles in degrees from +x towards +y, which is down."""
    angles = torch.linspace(math.radians(start), math.radians(stop), count)
    return torch.stack([x + width * angles.cos(), y + height * angles.sin()], dim=1)
