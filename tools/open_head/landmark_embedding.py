"""Landmarks as triangles + barycentric weights: a frozen table, iris points, and the contour for every yaw.

`data/landmarks.json` holds [hm08 vertex x 3, weight x 3] per point. It was derived once from MediaPipe detections on
renders of random heads (median over identities, mirrored, snapped to lid rims, lip borders and brow line). The 51 inner
iBUG points are the MediaPipe points that stand for them (`MEDIAPIPE_TO_IBUG68`), so that a detected and a modelled
point are the same place of the face.
"""

import json
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from tools.open_head import eyes
from tools.open_head.head_mesh import DATA, SIDES, HeadMesh

MAX_YAW = 39
CONTOUR_POINTS = 17
RAYS = 181
"""Sections through the face, from the right ear over the chin to the left ear, in which the outline is searched."""
RAY_STEPS = 160
CENTRE_DEPTH = 0.045
"""Where the rays start, metres behind the outer eye corners."""
FIRST_TILT, CHIN_TILT, LAST_TILT = 30.0, 15.0, 105.0
"""Degrees between the face's axis and a ray: first one (more towards the chin, beyond the lips), last one."""
VISIBLE, CHIN_VISIBLE = 0.02, 0.45
"""cos between normal and view direction from which a surface counts as seen, at the sides and below the chin.

Below the chin the true outline lies far back on skin that does not follow the jaw; the chin's edge, 2 mm higher, does.
"""


@dataclass(frozen=True)
class Embedding:
    """Triangles [L] and weights [L, 3] of points on the surface; tables carry a leading row axis."""

    triangle: np.ndarray
    weights: np.ndarray

    def on(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The points on given vertices [V, 3]."""
        points: np.ndarray = (vertices[faces[self.triangle]] * self.weights[..., None]).sum(-2)
        return points


def frozen_embedding(mesh: HeadMesh, name: str) -> Embedding:
    """One of the tables of `data/landmarks.json`."""
    rows = json.loads((DATA / "landmarks.json").read_text())[name]
    head_row = {int(v): i for i, v in enumerate(mesh.copied)}
    triangle_of = {tuple(sorted(map(int, t))): (i, list(map(int, t))) for i, t in enumerate(mesh.faces)}
    triangles, weights = [], []
    for a, b, c, *w in rows:
        corners = [head_row[int(v)] for v in (a, b, c)]
        index, order = triangle_of[tuple(sorted(corners))]
        triangles.append(index)
        weights.append([w[corners.index(v)] for v in order])
    table = np.array(weights)
    return Embedding(np.array(triangles), table / table.sum(1, keepdims=True))


def mediapipe478(mesh: HeadMesh) -> Embedding:
    """The 468 face points, then five points of the subject's right and five of the left iris."""
    face = frozen_embedding(mesh, "mediapipe468")
    triangles, weights = [], []
    for side in ("right", "left"):
        for vertex in mesh.ball[side] + eyes.iris_vertices():
            index = int(np.flatnonzero((mesh.faces == vertex).any(1))[0])
            triangles.append(index)
            weights.append((mesh.faces[index] == vertex).astype(float))
    return Embedding(np.r_[face.triangle, triangles], np.concatenate([face.weights, weights]))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V, 3]."""
    p = vertices[faces]
    cross = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], cross)
    normals: np.ndarray = total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)
    return normals


class Surface:
    """Closest points on a set of triangles."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, members: np.ndarray) -> None:
        self.vertices, self.faces, self.members = vertices, faces, members
        self.tree = cKDTree(vertices[faces[members]].mean(1))

    def closest(self, points: np.ndarray, candidates: int = 24) -> Embedding:
        """Closest surface point of each point among the nearest triangles; weights clamped to the triangle."""
        nearest = self.members[self.tree.query(points, candidates)[1]]
        corner = self.vertices[self.faces[nearest]]
        e0, e1 = corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0]
        w = points[:, None] - corner[:, :, 0]
        dot = lambda a, b: (a * b).sum(-1)  # noqa: E731
        det = dot(e0, e0) * dot(e1, e1) - dot(e0, e1) ** 2 + 1e-20
        b1 = (dot(e1, e1) * dot(w, e0) - dot(e0, e1) * dot(w, e1)) / det
        b2 = (dot(e0, e0) * dot(w, e1) - dot(e0, e1) * dot(w, e0)) / det
        weights = np.clip(np.stack([1 - b1 - b2, b1, b2], -1), 0, None)
        weights /= weights.sum(-1, keepdims=True)
        distance = np.linalg.norm((weights[..., None] * corner).sum(2) - points[:, None], axis=-1)
        best = distance.argmin(1)
        rows = np.arange(len(points))
        return Embedding(nearest[rows, best], weights[rows, best])


def contour_table(mesh: HeadMesh, mean: np.ndarray, face: np.ndarray, ibug: np.ndarray) -> Embedding:
    """Jaw contour points for yaw 0..39 and -1..-39 degrees: triangles [79, 17], weights [79, 17, 3].

    The face is cut by half planes that fan out from an axis through its middle, parallel to the view direction. In
    each half plane the outline is the first place, walking outward, where the surface turns away from the viewer, or
    where the face mask ends: at the ear and at the jaw bone. On the side turned to the viewer the outline of the
    frontal view, the jaw bone, is kept. The outline is then divided evenly from ear to chin, as annotators do.
    """
    curves = _radial_curves(mesh, mean, face, ibug)
    frontal = curves.outline(0.0, None)
    tables = {}
    for yaw in range(-MAX_YAW, MAX_YAW + 1):
        points = curves.points(curves.outline(np.deg2rad(yaw), frontal))
        tables[yaw] = _divide_evenly(points, np.deg2rad(yaw))
    order = [*range(MAX_YAW + 1), *range(-1, -MAX_YAW - 1, -1)]
    # the table of a yaw and the mirrored table of the opposite yaw agree up to sampling: make them agree exactly
    flip = np.array([-1, 1, 1])
    points = np.stack([(tables[yaw] + tables[-yaw][::-1] * flip) / 2 for yaw in order])
    skin = np.flatnonzero(mesh.face_part == "skin")
    found = Surface(mean, mesh.faces, skin).closest(points.reshape(-1, 3))
    shape = (len(order), CONTOUR_POINTS)
    return Embedding(found.triangle.reshape(shape), found.weights.reshape(*shape, 3))


@dataclass(frozen=True)
class RadialCurves:
    """Surface curves [RAYS, RAY_STEPS] from the middle of the face outward.

    `last` is the step where each one must end, `visible` the cosine from which it counts as seen.
    """

    position: np.ndarray
    normal: np.ndarray
    last: np.ndarray
    visible: np.ndarray

    def outline(self, yaw: float, frontal: np.ndarray | None) -> np.ndarray:
        """Step index [RAYS] at which each curve meets the outline seen from the given yaw."""
        towards_viewer = np.array([-np.sin(yaw), 0, np.cos(yaw)])
        hidden = self.normal @ towards_viewer < self.visible[:, None]
        first = np.where(hidden.any(1), hidden.argmax(1), RAY_STEPS - 1)
        return np.minimum(first, self.last if frontal is None else frontal)

    def points(self, step: np.ndarray) -> np.ndarray:
        """Positions [RAYS, 3] of one step of every curve."""
        picked: np.ndarray = self.position[np.arange(RAYS), step]
        return picked


def _radial_curves(mesh: HeadMesh, mean: np.ndarray, face: np.ndarray, ibug: np.ndarray) -> RadialCurves:
    """Sample each half plane's surface curve by rays from a point inside the head, from the cheek outward."""
    centre = np.array([0.0, ibug[33, 1], ibug[[36, 45], 2].mean() - CENTRE_DEPTH])
    rise = np.arctan2(ibug[27, 1] - centre[1], np.abs(ibug[[0, 16], 0]).mean())
    angles = np.linspace(np.pi - rise, 2 * np.pi + rise, RAYS)
    outward = np.stack([np.cos(angles), np.sin(angles), np.zeros(RAYS)], 1)
    first_tilt = np.deg2rad(FIRST_TILT + CHIN_TILT * np.maximum(-np.sin(angles), 0))
    tilt = first_tilt[:, None] + (np.deg2rad(LAST_TILT) - first_tilt)[:, None] * np.linspace(0, 1, RAY_STEPS)
    directions = np.cos(tilt)[..., None] * [0, 0, 1] + np.sin(tilt)[..., None] * outward[:, None]
    closing = np.isin(mesh.face_part, ["mouth_cavity", *[f"{p}_{s}" for p in ("eye", "conjunctiva") for s in SIDES]])
    skin = np.isin(mesh.face_part, ["skin", "neck"])
    solid = mesh.faces[skin | closing]
    triangle, weights = _farthest_hits(mean[solid], centre, directions.reshape(-1, 3))
    corner = solid[triangle]
    shape = (RAYS, RAY_STEPS)
    position = (mean[corner] * weights[..., None]).sum(1).reshape(*shape, 3)
    normal = (vertex_normals(mean, mesh.faces[skin])[corner] * weights[..., None]).sum(1)
    opening = closing[skin | closing][triangle]
    normal[opening] = [0, 0, 1]  # eyes and mouth never end the face
    normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).reshape(*shape, 3)
    outside = ~(face[corner].all(1) | opening).reshape(shape)
    last = np.where(outside.any(1), outside.argmax(1) - 1, RAY_STEPS - 1)
    visible = VISIBLE + (CHIN_VISIBLE - VISIBLE) * np.clip(-np.sin(angles), 0, 1) ** 4
    return RadialCurves(position, normal, np.maximum(last, 0), visible)


def _farthest_hits(
    corners: np.ndarray, origin: np.ndarray, directions: np.ndarray, block: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Outermost triangle hit by each ray: indices [N] and barycentric weights [N, 3]."""
    a, e0, e1 = corners[:, 0] - origin, corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(e0, e1)
    offset = (normal * a).sum(1)
    triangles, weights = [], []
    for start in range(0, len(directions), block):
        rays = directions[start : start + block]
        slope = rays @ normal.T  # cosine times area; zero for parallel rays
        with np.errstate(divide="ignore", invalid="ignore"):
            t = offset / slope
            b1 = (rays @ np.cross(e1, a).T) / slope
            b2 = (rays @ np.cross(a, e0).T) / slope
            inside = (t > 0) & (b1 >= -1e-9) & (b2 >= -1e-9) & (b1 + b2 <= 1 + 1e-9)
        best = np.where(inside, t, -1).argmax(1)
        rows = np.arange(len(rays))
        if not inside[rows, best].all():
            raise ValueError("a ray of the contour search misses the head")
        triangles.append(best)
        w1, w2 = b1[rows, best], b2[rows, best]
        weights.append(np.stack([1 - w1 - w2, w1, w2], 1))
    return np.concatenate(triangles), np.concatenate(weights)


def _divide_evenly(outline: np.ndarray, yaw: float) -> np.ndarray:
    """17 points [17, 3]: eight equal steps of projected length from each ear to the chin."""
    chin = RAYS // 2
    across = outline @ [np.cos(yaw), 0, np.sin(yaw)]
    seen = np.stack([across, outline[:, 1]], 1)
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(seen, axis=0), axis=1))]
    at = np.r_[np.linspace(0, length[chin], 9), np.linspace(length[chin], length[-1], 9)[1:]]
    return np.stack([np.interp(at, length, outline[:, c]) for c in range(3)], 1)
