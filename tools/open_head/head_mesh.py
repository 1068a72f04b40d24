"""The open head's vertices and triangles: a frozen selection of hm08 polygons plus our own eyes and teeth."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.open_head import eyes
from tools.open_head.sources import BaseMesh
from tools.open_head.teeth import Teeth, affine_carrier

DATA = Path(__file__).parent / "data"
SIDES = ("left", "right")


@dataclass(frozen=True)
class HeadMesh:
    """Topology, and how every vertex follows from hm08 vertices.

    Attributes:
        copied: [N] hm08 ids of the vertices taken as they are; they come first.
        faces: [F, 3] triangles of the whole head.
        face_part: [F] name of each triangle's part.
        source_uv: [F, 3, 2] MakeHuman texture coordinates, NaN where there are none.
        vertex_part: [V] name of each vertex' part.
        ball: first vertex of each side's eyeball.
        strip: first vertex of each side's hidden conjunctiva ring.
        strip_direction: per side [R, 3].
        lid_rim: per side [R] head vertices of the inner lid rim, in order around the eye.
        teeth: teeth and gums; their vertices come last, from `first_tooth`.
    """

    base: BaseMesh
    copied: np.ndarray
    faces: np.ndarray
    face_part: np.ndarray
    source_uv: np.ndarray
    vertex_part: np.ndarray
    ball: dict[str, int]
    strip: dict[str, int]
    strip_direction: dict[str, np.ndarray]
    lid_rim: dict[str, np.ndarray]
    teeth: Teeth
    first_tooth: int

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.vertex_part)

    @property
    def needed(self) -> np.ndarray:
        """hm08 vertices that `assemble` reads."""
        helpers = [self.base.group_vertices(f"helper-{s}") for s in ("l-eye", "r-eye", "upper-teeth", "lower-teeth")]
        cubes = [self.base.group_vertices(f"joint-{n}") for n in ("neck", "head", "mouth")]
        return np.unique(np.concatenate([self.copied, *helpers, *cubes]))

    def assemble(self, base_vertices: np.ndarray, needed: np.ndarray) -> np.ndarray:
        """Head vertices [n, V, 3] from positions [n, len(needed), 3] of the needed hm08 vertices."""
        row = _rows(needed, len(self.base.vertices))
        head = np.empty((len(base_vertices), self.vertex_count, 3), base_vertices.dtype)
        head[:, : len(self.copied)] = base_vertices[:, row[self.copied]]
        directions, _ = eyes.ball()
        for side in SIDES:
            old = base_vertices[:, row[self.base.group_vertices(f"helper-{side[0]}-eye")]]
            place = eyes.place_ball(old, head[:, self.lid_rim[side]])
            for first, rays in (
                (self.ball[side], directions),
                (self.strip[side], eyes.STRIP_DEPTH * self.strip_direction[side]),
            ):
                block = place.centre[:, None] + place.radius[:, None, None] * rays
                head[:, first : first + len(rays)] = block
        for jaw, members in (("upper", self.teeth.upper), ("lower", ~self.teeth.upper)):
            head[:, self.first_tooth + np.flatnonzero(members)] = self._carried(base_vertices, row, jaw, members)
        return head

    def assemble_displacement(self, displacement: np.ndarray, needed: np.ndarray) -> np.ndarray:
        """Head displacements [n, V, 3] of expression targets. Eyeballs and upper teeth do not follow expressions."""
        row = _rows(needed, len(self.base.vertices))
        head = np.zeros((len(displacement), self.vertex_count, 3), displacement.dtype)
        head[:, : len(self.copied)] = displacement[:, row[self.copied]]
        lower = ~self.teeth.upper
        head[:, self.first_tooth + np.flatnonzero(lower)] = self._carried(displacement, row, "lower", lower)
        return head

    def _carried(self, values: np.ndarray, row: np.ndarray, jaw: str, members: np.ndarray) -> np.ndarray:
        band = self.base.group_vertices(f"helper-{jaw}-teeth")
        carrier = affine_carrier(self.teeth.vertices[members], self.base.vertices[band])
        return np.einsum("vk,nkc->nvc", carrier, values[:, row[band]])


def build_head_mesh(base: BaseMesh, teeth: Teeth) -> HeadMesh:
    """Select, triangulate and join the parts."""
    selection = {
        name: _parse_runs(text) for name, text in json.loads((DATA / "head_polygons.json").read_text()).items()
    }
    body = base.groups["body"]
    polygons = [(*body[i], part) for part in ("skin", "neck", "mouth_cavity") for i in np.sort(selection[part])] + [
        (*polygon, "tongue") for polygon in base.groups["helper-tongue"]
    ]
    copied = np.unique([v for vertices, _, _ in polygons for v in vertices])
    row = _rows(copied, len(base.vertices))
    faces, source_uv, face_part = _triangulate(polygons, base, row)

    rims = {side: _ordered_rim(body, selection[f"eye_socket_{side}"], selection["skin"], base) for side in SIDES}
    directions, ball_faces = eyes.ball()
    count = len(copied)
    ball, strip, strip_direction, pieces = {}, {}, {}, []
    for side in SIDES:
        rim = rims[side]
        ball[side], strip[side] = count, count + len(directions)
        count += len(directions) + len(rim)
        old = base.vertices[base.group_vertices(f"helper-{side[0]}-eye")][None]
        centre = eyes.place_ball(old, base.vertices[rim][None]).centre[0]
        strip_direction[side] = eyes.strip_directions(base.vertices[rim], centre)
        outer, inner = row[rim], strip[side] + np.arange(len(rim))
        quads = np.stack([outer, np.roll(outer, -1), np.roll(inner, -1), inner], 1)
        pieces += [
            (ball_faces + ball[side], f"eye_{side}"),
            (np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), f"conjunctiva_{side}"),
        ]
    pieces += [(teeth.triangles[teeth.part == part] + count, part) for part in np.unique(teeth.part)]
    faces = np.concatenate([faces, *[f for f, _ in pieces]])
    face_part = np.concatenate([face_part, *[np.repeat(name, len(f)) for f, name in pieces]])
    no_uv = np.full((len(faces) - len(source_uv), 3, 2), np.nan)

    vertex_part = np.full(count + len(teeth.vertices), "", dtype="<U20")
    for part in ("skin", "neck", "mouth_cavity", "tongue", *[name for _, name in pieces]):
        own = np.unique(faces[face_part == part])
        own = own[vertex_part[own] == ""] if part in ("neck", "mouth_cavity") or part.startswith("conj") else own
        vertex_part[own] = part
    return HeadMesh(
        base, copied, faces, face_part, np.concatenate([source_uv, no_uv]), vertex_part, ball, strip, strip_direction,
        {side: row[rims[side]] for side in SIDES}, teeth, count,
    )  # fmt: skip


def _triangulate(
    polygons: list[tuple[list[int], list[int], str]], base: BaseMesh, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split quads along their shorter diagonal on the base mesh."""
    faces, source_uv, part = [], [], []
    for vertices, uv, name in polygons:
        if len(vertices) == 3:
            corners = [(0, 1, 2)]
        else:
            p = base.vertices[vertices]
            short = np.linalg.norm(p[0] - p[2]) < np.linalg.norm(p[1] - p[3])
            corners = [(0, 1, 2), (0, 2, 3)] if short else [(0, 1, 3), (1, 2, 3)]
        for triangle in corners:
            faces.append([row[vertices[i]] for i in triangle])
            source_uv.append([base.uv[uv[i]] for i in triangle])
            part.append(name)
    return np.array(faces), np.array(source_uv), np.array(part)


def _ordered_rim(
    body: list[tuple[list[int], list[int]]], socket: np.ndarray, skin: np.ndarray, base: BaseMesh
) -> np.ndarray:
    """hm08 vertices shared by lids and eye socket, walked along their edges, counter-clockwise seen from the front."""

    def edges(polygons: np.ndarray) -> set[frozenset[int]]:
        return {frozenset((f[k - 1], f[k])) for i in polygons for f in [body[i][0]] for k in range(len(f))}

    neighbours: dict[int, list[int]] = {}
    for a, b in sorted(sorted(edge) for edge in edges(socket) & edges(skin)):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    walk = [min(neighbours)]
    while len(walk) < len(neighbours):
        walk.append(next(v for v in neighbours[walk[-1]] if v not in walk))
    x, y = base.vertices[walk, 0], base.vertices[walk, 1]
    area = np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    return np.array(walk if area > 0 else walk[::-1])


def _rows(ids: np.ndarray, count: int) -> np.ndarray:
    row = np.full(count, -1)
    row[ids] = np.arange(len(ids))
    return row


def _parse_runs(text: str) -> np.ndarray:
    """'3-5 9' -> [3, 4, 5, 9]."""
    ends = [[int(x) for x in run.split("-")] for run in text.split()]
    return np.concatenate([np.arange(e[0], e[-1] + 1) for e in ends])
