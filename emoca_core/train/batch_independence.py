"""Layers whose numbers do not depend on how a batch is shared out among processes.

Three layers of torch depend on it: BatchNorm by what it means, and on CPUs Linear and Conv2d by rounding, which the
losses then magnify: their derivatives jump where a residual changes its sign. While such a layer computes, the function
behind it is exchanged, so that modules, names and state dicts stay as they are and subclasses, such as timm's
normalisation with an activation, work as well.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from emoca_core.train.batch_norm import batch_norm_over_processes

LARGE = 8192
"""Pixels of an image from which on a convolution is computed image by image."""


def make_batch_independent(model: nn.Module) -> None:
    """Let the layers of a model, once and for all, compute the same whatever else is in the batch of this process."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Linear | nn.Conv2d):
            module.register_forward_pre_hook(_begin)
            module.register_forward_hook(_end, always_call=True)


def linear(x: Tensor, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None = None) -> Tensor:
    """``torch.nn.functional.linear``; of one vector for each image on the CPU it is rounded once, from float64.

    A float32 product of fewer than about a dozen rows adds in an order that depends on their number.
    """
    if x.dim() != 2 or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    return F.linear(x.double(), weight.double(), None if bias is None else bias.double()).float()


def conv2d(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O _ _ _"],
    bias: Float[Tensor, "O"] | None = None,
    *args: object,
    **options: object,
) -> Float[Tensor, "B O H2 W2"]:
    """``torch.nn.functional.conv2d`` with a precise gradient for its weights where images are large, on the CPU.

    There the gradient is a float32 sum over the pixels of all images, one after the other: of a million pixels of one
    sign it is wrong by up to 2 %. Image by image, and with the bias apart, it is right to 1e-6 and no slower.
    """
    convolve: Callable[..., Tensor] = F.conv2d
    trained = weight.requires_grad and torch.is_grad_enabled()
    if not trained or x.dim() != 4 or x.device.type != "cpu" or x.shape[-2:].numel() < LARGE:
        return convolve(x, weight, bias, *args, **options)
    images = torch.cat([convolve(image, weight, None, *args, **options) for image in torch.split(x, 1)])
    return images if bias is None else images + bias[:, None, None]


_EXCHANGED: Mapping[Callable[..., Tensor], Callable[..., Tensor]] = MappingProxyType(
    {F.batch_norm: batch_norm_over_processes, F.linear: linear, F.conv2d: conv2d}
)


class _Exchanged(TorchFunctionMode):
    """Calls the functions of this module in the place of torch's."""

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        return _EXCHANGED.get(func, func)(*args, **(kwargs or {}))


_MODE = _Exchanged()


def _begin(module: nn.Module, inputs: object) -> None:
    _MODE.__enter__()  # type: ignore[no-untyped-call]


def _end(module: nn.Module, inputs: object, output: object) -> None:
    _MODE.__exit__(None, None, None)  # type: ignore[no-untyped-call]
