"""How a term that has one value per face becomes one number."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Reduction = Literal["mean", "sum"]

_REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({"mean": torch.mean, "sum": torch.sum})


def reduce_faces(per_face: Float[Tensor, "B"], reduction: Reduction) -> Float[Tensor, ""]:
    """Over the batch.

    Args:
        per_face: One value per face.
        reduction: ``mean`` does not depend on the batch size. ``sum`` does; as processes average their gradients, its
            effect is that of the batch of one process, so that the same global batch on more processes weighs less.
    """
    return _REDUCTIONS[reduction](per_face)
