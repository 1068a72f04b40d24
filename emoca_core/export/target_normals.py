"""How morph targets turn the normals of a mesh: from the triangles that they move alone, which are few."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.normals import EPSILON


@dataclass(frozen=True)
class MovedSurface:
    """The triangles that targets move, and the normals that these turn: the same for all faces of a model.

    Attributes:
        faces: All triangles.
        triangles: Of each pair of a target and a triangle that it moves.
        corners: Vertices of these triangles, numbered through all targets.
        turning: Pairs of a target and a vertex of such a triangle, as ``target * V + vertex``, ascending.
        vertices: Those of ``turning``.
        places: Where in ``turning`` the corners are.
    """

    faces: Int[Tensor, "F 3"]
    triangles: Int[Tensor, "P"]
    corners: Int[Tensor, "3 P"]
    turning: Int[Tensor, "R"]
    vertices: Int[Tensor, "R"]
    places: Int[Tensor, "3 P"]

    @classmethod
    def of(cls, moves: Bool[ndarray, "N V"], faces: Int[ndarray, "F 3"]) -> "MovedSurface":
        """What is moved where targets move these vertices; kept for the next face.

        Args:
            moves: Which vertices each target moves.
            faces: Triangles, counter-clockwise seen from outside.
        """
        return _moved_surface(np.packbits(moves, axis=1).tobytes(), moves.shape[1], faces.astype(np.int64).tobytes())

    def turns(self, neutral: Float[ndarray, "V 3"], targets: Float32[ndarray, "N V 3"]) -> Float32[ndarray, "N V 3"]:
        """What each target adds at 1 to the unit normals.

        Args:
            neutral: Vertices at rest, metres.
            targets: What each target adds to them.
        """
        rest = torch.from_numpy(1000 * neutral.astype(np.float32))  # small triangles stay clear of the epsilon
        posed = torch.from_numpy(targets).mul(1000).add_(rest).reshape(-1, 3)
        before = _doubled_areas(rest, self.faces.mT)
        summed = torch.zeros_like(rest)
        for corner in self.faces.unbind(1):
            summed.index_add_(0, corner, before)
        changes = _doubled_areas(posed, self.corners).sub_(before.index_select(0, self.triangles))
        normals = summed.index_select(0, self.vertices)
        for place in self.places:
            normals.index_add_(0, place, changes)
        turns = torch.zeros_like(posed)
        turns[self.turning] = _unit(normals).sub_(_unit(summed).index_select(0, self.vertices))
        return turns.reshape(targets.shape).numpy()


def _doubled_areas(points: Float[Tensor, "N 3"], corners: Int[Tensor, "3 P"]) -> Float[Tensor, "P 3"]:
    """Normals of triangles, twice as long as these are large."""
    a, b, c = (points.index_select(0, corner) for corner in corners)
    return torch.linalg.cross(b.sub_(a), c.sub_(a))


def _unit(normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    return normals / normals.square().sum(1, keepdim=True).sqrt_().clamp_min_(EPSILON)


@lru_cache(maxsize=2)
def _moved_surface(moves: bytes, vertex_count: int, faces: bytes) -> MovedSurface:
    triangles = np.frombuffer(faces, np.int64).reshape(-1, 3)
    bits = np.frombuffer(moves, np.uint8).reshape(-1, -(-vertex_count // 8))
    moved = np.unpackbits(bits, axis=1, count=vertex_count).astype(bool)
    target, triangle = np.nonzero(moved[:, triangles].any(axis=2))
    corners = np.ascontiguousarray(target * vertex_count + triangles[triangle].T)
    turning, places = np.unique(corners, return_inverse=True)
    parts = (triangles.copy(), triangle, corners, turning, turning % vertex_count, places.reshape(corners.shape))
    return MovedSurface(*map(torch.from_numpy, parts))
