"""Batch normalisation over the batch of all processes, on any device; torch's ``SyncBatchNorm`` needs GPUs."""

from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from emoca_core.errors import ParamsError
from emoca_core.interfaces.global_batch import world_size


def batch_norm_over_processes(
    input: Float[Tensor, "B C *S"],
    running_mean: Float[Tensor, "C"] | None,
    running_var: Float[Tensor, "C"] | None,
    weight: Float[Tensor, "C"] | None = None,
    bias: Float[Tensor, "C"] | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "B C *S"]:
    """``torch.nn.functional.batch_norm`` whose batch is that of all processes; its arguments and its meaning.

    On the CPU the statistics are rounded once, from float64, so that any number of processes gets the same ones. A GPU
    that is alone uses torch's own, and so does mixed precision in one process, which rounds more coarsely anyway.

    Raises:
        ParamsError: A single value has no variance.

    Source: Ioffe and Szegedy, Batch Normalization, ICML 2015; variances of parts are put together as in Chan, Golub and
    LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """
    coarse = input.device.type != "cpu" or input.dtype in (torch.bfloat16, torch.float16)
    if not training or (world_size() == 1 and coarse):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    x = input if input.dtype == torch.float64 else input.float()
    chosen = x.new_ones(x.shape[1]) if weight is None else weight
    result: tuple[Tensor, ...] = _BatchNorm.apply(x, chosen, bias, eps)
    normalised, *statistics = result
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            for running, statistic in zip((running_mean, running_var), statistics, strict=True):
                running.lerp_(statistic.to(running), momentum)
    return normalised.to(input.dtype)


def _together(
    mean: Float[Tensor, "C"], variance: Float[Tensor, "C"], count: int
) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"], int]:
    """Mean, variance and number of all processes' values from those of each."""
    if world_size() > 1:
        own = torch.cat([mean, variance, mean.new_tensor([count])])
        every = [torch.empty_like(own) for _ in range(world_size())]
        torch.distributed.all_gather(every, own)
        means, variances, counts = torch.split(torch.stack(every), [len(mean), len(mean), 1], 1)
        share, count = counts / counts.sum(), int(counts.sum())
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
    if count < 2:
        raise ParamsError("batch normalisation needs more than one value for each channel: raise batch_size")
    return mean, variance, count


class _BatchNorm(torch.autograd.Function):
    """Two exchanges of vectors of the size of the channels: of the statistics forth, of their gradients back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised values, and mean and unbiased variance of the batch."""
        shape, dims = [1, -1, *[1] * (x.dim() - 2)], [0, *range(2, x.dim())]
        exact = x.to(torch.float64 if x.device.type == "cpu" else x.dtype, copy=True)
        mean = exact.mean(dims)
        variance = exact.sub_(mean.view(shape)).square_().mean(dims)
        mean, variance, count = _together(mean.double(), variance.double(), x.numel() // x.shape[1])
        scale = (variance + eps).rsqrt()
        slope = (weight * scale).to(x)
        offset = (0 if bias is None else bias) - mean * slope
        ctx.save_for_backward(x, weight, mean.to(x), scale.to(x))
        ctx.shape, ctx.dims, ctx.count, ctx.has_bias = shape, dims, count, bias is not None
        statistics = mean, variance * count / (count - 1)
        ctx.mark_non_differentiable(*statistics)
        return torch.addcmul(offset.to(x).view(shape), x, slope.view(shape)), *statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """To the values, weight and bias."""
        x, weight, mean, scale = ctx.saved_tensors
        gradient, centred = gradients[0].to(x), x - mean.view(ctx.shape)
        to_bias = gradient.sum(ctx.dims)
        to_weight = (gradient * centred).sum(ctx.dims) * scale
        whole = torch.stack([to_bias, to_weight])
        if world_size() > 1:
            torch.distributed.all_reduce(whole)
        shift, slope = whole / ctx.count
        to_input = (gradient - shift.view(ctx.shape)).addcmul_(centred, (-slope * scale).view(ctx.shape))
        return to_input.mul_((weight * scale).view(ctx.shape)), to_weight, to_bias if ctx.has_bias else None, None
