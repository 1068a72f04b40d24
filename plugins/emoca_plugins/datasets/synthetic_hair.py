"""Hair and hats that lie on the head: its own surface, raised and coloured from a line upwards.

Lengths are metres on the mean head, measured from the middle between its eyes: x left of the subject, y up, z out of
the face. So a hairline follows every person's own skull.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.interfaces import FaceModel, FaceParameters
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS
from emoca_plugins.datasets.synthetic_draws import Draws

HEAD_AXIS = -0.085
"""z of the vertical axis that angles around the head are measured about."""
HAIRLINE = ((0, 58), (35, 52), (55, 30), (70, 5), (80, -5), (90, 15), (110, 20), (125, -20), (150, -70), (180, -85))
"""Angle from the front (degrees) and height (mm) of an average hairline; it dips before and behind the ear."""
HAIR_COLOURS = (
    *((0.03, 0.025, 0.025), (0.05, 0.035, 0.03), (0.10, 0.065, 0.045), (0.17, 0.11, 0.07), (0.27, 0.17, 0.10)),
    *((0.40, 0.27, 0.16), (0.62, 0.46, 0.27), (0.38, 0.15, 0.07), (0.45, 0.44, 0.43), (0.75, 0.74, 0.72)),
)
"""Reflectance, black to white."""


@dataclass(frozen=True)
class HeadPlaces:
    """Where the vertices of the mean head are.

    Attributes:
        place: Metres, see the module.
        above_hairline: Metres above the average hairline; ears are far below it.
    """

    place: Float[Tensor, "V 3"]
    above_hairline: Float[Tensor, "V"]

    @classmethod
    def of(cls, face_model: FaceModel) -> "HeadPlaces":
        """Those of a face model; one that names no ears may have hair on them."""
        mean = face_model(FaceParameters(shape=torch.zeros(1, 1)))
        eyes = mean.landmarks["ibug68"][0, list(IBUG68_OUTER_EYE_CORNERS)].mean(0)
        place = mean.vertices[0] - eyes
        angle = torch.atan2(place[:, 0], place[:, 2] - HEAD_AXIS).abs().rad2deg()
        above = place[:, 1] - _between(angle, HAIRLINE) / 1000
        if (ears := face_model.vertex_masks.get("ears")) is not None:
            above = above.where(~ears, -0.1)
        return cls(place, above)


@dataclass(frozen=True)
class Cap:
    """Something on the head.

    Attributes:
        height: Of every vertex above the edge, metres; negative where there is nothing.
        raised: How far the surface is from the skin, metres.
        colour: Reflectance.
        softness: Width of the edge, metres.
        density: 1 hides the skin.
        strands: Contrast of the hair's or cloth's pattern.
        long: Whose hair falls down; of hats nobody's.
    """

    height: Float[Tensor, "B V"]
    raised: Float[Tensor, "B V"]
    colour: Float[Tensor, "B 3"]
    softness: Float[Tensor, "B"]
    density: Float[Tensor, "B"]
    strands: Float[Tensor, "B"]
    long: Bool[Tensor, "B"]


def draw_hair(draws: Draws, head: HeadPlaces, share: float) -> Cap:
    """Hair of any line, fringe, thickness and colour; a tenth is cropped close."""
    grows, cropped, long = draws.chance(share), draws.chance(0.1), draws.chance(0.5)
    angle = torch.atan2(head.place[:, 0], head.place[:, 2] - HEAD_AXIS)
    front = (1 - (angle / 1.1) ** 2).clamp(min=0)
    fringe = draws.uniform(-0.02, 0.015) + draws.chance(0.25) * draws.uniform(0.0, 0.04)
    side = draws.uniform(-0.8, 0.8)[:, None] * angle.sin()  # a parting
    waves = _waves(draws, head.place, 70.0)
    height = head.above_hairline + fringe[:, None] * front * (1 + side) + 0.004 * waves
    height = height.where(grows[:, None], -1.0)
    thickness = draws.uniform(0.003, 0.035) * ~cropped
    bumps = 1 + 0.25 * _waves(draws, head.place, 40.0) + 0.3 * side
    colours = torch.tensor(HAIR_COLOURS)[draws.choice(len(HAIR_COLOURS))]
    return Cap(
        height=height,
        raised=thickness[:, None] * bumps.clamp(min=0) * _rise(height / 0.03),
        colour=(colours * draws.uniform(0.7, 1.3, 3) ** 0.5 * draws.uniform(0.7, 1.3, 1)).clamp(0, 1),
        softness=draws.uniform(0.002, 0.012),
        density=torch.where(cropped, draws.uniform(0.2, 0.8), 1.0),
        strands=draws.uniform(0.1, 0.5),
        long=long & grows & ~cropped,
    )


def draw_hats(draws: Draws, head: HeadPlaces, share: float) -> Cap:
    """Caps and beanies: everything above a plane through forehead and back of the head."""
    worn, low = draws.chance(share), draws.chance(0.4)
    level = draws.uniform(0.035, 0.065) - 0.02 * low
    slope = draws.uniform(0.0, 0.35)
    height = head.place[:, 1] - level[:, None] - slope[:, None] * head.place[:, 2]
    ears = head.above_hairline <= -0.1 + 1e-6
    height = height.where(worn[:, None] & (~ears | low[:, None]), -1.0)
    thickness = draws.uniform(0.004, 0.02)
    return Cap(
        height=height,
        raised=thickness[:, None] * _rise(height / 0.008) * (1 + 0.08 * _waves(draws, head.place, 40.0)),
        colour=draws.uniform(0.0, 1.0, 3) * draws.uniform(0.2, 0.9, 1),
        softness=torch.full_like(level, 0.001),
        density=torch.ones_like(level),
        strands=draws.uniform(0.0, 0.4) * draws.chance(0.5),
        long=torch.zeros_like(worn),
    )


def cap_pictures(
    cap: Cap, height: Float[Tensor, "B 1 S S"], place: Float[Tensor, "B 3 S S"], mask: Float[Tensor, "B 1 S S"]
) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]:
    """Reflectance of a cap, and how much it hides of the skin, where a picture shows heights and places of the head."""
    angle = torch.atan2(place[:, 0], place[:, 2] - HEAD_AXIS) / torch.pi
    where = torch.stack([angle, place[:, 1] / 0.2], -1)
    strands = F.grid_sample(_strands().expand(len(angle), -1, -1, -1), where, align_corners=False)
    pattern = 1 + cap.strands[:, None, None, None] * strands
    hidden = torch.sigmoid(
        (height + 0.004 * strands * (cap.softness > 0.0015)[:, None, None, None]) / _wide(cap.softness)
    )
    return _wide(cap.colour) * pattern.clamp(min=0), hidden * _wide(cap.density) * mask


@cache
def _strands() -> Float[Tensor, "1 1 H W"]:
    """Noise that is fine around the head and coarse along its hair."""
    noise = torch.randn(1, 1, 12, 220, generator=torch.Generator().manual_seed(1))
    return F.interpolate(noise, (48, 220), mode="bilinear")


def _waves(draws: Draws, place: Float[Tensor, "V 3"], frequency: float) -> Float[Tensor, "B V"]:
    """Smooth noise over the head, about -1 to 1; ``frequency`` in radians a metre."""
    directions, phases = frequency * draws.normal(3, 3), draws.uniform(0.0, 2 * torch.pi, 3, 1)
    return (directions @ place.T + phases).cos().mean(1)


def _rise(share: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)


def _between(at: Float[Tensor, "V"], table: tuple[tuple[int, int], ...]) -> Float[Tensor, "V"]:
    """Linear interpolation in a table of (at, value)."""
    known, values = (torch.tensor(column, dtype=at.dtype) for column in zip(*table, strict=True))
    right = torch.searchsorted(known, at.contiguous()).clamp(1, len(known) - 1)
    share = (at - known[right - 1]) / (known[right] - known[right - 1])
    return values[right - 1].lerp(values[right], share.clamp(0, 1))


def _wide(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1, 1, 1)
