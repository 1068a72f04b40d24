"""The face with wrinkles as a dense mesh: one vertex for each texel of UV space that has surface."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.normals import grid_faces, vertex_normals
from emoca_core.interfaces import FaceMesh
from emoca_core.rendering.detail import displaced_points
from emoca_core.rendering.topology import require_uv
from emoca_core.rendering.uv_space import UvSpace


def displaced_mesh(
    uv_space: UvSpace,
    vertices: Float[Tensor, "1 V 3"],
    displacement: Float[Tensor, "1 1 T T"],
    mask: Float[Tensor, "1 1 T T"] | None = None,
    fixed_displacement: Float[Tensor, "T T"] | None = None,
) -> FaceMesh:
    """The displaced surface, sampled once a texel.

    Vertices and triangles are in the row-major order of the texels, so that files of one face model correspond. Every
    cell of 2x2 texels is two triangles; those that reach beyond the surface, or from one piece of the unrolled mesh to
    another, are left out. The originals keep them, and wind their dense mesh clockwise; here it is counter-clockwise
    seen from outside, as everywhere. ``uv_space`` has the size of the map; the rest is as for ``displaced_points``.

    Returns:
        A mesh with texture coordinates, without texture picture; each of its vertices is part of a triangle.
    """
    with torch.no_grad():
        normals = uv_space.image(vertex_normals(vertices, uv_space.topology.faces))
        moved = displaced_points(uv_space.image(vertices), normals, displacement, mask, fixed_displacement)
    side = moved.shape[-1]
    points = moved[0].flatten(1).T.double().cpu().numpy()
    faces = grid_faces(side, side).numpy()
    piece = _piece_of_texel(uv_space)[faces]
    faces = faces[(piece[:, 0] >= 0) & (piece == piece[:, :1]).all(axis=1)]
    used, corners = np.unique(faces, return_inverse=True)
    rows, columns = np.divmod(used, side)
    faces = corners.reshape(faces.shape)
    uv = np.column_stack([(columns + 0.5) / side, 1 - (rows + 0.5) / side])
    return FaceMesh(vertices=points[used], faces=faces, uv=uv, uv_faces=faces)


def _piece_of_texel(uv_space: UvSpace) -> Int[ndarray, "N"]:
    """Number of the connected piece of the unrolled mesh that each texel belongs to, -1 where there is none."""
    from scipy.sparse import coo_matrix  # slow to import, and few faces have wrinkles
    from scipy.sparse.csgraph import connected_components

    uv, uv_faces = require_uv(uv_space.topology)
    corners = uv_faces.cpu().numpy()
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(uv), len(uv)))
    piece = connected_components(graph, directed=False)[1][corners[:, 0]]
    triangles = uv_space.fragments.triangles[0].flatten().cpu().numpy()
    return np.where(triangles >= 0, piece[triangles], -1)
