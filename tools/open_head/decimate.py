"""Mesh decimation by quadric error with half-edge collapses: surviving vertices stay where they were.

Because no vertex moves, everything attached to the source vertices (skinning, references to the base mesh) survives.
Source: Garland and Heckbert, "Surface simplification using quadric error metrics", 1997.
"""

import heapq
from collections import defaultdict

import numpy as np


def decimate(vertices: np.ndarray, triangles: np.ndarray, target: int, locked: np.ndarray | None = None) -> np.ndarray:
    """Collapse edges until `target` vertices are in use (or no collapse is allowed).

    Args:
        vertices: [V, 3] positions.
        triangles: [F, 3] vertex ids.
        target: wanted number of used vertices.
        locked: [V] vertices that must survive.

    Returns:
        Remaining triangles, in the source's vertex ids. Ties are broken by vertex number: the result is reproducible.
    """
    faces = {i: tuple(map(int, t)) for i, t in enumerate(triangles)}
    around: dict[int, set[int]] = defaultdict(set)
    for i, triangle in faces.items():
        for v in triangle:
            around[v].add(i)
    quadrics = _quadrics(vertices, triangles)
    kept = set() if locked is None else {int(i) for i in np.flatnonzero(locked)}
    version: dict[int, int] = defaultdict(int)
    heap: list[tuple[float, int, int, int, int]] = []

    def push(a: int, b: int) -> None:
        """Offer the collapse of a onto b."""
        if a not in kept:
            point = np.append(vertices[b], 1)
            cost = float(point @ (quadrics[a] + quadrics[b]) @ point)
            cost += 1e-10 * float(((vertices[a] - vertices[b]) ** 2).sum())  # flat areas: short edges first
            heapq.heappush(heap, (round(cost, 18), a, b, version[a], version[b]))

    def neighbours(v: int) -> set[int]:
        return {w for i in around[v] for w in faces[i]} - {v}

    for a in sorted(around):
        for b in sorted(neighbours(a)):
            push(a, b)
    alive = sum(1 for v in around if around[v])
    while alive > target and heap:
        _, a, b, version_a, version_b = heapq.heappop(heap)
        if version[a] != version_a or version[b] != version_b or not around[a] or not around[b]:
            continue
        shared = around[a] & around[b]
        if len(neighbours(a) & neighbours(b)) != len(shared) or _flips(vertices, faces, around[a] - shared, a, b):
            continue
        for i in shared:
            for v in faces.pop(i):
                around[v].discard(i)
        for i in list(around[a]):
            faces[i] = tuple(b if v == a else v for v in faces[i])
            around[b].add(i)
        around[a].clear()
        quadrics[b] = quadrics[b] + quadrics[a]
        alive -= 1
        version[b] += 1
        for w in sorted(neighbours(b)):
            push(b, w)
            push(w, b)
    return np.array([faces[i] for i in sorted(faces)], dtype=np.int64).reshape(-1, 3)


def _quadrics(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted plane quadrics, plus planes standing on open edges that keep borders in place."""
    quadrics = np.zeros((len(vertices), 4, 4))
    count: dict[tuple[int, int], int] = defaultdict(int)
    for triangle in triangles:
        for k in range(3):
            i, j = int(triangle[k]), int(triangle[(k + 1) % 3])
            count[min(i, j), max(i, j)] += 1
    for triangle in triangles:
        a, b, c = vertices[triangle]
        normal = np.cross(b - a, c - a)
        area = np.linalg.norm(normal) + 1e-20
        plane = np.append(normal / area, -normal @ a / area)
        for v in triangle:
            quadrics[v] += area * np.outer(plane, plane)
        for k in range(3):
            i, j = int(triangle[k]), int(triangle[(k + 1) % 3])
            if count[min(i, j), max(i, j)] == 1:
                edge = vertices[j] - vertices[i]
                side = np.cross(edge, normal / area)
                side /= np.linalg.norm(side) + 1e-20
                wall = np.append(side, -side @ vertices[i])
                for v in (i, j):
                    quadrics[v] += 2 * (edge @ edge) * np.outer(wall, wall)
    return quadrics


def _flips(vertices: np.ndarray, faces: dict[int, tuple[int, ...]], moved: set[int], a: int, b: int) -> bool:
    """Whether moving a onto b would turn a triangle over or make it a sliver."""
    for i in moved:
        before = vertices[list(faces[i])]
        after = vertices[[b if v == a else v for v in faces[i]]]
        n0 = np.cross(before[1] - before[0], before[2] - before[0])
        n1 = np.cross(after[1] - after[0], after[2] - after[0])
        if n0 @ n1 < 0.2 * np.linalg.norm(n0) * np.linalg.norm(n1) + 1e-24:
            return True
    return False
