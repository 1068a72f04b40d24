"""Things around a head as small meshes: glasses, brims, long hair, shoulders. What is nearer hides what is farther.

Every thing is a sheet, a grid of points. Lengths are metres in the axes of the head, from the middle between the eyes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emoca_core.geometry.lighting import irradiance_image
from emoca_core.geometry.normals import vertex_normals
from emoca_core.interfaces import Fragments, PerspectiveCamera, Renderer
from emoca_plugins.datasets.synthetic_draws import Draws
from emoca_plugins.datasets.synthetic_hair import Cap

EYES = (slice(36, 42), slice(42, 48))
"""iBUG points of the right and the left eye."""
BRIDGE = 27
RIM = 24
"""Points around a lens."""
SHOULDERS = ((0.045, 0.045, 0.015), (0.06, 0.055, 0.0), (0.12, 0.08, -0.025), (0.19, 0.1, -0.055), (0.2, 0.11, -0.4))
"""Half width, half depth and height of rings from the collar downwards, metres from the base of the neck."""


@dataclass(frozen=True)
class Head:
    """Where a posed head is.

    Attributes:
        rotation: From its axes to model space.
        origin: Middle between the eyes, metres.
        landmarks: iBUG points in its axes.
        ears: Middle of the right and the left ear in its axes.
        neck: Base of the neck in model space.
    """

    rotation: Float[Tensor, "B 3 3"]
    origin: Float[Tensor, "B 3"]
    landmarks: Float[Tensor, "B 68 3"]
    ears: Float[Tensor, "B 2 3"]
    neck: Float[Tensor, "B 3"]

    @classmethod
    def of(
        cls,
        rotation: Float[Tensor, "B 3 3"],
        landmarks: Float[Tensor, "B 68 3"],
        ears: Float[Tensor, "B 2 3"],
        neck: Float[Tensor, "B 3"],
    ) -> "Head":
        """From points in model space."""
        origin = landmarks[:, 36:48].mean(1)
        inside = [(points - origin[:, None]) @ rotation for points in (landmarks, ears)]
        return cls(rotation, origin, inside[0], inside[1], neck)

    def placed(self, points: Float[Tensor, "B R C 3"]) -> Float[Tensor, "B R C 3"]:
        """Points from its axes to model space."""
        return torch.einsum("bij,brcj->brci", self.rotation, points) + self.origin[:, None, None]


@dataclass(frozen=True)
class Sheet:
    """A grid of points in model space with reflectance and opacity; ``lens`` is the place in a lens, -1 to 1."""

    points: Float[Tensor, "B R C 3"]
    colour: Float[Tensor, "B 3"]
    opacity: Float[Tensor, "B"]
    worn: Bool[Tensor, "B"]
    lens: Float[Tensor, "R C 2"] | None = None


def draw_glasses(draws: Draws, head: Head, share: float) -> list[Sheet]:
    """Frames of any size and shape, temples to the ears, and lenses, clear or dark."""
    worn, dark = draws.chance(share), draws.chance(1 / 6)
    half = torch.stack([draws.uniform(0.021, 0.029), draws.uniform(0.014, 0.024)], 1)
    power, thick = draws.uniform(0.45, 1.0), draws.uniform(0.0012, 0.0045)
    rimless = draws.chance(0.15)
    colour = draws.uniform(0.0, 0.7, 3) * draws.uniform(0.0, 1.0, 1) + 0.02
    tint = draws.uniform(0.0, 0.25, 3)
    clear = draws.uniform(0.0, 0.12)
    front = torch.maximum(head.landmarks[:, BRIDGE, 2], head.landmarks[:, 36:48, 2].amax(1) + 0.012)
    turn = torch.linspace(0, 2 * torch.pi, RIM + 1)
    rim = torch.stack(
        [
            turn.cos().sign() * turn.cos().abs() ** power[:, None],
            turn.sin().sign() * turn.sin().abs() ** power[:, None],
        ],
        -1,
    )  # [B, R, 2]
    sheets = []
    for side, eye in zip((-1.0, 1.0), EYES, strict=True):
        middle = head.landmarks[:, eye, :2].mean(1) + draws.uniform(-0.002, 0.002, 2)
        inner = middle[:, None] + rim * half[:, None]
        outer = middle[:, None] + rim * (half + thick[:, None])[:, None]
        ring = _curved(torch.stack([inner, outer], 1), front)
        lens = _curved(torch.stack([middle[:, None].expand_as(inner), inner], 1), front - 0.001)
        places = torch.stack([torch.zeros(RIM + 1, 2), torch.stack([turn.cos(), turn.sin()], -1)])
        sheets.append(Sheet(head.placed(lens), tint, torch.where(dark, 0.9, clear), worn, places))
        sheets.append(Sheet(head.placed(ring), colour, torch.ones_like(front), worn & ~rimless))
        hinge = _curved((middle + half * torch.tensor([side, 0.35]))[:, None, None], front)[:, 0, 0]
        ear = head.ears[:, int(side > 0)] + torch.tensor([0.006 * side, 0.025, 0.0])
        sheets.append(Sheet(head.placed(_band(hinge, ear, thick + 0.002, 1)), colour, torch.ones_like(front), worn))
    ends = [
        head.landmarks[:, eye, :2].mean(1) - half * torch.tensor([side, -0.2])
        for side, eye in zip((-1.0, 1.0), EYES, strict=True)
    ]
    left, right = (torch.cat([end, front[:, None]], 1) for end in ends)
    sheets.append(Sheet(head.placed(_band(left, right, thick + 0.001, 1)), colour, torch.ones_like(front), worn))
    return sheets


def draw_brims(draws: Draws, head: Head, hats: Cap, worn: Bool[Tensor, "B"]) -> list[Sheet]:
    """A peak over the forehead, or a brim all around, of some of those who wear a hat."""
    around, has = draws.chance(0.35), draws.chance(0.7) & worn
    reach = torch.where(around, torch.pi, draws.uniform(0.8, 1.1))
    turn = torch.linspace(-1, 1, 25) * reach[:, None]
    width = (head.ears[:, 1, 0] - head.ears[:, 0, 0]) / 2
    back = head.ears[..., 2].mean(1)
    depth = 0.022 - back
    length = draws.uniform(0.035, 0.07)[:, None] * torch.where(
        around[:, None], 1.0, (turn / reach[:, None] * 1.5).cos().clamp(min=0)
    )
    level, fall = draws.uniform(0.045, 0.06), draws.uniform(-0.1, 0.5)
    rows = []
    for share in (0.0, 1.0):
        x = turn.sin() * (width[:, None] + 0.006 + share * length)
        z = turn.cos() * (depth[:, None] + 0.008 + share * length) + back[:, None]
        y = level[:, None] + 0.12 * z - share * fall[:, None] * length
        rows.append(torch.stack([x, y, z], -1))
    return [Sheet(head.placed(torch.stack(rows, 1)), 0.9 * hats.colour, torch.ones_like(level), has)]


def draw_long_hair(draws: Draws, head: Head, hair: Cap) -> list[Sheet]:
    """Hair that falls from the head beside and behind the face."""
    length, open_at = draws.uniform(0.05, 0.24), draws.uniform(1.25, 1.75)
    out = draws.uniform(0.004, 0.03)
    turn = torch.linspace(0, 1, 21) * (2 * torch.pi - 2 * open_at[:, None]) + open_at[:, None]
    width = (head.ears[:, 1, 0] - head.ears[:, 0, 0]) / 2
    back = head.ears[..., 2].mean(1)
    wave = 0.006 * (turn * draws.uniform(4.0, 14.0)[:, None]).cos()
    rows = []
    for share, wide in ((-0.2, 0.94), (0.1, 1.04), (0.4, 1.1), (0.7, 1.08), (1.0, 1.0)):
        x = turn.sin() * ((width + out)[:, None] * wide + wave)
        z = turn.cos() * ((0.095 + out)[:, None] * wide + wave) + back[:, None]
        y = 0.02 - share * length[:, None] + 0.25 * (share < 0) * (0.1 - z.abs()).clamp(min=0)
        rows.append(torch.stack([x, y, z], -1))
    return [Sheet(head.placed(torch.stack(rows, 1)), hair.colour, torch.ones_like(length), hair.long)]


def draw_clothes(draws: Draws, head: Head, share: float) -> list[Sheet]:
    """Shoulders in clothes, half turned with the head."""
    worn, size = draws.chance(share), draws.uniform(0.9, 1.15)
    turn = torch.linspace(-torch.pi, torch.pi, 21)
    yaw = torch.atan2(head.rotation[:, 0, 2], head.rotation[:, 2, 2]) * 0.4
    rise = draws.uniform(-0.02, 0.03)
    rows = []
    for half_width, half_depth, height in SHOULDERS:
        x, z = half_width * turn.sin(), half_depth * turn.cos()
        level = torch.full_like(x, height)
        rows.append(torch.stack([x, level, z], -1))
    points = torch.stack(rows) * size[:, None, None, None]
    cosine, sine = yaw.cos()[:, None, None], yaw.sin()[:, None, None]
    x, y, z = points.unbind(-1)
    turned = torch.stack([cosine * x + sine * z, y + rise[:, None, None], cosine * z - sine * x], -1)
    colour = draws.uniform(0.0, 1.0, 3) * draws.uniform(0.15, 0.95, 1)
    return [Sheet(turned + head.neck[:, None, None], colour, torch.ones_like(rise), worn)]


def render_sheets(
    renderer: Renderer,
    sheets: Sequence[Sheet],
    camera: PerspectiveCamera,
    lighting: Float[Tensor, "B 9 3"],
    head: Fragments,
    glare: Draws,
) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]:
    """Colours, lit, and opacity of sheets where they are nearer than the head."""
    points = torch.cat([s.points.where(s.worn[:, None, None, None], 0.0).flatten(1, 2) for s in sheets], 1)
    faces = _faces(tuple((s.points.shape[1], s.points.shape[2]) for s in sheets))
    height, width = head.depth.shape[1:]
    fragments = renderer.rasterize(camera.project(points), faces, (height, width))
    normals = vertex_normals(points, faces)
    normals = normals * torch.where(normals[..., 2:] < 0, -1.0, 1.0)  # both sides are lit
    attributes = torch.cat([torch.cat([_painted(s) for s in sheets], 1), normals], -1)
    image = renderer.interpolate(fragments, attributes)
    colour, opacity, lens, is_lens = image[:, :3], image[:, 3:4], image[:, 4:6], image[:, 6:7]
    lit = colour * irradiance_image(F.normalize(image[:, 7:], dim=1), lighting).clamp(min=0)
    shine = _glare(glare, lens) * (is_lens > 0.5)
    lit, opacity = lit.lerp(torch.ones_like(lit), shine), torch.maximum(opacity, shine)
    nearer = (fragments.triangles >= 0) & ((head.triangles < 0) | (fragments.depth < head.depth))
    return lit, opacity * nearer[:, None]


def _glare(draws: Draws, lens: Float[Tensor, "B 2 S S"]) -> Float[Tensor, "B 1 S S"]:
    """A lamp's streak on the lenses of every third pair."""
    angle, offset, width = draws.uniform(0.0, 3.14), draws.uniform(-0.7, 0.7), draws.uniform(0.1, 0.45)
    strength = draws.uniform(0.2, 0.9) * draws.chance(1 / 3)
    across = lens[:, :1] * _wide(angle.cos()) + lens[:, 1:] * _wide(angle.sin()) - _wide(offset)
    return _wide(strength) * (1 - (across / _wide(width)).square()).clamp(min=0)


def _painted(sheet: Sheet) -> Float[Tensor, "B N 7"]:
    """Colour, opacity, place in the lens, and whether it is one."""
    batch, rows, columns = sheet.points.shape[:3]
    colour = sheet.colour[:, None].expand(-1, rows * columns, -1)
    opacity = sheet.opacity[:, None, None].expand(-1, rows * columns, -1)
    if sheet.lens is None:
        return torch.cat([colour, opacity, colour.new_zeros(batch, rows * columns, 3)], -1)
    place = F.pad(sheet.lens.reshape(1, -1, 2), (0, 1), value=1.0).expand(batch, -1, -1)
    return torch.cat([colour, opacity, place], -1)


def _curved(flat: Float[Tensor, "B R C 2"], front: Float[Tensor, "B"]) -> Float[Tensor, "B R C 3"]:
    """Points of a frame that bends backwards at the temples."""
    bend = 6.0 * (flat[..., :1].abs() - 0.02).clamp(min=0) ** 2
    return torch.cat([flat, front[:, None, None, None] - bend], -1)


def _band(
    start: Float[Tensor, "B 3"], end: Float[Tensor, "B 3"], width: Float[Tensor, "B"], axis: int
) -> Float[Tensor, "B 2 2 3"]:
    """A straight strip between two points, ``width`` wide along an axis."""
    half = F.one_hot(torch.tensor(axis), 3) * width[:, None] / 2
    line = torch.stack([start, end], 1)
    return torch.stack([line - half[:, None], line + half[:, None]], 1)


@cache
def _faces(grids: tuple[tuple[int, int], ...]) -> Int[Tensor, "F 3"]:
    """Triangles of grids that lie one after the other."""
    faces, first = [], 0
    for rows, columns in grids:
        corner = first + (torch.arange(rows - 1)[:, None] * columns + torch.arange(columns - 1)).flatten()
        below = corner + columns
        faces += [torch.stack([corner, below, corner + 1], 1), torch.stack([corner + 1, below, below + 1], 1)]
        first += rows * columns
    return torch.cat(faces)


def _wide(values: Float[Tensor, "B"]) -> Float[Tensor, "B 1 1 1"]:
    return values[:, None, None, None]
