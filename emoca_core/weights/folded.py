"""Networks that only look: the same numbers in less time, once their weights are settled."""

from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from emoca_core.weights.timm_trunk import map_and_pooled

_SAME = 1e-3
"""Largest difference that rounding makes, of the largest number; a network that differs by more is used as it is."""


class FoldedTrunk:
    """A trunk for looking: batch normalisation folded into the convolutions before it, pictures with channels last.

    On a CPU, MobileNetV1 takes less than half of the time. It is made when it is first wanted, and again when the
    trunk's weights have changed. While it trains, or is traced for an export, and where nothing can be folded, the
    trunk itself works.

    Args:
        trunk: A network of ``create_trunk``.
    """

    def __init__(self, trunk: nn.Module) -> None:
        self._trunk = trunk
        self._made: tuple[list[tuple[int, int]], nn.Module | None] | None = None

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B C *place"], Float[Tensor, "B D"]]:
        """``map_and_pooled`` of the trunk."""
        quick = self._quick(image) if self._only_looks() else None
        if quick is None:
            return map_and_pooled(self._trunk, image)
        return map_and_pooled(quick, image.contiguous(memory_format=torch.channels_last))

    def _only_looks(self) -> bool:
        if self._trunk.training or torch.compiler.is_compiling():
            return False
        return not (torch.is_grad_enabled() and any(weight.requires_grad for weight in self._trunk.parameters()))

    def _quick(self, image: Float[Tensor, "B 3 H W"]) -> nn.Module | None:
        tensors = self._trunk.state_dict(keep_vars=True).values()
        state = [(each.data_ptr(), 0 if each.is_inference() else each._version) for each in tensors]
        if self._made is None or self._made[0] != state:
            self._made = state, _folded(self._trunk, image[:1].detach())
        return self._made[1]


@torch.no_grad()
def _folded(trunk: nn.Module, image: Float[Tensor, "1 3 H W"]) -> nn.Module | None:
    """A copy without batch normalisation; ``None`` where there is none to fold, or where it computes something else."""
    pairs = _normalised(trunk, image)
    if not pairs:
        return None
    quick = deepcopy(trunk).requires_grad_(False)
    for convolution, norm in pairs:
        first, second = quick.get_submodule(convolution), quick.get_submodule(norm)
        assert isinstance(first, nn.Conv2d) and isinstance(second, _BatchNorm)
        _replace(quick, convolution, fuse_conv_bn_eval(first, second))
        rest = [getattr(second, name) for name in ("drop", "act") if hasattr(second, name)]  # timm's has more in it
        _replace(quick, norm, nn.Sequential(*rest))
    quick = quick.to(memory_format=torch.channels_last)
    expected, found = map_and_pooled(trunk, image), map_and_pooled(quick, image)
    same = all((a - b).abs().max() <= _SAME * a.abs().max() for a, b in zip(expected, found, strict=True))
    return quick if same else None


def _normalised(trunk: nn.Module, image: Float[Tensor, "1 3 H W"]) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch normalisations that take just what these give."""
    given: dict[int, tuple[str, Tensor]] = {}  # by id; the tensors are kept, so that no other gets it
    pairs: list[tuple[str, str]] = []

    def after(name: str) -> Any:
        return lambda module, inputs, output: given.update({id(output): (name, output)})

    def before(name: str) -> Any:
        return lambda module, inputs: pairs.extend((given[id(one)][0], name) for one in inputs if id(one) in given)

    hooks = []
    for name, module in trunk.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after(name)))
        elif isinstance(module, _BatchNorm) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(before(name)))
    try:
        map_and_pooled(trunk, image)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
