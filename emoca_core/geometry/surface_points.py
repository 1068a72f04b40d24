"""Points embedded in a surface (triangle + barycentric weights) and the jaw contour that follows the head's yaw."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

CONTOUR_MAX_YAW = 39
"""Degrees; a contour table has one row per whole degree: 0, 1, ..., 39, then -1, ..., -39 (79 rows, FLAME's order)."""


def barycentric_points(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    triangle_index: Int[Tensor, "*batch L"],
    weights: Float[Tensor, "*batch L 3"],
) -> Float[Tensor, "B L 3"]:
    """Points on triangles of a mesh, by barycentric weights: the same for all items, or one row for each."""
    weights = weights.to(vertices.dtype).unsqueeze(-1)
    corners = faces[triangle_index].transpose(-1, -2).flatten(-2)  # all first corners, all second ones, all third ones
    if corners.ndim == 1:
        points = vertices.index_select(1, corners)
    else:
        item = torch.arange(vertices.shape[0], device=vertices.device).unsqueeze(1)
        flat = (corners + item * vertices.shape[1]).flatten()
        points = vertices.flatten(0, 1).index_select(0, flat).reshape(*corners.shape, 3)
    a, b, c = points.chunk(3, 1)
    return torch.addcmul(torch.addcmul(a * weights[..., 0, :], b, weights[..., 1, :]), c, weights[..., 2, :])


def head_yaw_degrees(rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, " B"]:
    """Yaw of a head relative to the camera (for FLAME-like models of `global @ neck`), degrees in [-90, 90].

    Positive turns the face towards the subject's left (+x).

    Source: FLAME's dynamic contour, atan2(-R20, sqrt(R00^2 + R10^2)), in the public code of DECA.
    """
    return torch.rad2deg(torch.atan2(-rotation[:, 2, 0], torch.linalg.vector_norm(rotation[:, :2, 0], dim=1)))


def contour_row(rotation: Float[Tensor, "B 3 3"]) -> Int[Tensor, " B"]:
    """The row of a 79-row contour table for each head orientation, without a gradient.

    0..39 for yaw 0..39 degrees and more, 40..78 for -1..-39 degrees and less.
    """
    with torch.no_grad():
        yaw = head_yaw_degrees(rotation).round().long().clamp(-CONTOUR_MAX_YAW, CONTOUR_MAX_YAW)
        return torch.where(yaw < 0, CONTOUR_MAX_YAW - yaw, yaw)


def dynamic_contour_points(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    rotation: Float[Tensor, "B 3 3"],
    triangle_table: Int[Tensor, "R L"],
    weight_table: Float[Tensor, "R L 3"],
) -> Float[Tensor, "B L 3"]:
    """The jaw contour that forms the face's outline at the given head orientations, by the rows of ``contour_row``."""
    row = contour_row(rotation)
    return barycentric_points(vertices, faces, triangle_table[row], weight_table[row])
