"""Derivatives of any face model along some directions of its code, without loading a compiler."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def derivatives_along(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "B P"], directions: Float[Tensor, "C P"], at_once: int
) -> Float[Tensor, "C B *rest"]:
    """Derivatives of a batched function, one for each direction.

    Backwards twice: v -> v^T J is linear in v, and its derivative along a direction d is J d. That gives what forward
    mode gives, digit for digit, and saves the seconds in which torch imports its compiler for forward mode.

    Args:
        function: [B, P] to [B, ...]; item b of the result depends on item b of x alone.
        x: Where.
        directions: The same for every item of the batch.
        at_once: At most so many directions are evaluated together.

    Example:
        >>> along = derivatives_along(torch.square, torch.tensor([[3.0, 4.0]]), torch.eye(2), at_once=2)
        >>> along[:, 0].tolist()
        [[6.0, 0.0], [0.0, 8.0]]
    """
    rounds = math.ceil(len(directions) / at_once)
    copies = math.ceil(len(directions) / max(1, rounds))
    with torch.enable_grad():
        repeated = x.detach().repeat(copies, 1).requires_grad_()
        value = function(repeated)
        if not value.requires_grad:
            return value.new_zeros(len(directions), len(x), *value.shape[1:])
        # sums instead of grad_outputs: for checking the shape of those, torch imports SymPy
        seed = torch.zeros_like(value, requires_grad=True)
        (pulled,) = torch.autograd.grad((value * seed).sum(), repeated, create_graph=True)
    columns = []
    for start in range(0, len(directions), copies):
        part = directions[start : start + copies]
        rows = torch.zeros_like(repeated)
        rows[: len(part) * len(x)] = part.repeat_interleave(len(x), dim=0)
        with torch.enable_grad():
            along = (pulled * rows).sum()
        (moved,) = torch.autograd.grad(along, seed, retain_graph=True)
        columns.append(moved.detach()[: len(part) * len(x)].reshape(len(part), len(x), *value.shape[1:]))
    return torch.cat(columns)
