"""The texture atlas: an upright, magnified head chart around the nose, and small islands for everything inside.

Coordinates are OBJ-like: u right, v up, [0, 1].
"""

from dataclasses import dataclass

import numpy as np

from tools.open_head.head_mesh import SIDES, HeadMesh

HEAD_BOX = (0.01, 0.14, 0.99, 0.99)
"""u0, v0, u1, v1."""
MAGNIFICATION = 0.55
"""Radii are taken to this power, which gives the face about half of the atlas' width."""
ISLANDS: dict[str, tuple[float, float, float, float]] = {
    "mouth_cavity": (0.02, 0.02, 0.14, 0.12),
    "tongue": (0.15, 0.02, 0.20, 0.12),
    "teeth_upper": (0.22, 0.075, 0.37, 0.12),
    "teeth_lower": (0.22, 0.02, 0.37, 0.065),
    "gums_upper": (0.38, 0.075, 0.53, 0.12),
    "gums_lower": (0.38, 0.02, 0.53, 0.065),
    "eye_left": (0.56, 0.005, 0.69, 0.135),
    "eye_right": (0.71, 0.005, 0.84, 0.135),
    "conjunctiva_left": (0.86, 0.02, 0.91, 0.12),
    "conjunctiva_right": (0.93, 0.02, 0.98, 0.12),
}
EYE_RADIUS_POWER = 0.6
"""In the polar eye maps, radius = (angle from the gaze axis / 180 degrees) ** 0.6: the iris gets a third of it."""


@dataclass(frozen=True)
class Atlas:
    """Texture coordinates [U, 2] and triangles [F, 3] into them."""

    uv: np.ndarray
    faces: np.ndarray


def build_atlas(mesh: HeadMesh, mean: np.ndarray, face_mask: np.ndarray) -> Atlas:
    """Lay out every triangle corner and merge corners of an island that coincide."""
    corners = np.zeros((*mesh.faces.shape, 2))
    head = np.isin(mesh.face_part, ["skin", "neck"])
    corners[head] = _head_chart(mesh, mean, face_mask, head)
    for part, box in ISLANDS.items():
        own = mesh.face_part == part
        corners[own] = _into_box(_raw_island(mesh, mean, part, own), box, square=part.startswith("eye_"))
    island = np.searchsorted(np.unique(mesh.face_part), mesh.face_part)
    island[head] = -1
    keys = np.concatenate([np.repeat(island, 3)[:, None], np.round(corners.reshape(-1, 2), 6)], 1)
    unique, index = np.unique(keys, axis=0, return_inverse=True)
    return Atlas(unique[:, 1:], index.reshape(-1, 3))


def _head_chart(mesh: HeadMesh, mean: np.ndarray, face_mask: np.ndarray, head: np.ndarray) -> np.ndarray:
    """MakeHuman's head chart (which lies on its side) turned upright, magnified around the nose tip."""
    source = mesh.source_uv[head]
    vertex = mesh.faces[head]
    in_face = face_mask[vertex]
    tip = np.unravel_index(np.where(in_face, mean[vertex][..., 2], -np.inf).argmax(), vertex.shape)
    offset = source - source[tip]
    # u of the atlas grows with mesh x, v with mesh y
    sign_u = np.sign(np.corrcoef(source[in_face][:, 1], mean[vertex[in_face], 0])[0, 1])
    sign_v = np.sign(np.corrcoef(source[in_face][:, 0], mean[vertex[in_face], 1])[0, 1])
    upright = np.stack([sign_u * offset[..., 1], sign_v * offset[..., 0]], -1)
    upright /= np.abs(upright).max((0, 1))
    radius = np.linalg.norm(upright, axis=-1, keepdims=True) + 1e-9
    return _into_box(upright / radius * radius**MAGNIFICATION, HEAD_BOX)


def _raw_island(mesh: HeadMesh, mean: np.ndarray, part: str, own: np.ndarray) -> np.ndarray:
    vertex = mesh.faces[own]
    points = mean[vertex]
    if part.startswith("eye_"):
        first = mesh.ball[part.removeprefix("eye_")]
        ball = mean[np.unique(vertex)]
        direction = points - (mean[first] + ball[-1]) / 2
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        angle = np.arccos(np.clip(direction[..., 2:], -1, 1)) / np.pi
        return _around_axis(direction[..., :2]) * angle**EYE_RADIUS_POWER
    if part.startswith(("teeth", "gums")):
        x, y, z = np.moveaxis(points, -1, 0)  # seen from above: the baked darkness depends on depth alone
        return np.stack([x, z + 0.2 * y], -1)
    if part.startswith("conjunctiva"):
        side = next(s for s in SIDES if part.endswith(s))
        return _strip_coordinates(mesh, side, vertex)
    return mesh.source_uv[own]


def _around_axis(across: np.ndarray) -> np.ndarray:
    """Unit vectors [F, 3, 2] away from the gaze axis.

    The pole at the back has no direction of its own: in each triangle it lies between the other two corners, so that
    the fan around it unfolds instead of crossing the island.
    """
    pole = np.linalg.norm(across, axis=-1, keepdims=True) < 1e-3
    away = np.where(pole, 0.0, across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9))
    between = away.sum(1, keepdims=True)
    between /= np.maximum(np.linalg.norm(between, axis=-1, keepdims=True), 1e-9)
    unfolded: np.ndarray = np.where(pole, between, away)
    return unfolded


def _strip_coordinates(mesh: HeadMesh, side: str, vertex: np.ndarray) -> np.ndarray:
    """u: 0 at the lid, 1 under the ball; v: around the eye."""
    rim = mesh.lid_rim[side]
    place = np.zeros((mesh.vertex_count, 2))
    steps = np.arange(len(rim)) / len(rim)
    place[rim, 1] = place[mesh.strip[side] : mesh.strip[side] + len(rim), 1] = steps
    place[mesh.strip[side] : mesh.strip[side] + len(rim), 0] = 1
    corners = place[vertex]
    wraps = np.ptp(corners[..., 1], axis=1, keepdims=True) > 0.5  # the quad from the last rim vertex to the first
    corners[..., 1] += wraps & (corners[..., 1] < 0.5)
    return corners


def _into_box(raw: np.ndarray, box: tuple[float, float, float, float], square: bool = False) -> np.ndarray:
    low, high = (-1.0, 1.0) if square else (raw.min((0, 1)), raw.max((0, 1)))
    placed: np.ndarray = np.array(box[:2]) + (raw - low) / (high - low) * (np.array(box[2:]) - box[:2])
    return placed
