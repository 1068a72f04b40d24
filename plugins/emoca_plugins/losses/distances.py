"""Distances with a finite gradient everywhere."""

import torch
from jaxtyping import Float
from torch import Tensor


def safe_norm(vectors: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
    """Euclidean length over the last dimension, whose gradient at length zero is zero instead of NaN."""
    squared = vectors.square().sum(-1)
    zero = squared == 0
    return torch.where(zero, squared, torch.where(zero, torch.ones_like(squared), squared).sqrt())
