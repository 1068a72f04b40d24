"""What the mesh writers share: normals, and vertices at the seams of a texture."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.geometry.normals import vertex_normals
from emoca_core.interfaces import ExpressionRig, FaceMesh, FaceModel, FaceParameters


def textured_mesh(
    face_model: FaceModel, parameters: FaceParameters, vertices: Float[ndarray, "V 3"], rig: ExpressionRig | None
) -> FaceMesh:
    """A face as plain arrays, with the texture or the vertex colours that its code says.

    Args:
        face_model: Has triangles, texture coordinates and albedo.
        parameters: A batch of one, on the model's device.
        vertices: Metres.
        rig: What moves it.
    """
    with torch.no_grad():
        albedo = face_model.albedo(parameters)
    texture, colors = albedo.texture, albedo.vertex_colors
    shown = None if texture is None else (texture[0].detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return FaceMesh(
        vertices=vertices,
        faces=face_model.faces.cpu().numpy(),
        uv=None if face_model.uv is None else face_model.uv.cpu().double().numpy(),
        uv_faces=None if face_model.uv_faces is None else face_model.uv_faces.cpu().numpy(),
        texture=None if shown is None else shown.permute(1, 2, 0).contiguous().numpy(),
        vertex_colors=None if colors is None else colors[0].cpu().double().numpy(),
        rig=rig,
    )


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
    return _split(faces.astype(np.int64).tobytes(), uv_faces.astype(np.int64).tobytes())


@lru_cache(maxsize=4)
def _split(faces: bytes, uv_faces: bytes) -> tuple[Int[ndarray, "N"], Int[ndarray, "N"], Int[ndarray, "F 3"]]:
    """Triangles and texture coordinates, which all faces of a model share."""
    vertices, texels = (np.frombuffer(numbers, np.int64) for numbers in (faces, uv_faces))
    stride = int(texels.max(initial=0)) + 1
    pairs, corners = np.unique(vertices * stride + texels, return_inverse=True)
    split = pairs // stride, pairs % stride, corners.reshape(-1, 3)
    for numbers in split:
        numbers.setflags(write=False)
    return split
