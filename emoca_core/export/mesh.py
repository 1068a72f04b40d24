"""A posed face as plain arrays: what the mesh writers read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from emoca_core.geometry.normals import vertex_normals


@dataclass(frozen=True)
class FaceMesh:
    """One face in model space (metres; x to the subject's left, y up, z out of the face).

    Attributes:
        vertices: Posed.
        faces: Triangles, counter-clockwise seen from outside.
        uv: Texture coordinates, u right, v up.
        uv_faces: Triangles into ``uv``, one for each of ``faces``.
        texture: sRGB picture, row 0 at v = 1.
        vertex_colors: sRGB in [0, 1], one for each vertex.
        morph_targets: Displacements of the vertices by name, metres, that come on top of ``vertices``.
    """

    vertices: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    uv: Float[ndarray, "U 2"] | None = None
    uv_faces: Int[ndarray, "F 3"] | None = None
    texture: UInt8[ndarray, "T T 3"] | None = None
    vertex_colors: Float[ndarray, "V 3"] | None = None
    morph_targets: Mapping[str, Float[ndarray, "V 3"]] = field(default_factory=dict)

    @property
    def has_uv(self) -> bool:
        """Whether the mesh has texture coordinates."""
        return self.uv is not None and self.uv_faces is not None


def unit_normals(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "V 3"]:
    """Area-weighted normals of exactly unit length; (0, 0, 1) where a vertex belongs to no triangle with an area."""
    millimetres = torch.from_numpy(vertices.astype(np.float64) * 1000)  # small triangles stay clear of the epsilon
    normals = vertex_normals(millimetres[None], torch.from_numpy(faces.astype(np.int64)))[0].numpy()
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0.5, normals / np.maximum(length, 0.5), np.array([0.0, 0.0, 1.0]))


def split_at_seams(
    faces: Int[ndarray, "F 3"], uv_faces: Int[ndarray, "F 3"]
) -> tuple[Int[ndarray, "N"], Int[ndarray, "N"], Int[ndarray, "F 3"]]:
    """Give every pair of vertex and texture coordinate that occurs a number of its own.

    Formats with one index per corner (glTF, GPUs) need this where the texture has seams.

    Returns:
        The vertex of each new number, its texture coordinate, and the triangles in the new numbers.
    """
    stride = int(uv_faces.max(initial=0)) + 1
    pairs, corners = np.unique(faces.astype(np.int64) * stride + uv_faces, return_inverse=True)
    return pairs // stride, pairs % stride, corners.reshape(faces.shape)
