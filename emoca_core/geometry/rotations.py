"""Rotations as axis-angle vectors (radians) and 3x3 matrices, smooth everywhere a fit may wander."""

import torch
from jaxtyping import Float
from torch import Tensor

_SMALL = 1e-4
"""Below this squared angle the series are exact to float64 (the first neglected term is ~1e-16) and division is not."""


def rotation_vector_to_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Turn axis-angle vectors into rotation matrices (Rodrigues), with exact gradients at and around zero.

    `matrix @ point` turns a column vector counter-clockwise about the axis by the vector's length, radians.

    Source: O. Rodrigues 1840; R = I + a K + b (v v^T - |v|^2 I), a = sin t / t, b = (1 - cos t) / t^2.

    Example:
        >>> import math
        >>> quarter_turn = torch.tensor([0.0, 0.0, math.pi / 2])
        >>> (rotation_vector_to_matrix(quarter_turn) @ torch.tensor([1.0, 0.0, 0.0])).round().tolist()
        [0.0, 1.0, 0.0]
    """
    squared = (vector * vector).sum(-1)
    small = squared < _SMALL
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    a = torch.where(small, 1 - squared / 6 * (1 - squared / 20 * (1 - squared / 42)), angle.sin() / angle)
    # 1 - cos t = 2 sin^2(t/2) keeps its digits for small angles
    b = torch.where(
        small, 0.5 * (1 - squared / 12 * (1 - squared / 30 * (1 - squared / 56))), 2 * (angle / 2).sin().square() / safe
    )
    x, y, z = (a.unsqueeze(-1) * vector).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape, 3)
    outer = b[..., None, None] * (vector.unsqueeze(-1) * vector.unsqueeze(-2))
    diagonal = torch.diag_embed((1 - b * squared).unsqueeze(-1).expand_as(vector))
    return diagonal + cross + outer


def matrix_to_rotation_vector(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Turn rotation matrices into axis-angle vectors with an angle in [0, pi].

    Goes through the unit quaternion, taken from the best conditioned of its four formulas, so that neither the
    identity nor half turns lose precision or give infinite gradients. At exactly pi the axis' sign is arbitrary. That
    the matrices are rotations is not checked.
    """
    w, x, y, z = matrix_to_quaternion(matrix).unbind(-1)
    imaginary = torch.stack([x, y, z], -1)
    squared = (imaginary * imaginary).sum(-1)
    small = squared < _SMALL
    safe = torch.where(small, torch.ones_like(squared), squared)
    sine = safe.sqrt()
    # |imaginary| = sin(t/2), w = cos(t/2) >= 0; t / sin(t/2) by its series 2 asin(s)/s near zero
    series = 2 * (1 + squared / 6 * (1 + squared * 9 / 20 * (1 + squared * 25 / 42)))
    scale = torch.where(small, series, 2 * torch.atan2(sine, w) / sine)
    return scale.unsqueeze(-1) * imaginary


def matrix_to_quaternion(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Turn rotation matrices into unit quaternions (w, x, y, z) with w >= 0.

    Source: S. W. Shepperd, "Quaternion from rotation matrix", 1978: 4 q q^T is linear in the matrix; its row with the
    largest diagonal element, normalised, is q.
    """
    m = [[matrix[..., row, column] for column in range(3)] for row in range(3)]
    outer = torch.stack(
        [
            torch.stack([1 + m[0][0] + m[1][1] + m[2][2], m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]], -1),
            torch.stack([m[2][1] - m[1][2], 1 + m[0][0] - m[1][1] - m[2][2], m[1][0] + m[0][1], m[0][2] + m[2][0]], -1),
            torch.stack([m[0][2] - m[2][0], m[1][0] + m[0][1], 1 - m[0][0] + m[1][1] - m[2][2], m[2][1] + m[1][2]], -1),
            torch.stack([m[1][0] - m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2], 1 - m[0][0] - m[1][1] + m[2][2]], -1),
        ],
        -2,
    )
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(outer, best[..., None, None], -2).squeeze(-2)
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
