"""Everything around a synthetic face: light, framing, background, and what a camera does to a picture."""

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.lighting import SH_CONSTANTS
from emoca_core.interfaces import PerspectiveCamera, Rendering
from emoca_plugins.datasets.synthetic_draws import Draws

HALF_CROP = 1.25 * 1.1 / 2
"""Half the side of the shared crop, in mean sides of the landmarks' box (docs/conventions.md)."""


def draw_lighting(draws: Float[Tensor, "B 40"]) -> Float[Tensor, "B 9 3"]:
    """Even light plus one soft lamp from the front hemisphere plus a little of everything, slightly tinted."""
    light = torch.zeros(len(draws), 9, 3)
    level = 0.55 + 0.45 * draws[:, :1]
    tint = 1 + 0.12 * (2 * draws[:, 1:4] - 1)
    light[:, 0] = level * tint / SH_CONSTANTS[0]
    direction = F.normalize(torch.stack([2 * draws[:, 4] - 1, 1.4 * draws[:, 5] - 0.4, 0.2 + draws[:, 6]], 1), dim=1)
    lamp = (0.1 + 0.4 * draws[:, 7:8]) * direction / SH_CONSTANTS[1]
    lamp_tint = 1 + 0.15 * (2 * draws[:, 8:11] - 1)
    light[:, 1:4] = lamp[..., None] * lamp_tint[:, None]
    light[:, 4:] = 0.05 * (2 * draws[:, 11:26].reshape(-1, 5, 3) - 1)
    return light


def hard_lighting(draws: Draws, light: Float[Tensor, "B 9 3"], share: float) -> Float[Tensor, "B 9 3"]:
    """The same light, and of a share of the faces that of one hard lamp from the front hemisphere, which may dazzle."""
    level, lamp = draws.uniform(0.2, 0.55), draws.uniform(0.35, 0.85)
    direction = F.normalize(torch.cat([draws.uniform(-1.0, 1.0, 2), draws.uniform(-0.1, 0.8, 1)], 1), dim=1)
    tints = 1 + draws.uniform(-0.25, 0.25, 2, 3)
    hard = torch.zeros_like(light)
    hard[:, 0] = level[:, None] * tints[:, 0] / SH_CONSTANTS[0]
    hard[:, 1:4] = (lamp[:, None] * direction / SH_CONSTANTS[1])[..., None] * tints[:, 1:]
    return torch.where(draws.chance(share)[:, None, None], hard, light)


def camera_around(landmarks: Float[Tensor, "B L 3"], draws: Float[Tensor, "B 10"]) -> PerspectiveCamera:
    """A camera that frames the face as the shared crop does, with jitter in distance, place and focal length."""
    low, high = landmarks.amin(1), landmarks.amax(1)
    side = (high - low)[:, :2].mean(1)
    middle = (high + low) / 2
    focal = 3.0 + 7.0 * draws[:, 0]
    distance = focal * HALF_CROP * side * (0.9 + 0.25 * draws[:, 1])
    shift = 0.08 * side[:, None] * (2 * draws[:, 2:4] - 1)
    translation = torch.stack([shift[:, 0] - middle[:, 0], shift[:, 1] + middle[:, 1], distance + middle[:, 2]], dim=1)
    return PerspectiveCamera(focal[:, None].expand(-1, 2), torch.zeros(len(focal), 2), translation)


def backgrounds(draws: Float[Tensor, "B 100"], size: int) -> Float[Tensor, "B 3 S S"]:
    """Smooth colour fields of random coarseness: 2x2 to 5x5 random colours, enlarged."""
    coarse = draws[:, :75].reshape(-1, 3, 5, 5)
    bicubic, bilinear = enlargement(5, size, "bicubic"), enlargement(2, size, "bilinear")
    blend = draws[:, 75, None, None, None]
    fine = bicubic @ (blend * coarse) @ bicubic.mT
    return torch.addcmul(fine, 1 - blend, bilinear @ coarse[..., :2, :2] @ bilinear.mT).clamp_(0, 1)


@cache
def enlargement(count: int, size: int, mode: str) -> Float[Tensor, "S N"]:
    """Interpolation of a few samples along a line, corner to corner, as a matrix: on both axes, two small products."""
    unit = torch.eye(count).reshape(1, count, count, 1)
    return F.interpolate(unit, (size, 1), mode=mode, align_corners=True).reshape(count, size).mT.contiguous()


def photograph(
    rendering: Rendering, background: Float[Tensor, "B 3 S S"], draws: Float[Tensor, "B 10"]
) -> Float[Tensor, "B 3 S S"]:
    """The face over the background, with exposure, contrast and sensor noise, in [0, 1]."""
    noise = _noise(rendering.image, draws[:, 3])
    contrast, brightness, grain = (draws[:, column, None, None, None] for column in range(3))
    contrast, brightness, grain = 0.85 + 0.3 * contrast, 0.35 + 0.1 * brightness, 0.03 * grain
    picture = torch.where(rendering.mask > 0, rendering.image, background)
    return torch.addcmul(brightness - 0.4 * contrast, picture, contrast).addcmul_(noise, grain).clamp_(0, 1)


def _noise(picture: Float[Tensor, "B 3 S S"], draws: Float[Tensor, "B"]) -> Float[Tensor, "B 3 S S"]:
    """White noise that depends on the face alone: a shared field, shifted by a random amount for each face."""
    size = picture.shape[-1]
    field = _noise_field(2 * size)
    places = (draws * size * size).long()
    return torch.stack([field[:, p // size : p // size + size, p % size : p % size + size] for p in places.tolist()])


@cache
def _noise_field(size: int) -> Float[Tensor, "3 S S"]:
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(0))
