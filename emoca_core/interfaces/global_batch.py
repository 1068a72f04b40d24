"""The batch of all processes, for what is no mean over faces: sums, averages over counts, correlations.

Processes average their gradients. That is the gradient of the whole batch for a mean over faces, of which every process
has as many, and for nothing else: whatever a term sums, counts or correlates it takes from here. In a single process
everything here is what its name says, without any exchange.

Every process must come by in the same order, in training and in validation.
"""

import torch
import torch.distributed
from jaxtyping import Float, Shaped
from torch import Tensor


def world_size() -> int:
    """How many processes share a batch; 1 outside distributed training."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def sum_of_batch(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The sum over the batch of all processes, as far as the mean over the processes is concerned.

    The value is the process' own sum times the number of processes, so that no exchange is needed.

    Example:
        >>> sum_of_batch(torch.tensor([1.0, 2.0]))
        tensor(3.)
    """
    return values.sum() * world_size()


def ratio_of_batch(total: Float[Tensor, ""], count: Shaped[Tensor, ""], least: float = 1e-8) -> Float[Tensor, ""]:
    """``total / count``, both over the batch of all processes: an average over what was seen, whoever saw it.

    Args:
        total: Sum of this process.
        count: What it is divided by, of this process; no gradient.
        least: The count of the whole batch is at least this, so that an empty one gives 0.

    Example:
        >>> ratio_of_batch(torch.tensor(6.0), torch.tensor(3))
        tensor(2.)
    """
    whole = count.detach().to(total.dtype)
    if (processes := world_size()) > 1:
        whole = whole.clone()
        torch.distributed.all_reduce(whole)
    return total * processes / whole.clamp(min=least)


def gather_batch(local: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "B ..."]:
    """The rows of all processes, in the order of the processes; the gradient reaches the process' own rows.

    For a loss that every process computes in the same way from the gathered rows.
    """
    return local if world_size() == 1 else _Gather.apply(local)


def rows_of_process(count: int) -> slice:
    """Where the rows of this process are among the gathered ones, if every process has ``count``."""
    rank = torch.distributed.get_rank() if world_size() > 1 else 0
    return slice(rank * count, (rank + 1) * count)


class _Gather(torch.autograd.Function):
    """All rows forth; back, the process' own ones, times the processes that the gradient will be divided by."""

    @staticmethod
    def forward(ctx: object, local: Tensor) -> Tensor:
        rows = local.contiguous()
        gathered = [torch.empty_like(rows) for _ in range(world_size())]
        torch.distributed.all_gather(gathered, rows)
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        own = gradients[0].chunk(world_size())[torch.distributed.get_rank()]
        return own * world_size()
