"""Linear blend skinning on the CPU in one pass over the vertices, for when no gradient is wanted.

``emoca_core.geometry.skinning`` is the reference and does everything else (gradients, other devices and types); this
kernel gives the same numbers without writing the blended transforms of every vertex to memory.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.teams import compiled, for_each


def can_fuse(*tensors: Tensor) -> bool:
    """Whether the kernel may take the place of the reference: float32 on the CPU, and nobody asks for a derivative."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    plain = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    return plain and not wanted and not any(map(_is_transformed, tensors))


def _is_transformed(tensor: Tensor) -> bool:
    """Whether the tensor carries a tangent, or belongs to a running ``torch.func`` transform (jvp, vmap, grad)."""
    functorch = getattr(torch._C, "_functorch", None)  # there is no public question for it
    wrapped = functorch is None or functorch.is_functorch_wrapped_tensor(tensor)
    return wrapped or torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def fused_skinning(
    planes: Float[Tensor, "B _"], transforms: Float[Tensor, "B J 4 4"], weights: Float[Tensor, "V J"]
) -> Float[Tensor, "B V 3"]:
    """Pose vertices by blended joint transforms.

    Args:
        planes: Rest positions, all x, then all y, then all z.
        transforms: Rest-to-posed transform of each joint (``joint_transforms``).
        weights: Skinning weights.

    Returns:
        Posed vertices, without a gradient.
    """
    batch = len(planes)
    posed = torch.empty(batch, len(weights), 3)
    rest = planes.detach().contiguous().reshape(batch, 3, -1).numpy()
    joints, blend = transforms.detach().contiguous().numpy(), weights.detach().mT.contiguous().numpy()
    threads = max(1, min(torch.get_num_threads(), batch))
    bounds = [batch * part // threads for part in range(threads + 1)]
    skin, out = _kernel(), posed.numpy()
    for_each(threads, lambda part: skin(rest, joints, blend, out, bounds[part], bounds[part + 1]))
    return posed


@cache
def _kernel() -> Callable[..., Any]:
    """Compiled on first use; fast arithmetic, but NaN and infinity keep their meaning."""
    return compiled(fastmath={"contract", "reassoc", "nsz"})(_skin)


@no_type_check
def _skin(rest, transforms, weights, posed, first, last):
    """Joint by joint over runs of vertices that stay in the cache, which the compiler turns into vector code."""
    sums = np.empty((3, rest.shape[2]), rest.dtype)
    for item in range(first, last):
        sums[:] = 0
        for joint in range(transforms.shape[1]):
            m, weight = transforms[item, joint], weights[joint]
            for axis in range(3):
                a, b, c, d = m[axis, 0], m[axis, 1], m[axis, 2], m[axis, 3]
                for vertex in range(rest.shape[2]):
                    x, y, z = rest[item, 0, vertex], rest[item, 1, vertex], rest[item, 2, vertex]
                    sums[axis, vertex] += weight[vertex] * (a * x + b * y + c * z + d)
        for vertex in range(rest.shape[2]):
            for axis in range(3):
                posed[item, vertex, axis] = sums[axis, vertex]
