"""Normals of triangle meshes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.geometry.cross_product import cross_product

EPSILON = 1e-6
"""Shortest sum of triangle normals that is still scaled to unit length (metres squared). Source: DECA."""


def vertex_normals(vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B V 3"]:
    """Normals of the vertices: the area-weighted mean of the triangles that meet there.

    Args:
        vertices: Mesh vertices, metres.
        faces: Triangles, counter-clockwise seen from outside.

    Returns:
        Unit normals. A sum shorter than ``EPSILON`` is divided by ``EPSILON`` instead of its length, so that vertices
        without triangles get zero.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code: cross products summed per vertex, normalised with 1e-6.

    Example:
        >>> triangle = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        >>> vertex_normals(triangle, torch.tensor([[0, 1, 2]]))[0, 0].round(decimals=3).tolist()
        [0.0, 0.0, 1.0]
    """
    # vertices first, the batch last: what belongs to one vertex lies together, and gathering and adding move whole rows
    points = vertices.permute(1, 2, 0).contiguous()
    a, b, c = (points.index_select(0, corner) for corner in faces.unbind(1))
    per_triangle = cross_product(b - a, c - a)
    summed = torch.zeros_like(points)
    for corner in faces.unbind(1):
        summed = summed.index_add_(0, corner, per_triangle)
    return torch.nn.functional.normalize(summed.permute(2, 0, 1).contiguous(), dim=-1, eps=EPSILON)


def grid_normals(points: Float[Tensor, "B 3 H W"], margin: tuple[int, int] = (0, 0)) -> Float[Tensor, "B 3 H W"]:
    """Normals of a surface given as a picture of points, such as a displaced mesh in UV space.

    Every cell of 2x2 points is two triangles, split from its upper right to its lower left point; the result is that
    of ``vertex_normals`` on ``grid_faces``, without the list of triangles.

    Args:
        points: Model-space points, metres. Columns run along u, rows against v, so that the surface is seen from
            outside.
        margin: Rows and columns at each border that belong to no triangle; their normals are zero.
    """
    rows, columns = margin
    points = points[:, :, rows : points.shape[2] - rows, columns : points.shape[3] - columns]
    upper_left, upper_right = points[:, :, :-1, :-1], points[:, :, :-1, 1:]
    lower_left, lower_right = points[:, :, 1:, :-1], points[:, :, 1:, 1:]
    first = cross_product(lower_left - upper_left, upper_right - upper_left)
    second = cross_product(lower_left - upper_right, lower_right - upper_right)
    both = first + second
    pad = torch.nn.functional.pad
    summed = pad(first, (0, 1, 0, 1)) + pad(both, (1, 0, 0, 1)) + pad(both, (0, 1, 1, 0)) + pad(second, (1, 0, 1, 0))
    normals = torch.nn.functional.normalize(summed, dim=1, eps=EPSILON)
    return pad(normals, (columns, columns, rows, rows))


def grid_faces(
    height: int, width: int, margin: tuple[int, int] = (0, 0), device: torch.device | None = None
) -> Int[Tensor, "F 3"]:
    """Triangles of the mesh whose vertices are the points of a picture in row-major order; see ``grid_normals``."""
    rows, columns = margin
    index = torch.arange(height * width, device=device).reshape(height, width)
    index = index[rows : height - rows, columns : width - columns]
    upper_left, upper_right = index[:-1, :-1].flatten(), index[:-1, 1:].flatten()
    lower_left, lower_right = index[1:, :-1].flatten(), index[1:, 1:].flatten()
    first = torch.stack([upper_left, lower_left, upper_right], dim=-1)
    second = torch.stack([upper_right, lower_left, lower_right], dim=-1)
    return torch.stack([first, second], dim=1).reshape(-1, 3)
