"""How a term that has one value per face becomes one number."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces.global_batch import sum_of_batch

Reduction = Literal["mean", "sum"]


def reduce_faces(values: Float[Tensor, "..."], reduction: Reduction) -> Float[Tensor, ""]:
    """Over the batch of all processes.

    Args:
        values: One or more for each face.
        reduction: ``mean`` does not depend on the batch size. ``sum`` does: it is that of a forward pass, over all
            processes.
    """
    return values.mean() if reduction == "mean" else sum_of_batch(values)
