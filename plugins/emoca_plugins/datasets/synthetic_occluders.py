"""What is between a face and its photographer: hands, things, shadows."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_plugins.datasets.synthetic_draws import Draws
from emoca_plugins.datasets.synthetic_shapes import capsules, coverage, pixel_places, rounded_boxes

FINGERS = 4
Layer = tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]
"""Colours, and how much they hide."""


def draw_occluders(
    draws: Draws, landmarks: Float[Tensor, "B 68 2"], skin: Float[Tensor, "B 3"], share: float, size: int
) -> Layer:
    """A hand or another thing that covers some landmark of the face, of a share of the faces.

    Args:
        draws: The randomness.
        landmarks: NDC.
        skin: Mean colour of the face as the picture shows it.
        share: Of the faces.
        size: Side of the picture, pixels.
    """
    present, hand = draws.chance(share), draws.chance(0.5)
    rows = torch.arange(len(landmarks))
    target = landmarks[rows, draws.choice(68)] + draws.uniform(-0.15, 0.15, 2)
    face = (landmarks.amax(1) - landmarks.amin(1)).mean(1)
    colour, alpha = torch.zeros(len(landmarks), 3, size, size), torch.zeros(len(landmarks), 1, size, size)
    if (some := present & hand).any():
        colour[some], alpha[some] = _hands(draws.only(some), target[some], face[some], skin[some], size)
    if (some := present & ~hand).any():
        colour[some], alpha[some] = _things(draws.only(some), target[some], face[some], size)
    return colour, alpha


def _hands(
    draws: Draws, target: Float[Tensor, "B 2"], face: Float[Tensor, "B"], skin: Float[Tensor, "B 3"], size: int
) -> Layer:
    """Fingers that end near the target, and the palm that they come from: lit bars of the face's or another's skin."""
    angle = draws.uniform(-2.6, 2.6)  # of the palm as seen from the finger tips; 0 is below
    towards = torch.stack([angle.sin(), angle.cos()], 1)
    beside = torch.stack([towards[:, 1], -towards[:, 0]], 1)
    thick = face * draws.uniform(0.045, 0.075)
    spread = draws.uniform(1.7, 2.6)
    step = (torch.arange(FINGERS) - (FINGERS - 1) / 2) * (spread * thick)[:, None]
    tips = (
        target[:, None] + step[..., None] * beside[:, None] + draws.uniform(-0.05, 0.12, FINGERS, 1) * towards[:, None]
    )
    knuckles = target[:, None] + face[:, None, None] * 0.5 * towards[:, None] + 0.85 * step[..., None] * beside[:, None]
    palm = torch.stack([target + face[:, None] * 0.68 * towards, target + face[:, None] * 1.6 * towards], 1)
    distance = capsules(torch.stack([tips, knuckles], 2), thick[:, None].expand(-1, FINGERS), size)
    palm_distance = capsules(palm[:, None], (thick * 3.4)[:, None], size)
    distance = torch.cat([distance, palm_distance], 1)
    radius = torch.cat([thick[:, None].expand(-1, FINGERS), 3.4 * thick[:, None]], 1)
    depth = (-distance / radius[..., None, None]).clamp(0, 1)
    light = (0.35 + 0.65 * (1 - (1 - depth) ** 2).clamp(min=0).sqrt()) * coverage(distance).ceil()
    other = torch.where(draws.chance(0.3)[:, None], draws.uniform(0.5, 1.6, 1), draws.uniform(0.85, 1.2, 1))
    colour = (skin * other)[:, :, None, None] * light.amax(1, keepdim=True)
    return colour.clamp(0, 1), coverage(distance).amax(1, keepdim=True)


def _things(draws: Draws, target: Float[Tensor, "B 2"], face: Float[Tensor, "B"], size: int) -> Layer:
    """A box, disc or pill of any colour, striped or not, shaded across."""
    half = face[:, None] * draws.uniform(0.06, 0.5, 2)
    shift = half * draws.uniform(-1.0, 1.0, 2)
    angle, roundness = draws.uniform(-1.6, 1.6), draws.uniform()
    one = [value[:, None] for value in (target + shift, half, angle, roundness)]
    distance = rounded_boxes(one[0], one[1], one[2], one[3], size)
    x, y = pixel_places(size)
    across = x * _flat(angle.cos()) + y * _flat(angle.sin())
    stripes = 1 + 0.4 * _flat(draws.uniform() * draws.chance(0.4)) * (across * _flat(draws.uniform(8.0, 60.0))).sin()
    shade = stripes * (1 + _flat(draws.uniform(-0.6, 0.6)) * across)
    colour = draws.uniform(0.0, 1.0, 3)[:, :, None, None] * shade[:, None]
    return colour.clamp(0, 1), coverage(distance)


def draw_shadows(draws: Draws, landmarks: Float[Tensor, "B 68 2"], share: float, size: int) -> Float[Tensor, "B 1 S S"]:
    """Factors of light: an edge, a bar, or stripes across a share of the faces; 1 where there is no shadow."""
    light = torch.ones(len(landmarks), 1, size, size)
    if (some := draws.chance(share)).any():
        light[some] = _shadows(draws.only(some), landmarks[some].mean(1), size)
    return light


def _shadows(draws: Draws, middle: Float[Tensor, "B 2"], size: int) -> Float[Tensor, "B 1 S S"]:
    x, y = pixel_places(size)
    angle, depth, kind = draws.uniform(-3.14, 3.14), draws.uniform(0.25, 0.75), draws.choice(3)
    middle = middle + draws.uniform(-0.4, 0.4, 2)
    cosine, sine = _flat(angle.cos()), _flat(angle.sin())
    across = (x - _flat(middle[:, 0])) * cosine + (y - _flat(middle[:, 1])) * sine
    waves = (_flat(draws.uniform(3.0, 12.0)) * (x * sine - y * cosine)).sin()
    across = across + _flat(draws.uniform(0.0, 0.08)) * waves
    soft, width = _flat(draws.uniform(0.02, 0.25)), _flat(draws.uniform(0.1, 0.5))
    edge = torch.sigmoid(4 * across / soft)
    bar = torch.sigmoid(4 * (width - across.abs()) / soft)
    stripes = torch.sigmoid((across * 3.14 / width).sin() * width / soft)
    dark = torch.stack([edge, bar, stripes], 1)[torch.arange(len(kind)), kind]
    return 1 - (_flat(depth) * dark)[:, None]


def hidden_points(hidden: Float[Tensor, "B 1 S S"], points: Float[Tensor, "B L 2"]) -> Bool[Tensor, "B L"]:
    """Which points, NDC, lie where a picture of hidden places is above one half."""
    return F.grid_sample(hidden, points[:, :, None], align_corners=False)[:, 0, :, 0] > 0.5


def _flat(values: Tensor) -> Tensor:
    return values[:, None, None]
