"""Rotations, skinning and landmarks on the CPU in one pass each, for when no gradient is wanted.

``emoca_core.geometry`` is the reference and does everything else (gradients, other devices and types); these kernels
give the same numbers without dozens of small operations, and without a blended transform of every vertex in memory.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.geometry.surface_points import CONTOUR_MAX_YAW
from emoca_core.kernels.teams import compiled, for_each

_BLOCK = 32
"""Vertices that are posed before they are written out: they stay in the cache."""


def can_fuse(*tensors: Tensor) -> bool:
    """Whether the kernel may take the place of the reference: float32 on the CPU, and nobody asks for a derivative."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    plain = all(tensor.dtype == torch.float32 and tensor.is_cpu for tensor in tensors)
    return plain and not wanted and not any(map(_is_transformed, tensors))


def _is_transformed(tensor: Tensor) -> bool:
    """Whether the tensor carries a tangent, or belongs to a running ``torch.func`` transform (jvp, vmap, grad)."""
    functorch = getattr(torch._C, "_functorch", None)  # there is no public question for it
    wrapped = functorch is None or functorch.is_functorch_wrapped_tensor(tensor)
    return wrapped or torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def pose_rotations(vectors: Float[Tensor, "B _"]) -> Float[Tensor, "B J 3 3"]:
    """Rotation matrices of axis-angle vectors that lie behind each other, radians; fused where that is possible."""
    if not can_fuse(vectors):
        return rotation_vector_to_matrix(vectors.reshape(len(vectors), -1, 3))
    matrices = torch.empty(len(vectors), vectors.shape[1] // 3, 3, 3)
    _kernels().rotate(vectors.detach().contiguous().view(-1, 3).numpy(), matrices.view(-1, 3, 3).numpy())
    return matrices


def fused_contour_row(head: Float[Tensor, "B 3 3"]) -> Int[Tensor, "B"]:
    """``contour_row`` of each head orientation."""
    row = torch.empty(len(head), dtype=torch.long)
    _kernels().turn(head.detach().contiguous().numpy(), row.numpy())
    return row


def fused_points(
    vertices: Float[Tensor, "B V 3"],
    corners: Int[Tensor, "R L 3"],
    weights: Float[Tensor, "R L 3"],
    row: Int[Tensor, "B"],
) -> Float[Tensor, "B L 3"]:
    """Points on the surface, of which each face takes one row of a table.

    Args:
        vertices: Posed vertices.
        corners: The vertices around each point, for every row.
        weights: Barycentric weights.
        row: Row of each face.

    Returns:
        The points, without a gradient.
    """
    points = torch.empty(len(vertices), corners.shape[1], 3)
    tables = (tensor.detach().contiguous().numpy() for tensor in (vertices, corners, weights, row))
    _kernels().embed(*tables, points.numpy())
    return points


def fused_skinning(
    rest: Float[Tensor, "_ B"],
    rotations: Float[Tensor, "B J 3 3"],
    joints: Float[Tensor, "B J 3"],
    parents: Sequence[int],
    weights: Float[Tensor, "V J"],
) -> Float[Tensor, "B V 3"]:
    """Pose vertices by the joint rotations, blended per vertex; ``linear_blend_skinning`` explains the arguments.

    Args:
        rest: Rest positions, all x, then all y, then all z. The faces come last: modes times codes is then the faster
            product, and one vertex of all faces lies together.
        rotations: Local rotation of each joint.
        joints: Joint positions in the rest pose.
        parents: Parent of each joint, before its children; -1 for a root.
        weights: Skinning weights.

    Returns:
        Posed vertices, without a gradient.
    """
    batch, vertices, threads = len(joints), len(weights), max(1, torch.get_num_threads())
    posed = torch.empty(batch, vertices, 3)
    planes = rest.detach().reshape(3, vertices, batch).contiguous().numpy()
    kernels, skin = _kernels(), _kernels().skin
    tree = np.array(parents)
    transforms = kernels.chain(rotations.detach().contiguous().numpy(), joints.detach().contiguous().numpy(), tree)
    blend, out = weights.detach().contiguous().numpy(), posed.numpy()
    bounds = [vertices * part // threads for part in range(threads + 1)]
    for_each(threads, lambda part: skin(planes, transforms, blend, out, bounds[part], bounds[part + 1]))
    return posed


class _Kernels(NamedTuple):
    rotate: Callable[..., None]
    chain: Callable[..., Any]
    skin: Callable[..., None]
    turn: Callable[..., None]
    embed: Callable[..., None]


@cache
def _kernels() -> _Kernels:
    """Compiled on first use; fast arithmetic, but NaN and infinity keep their meaning."""
    relaxed = compiled(fastmath={"contract", "reassoc", "nsz"})
    return _Kernels(*(relaxed(kernel) for kernel in (_rotate, _chain, _skin, _turn, _embed)))


@no_type_check
def _rotate(vectors, matrices):
    """Rodrigues' formula in float64, as ``rotation_vector_to_matrix`` has it."""
    for n in range(len(vectors)):
        x, y, z = np.float64(vectors[n, 0]), np.float64(vectors[n, 1]), np.float64(vectors[n, 2])
        squared = x * x + y * y + z * z
        if squared < 1e-12:  # sin t / t and (1 - cos t) / t^2 to float64
            a, b = 1 - squared / 6, 0.5 - squared / 24
        else:
            angle = math.sqrt(squared)
            a, b = math.sin(angle) / angle, 2 * math.sin(angle / 2) ** 2 / squared
        m = matrices[n]
        m[0, 0], m[0, 1], m[0, 2] = 1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y
        m[1, 0], m[1, 1], m[1, 2] = b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x
        m[2, 0], m[2, 1], m[2, 2] = b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y)


@no_type_check
def _turn(head, row):
    for item in range(len(head)):
        m = head[item]
        yaw = np.rad2deg(np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0])))
        degrees = min(max(int(np.rint(yaw)), -CONTOUR_MAX_YAW), CONTOUR_MAX_YAW)
        row[item] = degrees if degrees >= 0 else CONTOUR_MAX_YAW - degrees


@no_type_check
def _embed(vertices, corners, weights, row, points):
    for item in range(len(vertices)):
        for n in range(points.shape[1]):
            c, w = corners[row[item], n], weights[row[item], n]
            for axis in range(3):
                points[item, n, axis] = (
                    w[0] * vertices[item, c[0], axis]
                    + w[1] * vertices[item, c[1], axis]
                    + w[2] * vertices[item, c[2], axis]
                )


@no_type_check
def _chain(rotations, joints, parents):
    """Rest-to-posed transforms of ``joint_transforms``, [J, 12, B]: rows of 3 x 4, the faces last."""
    batch, count = joints.shape[:2]
    world = np.empty((count, 3, 4, batch), rotations.dtype)  # rotation, and where the joint is
    chained = np.empty((count, 3, 4, batch), rotations.dtype)
    for joint in range(count):
        parent = parents[joint]
        for item in range(batch):
            for row in range(3):
                for column in range(3):
                    own = rotations[item, joint, row, column]
                    if parent >= 0:
                        own = rotations.dtype.type(0)
                        for k in range(3):
                            own += world[parent, row, k, item] * rotations[item, joint, k, column]
                    world[joint, row, column, item] = own
                place = joints[item, joint, row]
                if parent >= 0:
                    place = world[parent, row, 3, item]
                    for k in range(3):
                        place += world[parent, row, k, item] * (joints[item, joint, k] - joints[item, parent, k])
                world[joint, row, 3, item] = place
                chained[joint, row, 3, item] = place
                for k in range(3):
                    chained[joint, row, k, item] = world[joint, row, k, item]
                    chained[joint, row, 3, item] -= world[joint, row, k, item] * joints[item, joint, k]
    return chained.reshape(count, -1)


@no_type_check
def _skin(rest, transforms, weights, posed, first, last):
    """Vertex by vertex over all faces at once, which the compiler turns into vector code."""
    batch = rest.shape[2]
    blended = np.empty(12 * batch, rest.dtype)
    block = np.empty((_BLOCK, 3, batch), rest.dtype)
    for start in range(first, last, _BLOCK):
        count = min(_BLOCK, last - start)
        for row in range(count):
            vertex = start + row
            weight = weights[vertex, 0]
            for k in range(12 * batch):
                blended[k] = weight * transforms[0, k]
            for joint in range(1, len(transforms)):
                weight = weights[vertex, joint]
                if weight != 0:
                    for k in range(12 * batch):
                        blended[k] += weight * transforms[joint, k]
            for axis in range(3):
                m = 4 * axis * batch
                for item in range(batch):
                    block[row, axis, item] = (
                        blended[m + item] * rest[0, vertex, item]
                        + blended[m + batch + item] * rest[1, vertex, item]
                        + blended[m + 2 * batch + item] * rest[2, vertex, item]
                        + blended[m + 3 * batch + item]
                    )
        for item in range(batch):
            for row in range(count):
                for axis in range(3):
                    posed[item, start + row, axis] = block[row, axis, item]
