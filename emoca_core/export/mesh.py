"""What the mesh writers share: normals, and vertices at the seams of a texture."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.geometry.normals import vertex_normals


def unit_normals(vertices: Float[ndarray, "*batch V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "*batch V 3"]:
    """Area-weighted normals of exactly unit length; (0, 0, 1) where a vertex belongs to no triangle with an area.

    Args:
        vertices: Of one mesh or of several, metres; single precision is quicker for many.
        faces: Triangles, counter-clockwise seen from outside.
    """
    millimetres = torch.from_numpy(vertices * 1000)  # small triangles stay clear of the epsilon
    batch = millimetres.reshape(-1, *millimetres.shape[-2:])
    normals = vertex_normals(batch, torch.from_numpy(faces.astype(np.int64))).numpy().reshape(vertices.shape)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 0.5, normals / np.maximum(length, 0.5), np.array([0.0, 0.0, 1.0], normals.dtype))


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
