"""Networks that only look: the same numbers in less time, once their weights are settled."""

import threading
from collections import Counter
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
_Seen = tuple[Float[Tensor, "B C *place"], Float[Tensor, "B D"]]
_State = list[tuple[int, ...]]
_Made = tuple[_State, nn.Module | None]
"""The state of a trunk, and what was made of it; ``None`` where the trunk itself works."""


class FoldedTrunk:
    """Looks through a trunk: with batch normalisation folded into the convolutions, and pictures with channels last.

    On a CPU, MobileNetV1 at 96 pixels takes half of the time. The copy that does this is made when it is first wanted,
    and again when weights, layers, their modes or hooks have changed; what is written behind torch's back, as through
    ``.data`` or NumPy, is not noticed. While anything of the trunk trains, or is exported, and where nothing can be
    folded, the trunk itself works.
    """

    def __init__(self) -> None:
        self._made: _Made | None = None
        self._making = threading.Lock()

    def __call__(self, trunk: nn.Module, image: Float[Tensor, "B 3 H W"]) -> _Seen:
        """``map_and_pooled`` of a trunk of ``create_trunk``."""
        quick = None
        if not torch.compiler.is_compiling() and len(image) and (state := _state(trunk)):
            quick = self._quick(trunk, image, state)
        if quick is None:
            return map_and_pooled(trunk, image)
        return map_and_pooled(quick, image.contiguous(memory_format=torch.channels_last))

    def __getstate__(self) -> dict[str, object]:
        return {}  # the copy is made again

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__()  # type: ignore[misc]

    def _quick(self, trunk: nn.Module, image: Float[Tensor, "B 3 H W"], state: _State) -> nn.Module | None:
        made = self._made
        if made is None or made[0] != state:
            with self._making:
                made = self._made
                if made is None or made[0] != state:
                    made = self._made = state, _folded(trunk, image[:1].detach())
        return made[1]


def _state(trunk: nn.Module) -> _State:
    """What a folded copy depends on; nothing where the trunk does not only look, or would not tell that it changes."""
    state: _State = []
    trains = torch.is_grad_enabled()
    for layer in trunk.modules():
        if layer.training:
            return []
        state.append((id(layer), len(layer._forward_hooks), len(layer._forward_pre_hooks)))
        for each in (*layer._parameters.values(), *layer._buffers.values()):
            if each is not None:
                if each.is_inference() or (trains and each.requires_grad):
                    return []
                state.append((each.data_ptr(), each._version))
    return state


@torch.no_grad()
def _folded(trunk: nn.Module, image: Float[Tensor, "1 3 H W"]) -> nn.Module | None:
    """A copy without batch normalisation; ``None`` where there is none to fold, or where it computes something else."""
    quick = deepcopy(trunk).requires_grad_(False)
    expected = map_and_pooled(trunk, image)
    pairs = _normalised(quick, image)
    if not pairs:
        return None
    for convolution, norm in pairs:
        first, second = quick.get_submodule(convolution), quick.get_submodule(norm)
        assert isinstance(first, nn.Conv2d) and isinstance(second, _BatchNorm)
        _replace(quick, convolution, fuse_conv_bn_eval(first, second))
        rest = [getattr(second, name) for name in ("drop", "act") if hasattr(second, name)]  # timm's has more in it
        _replace(quick, norm, nn.Sequential(*rest))
    for weight in quick.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    found = map_and_pooled(quick, image)
    same = all((a - b).abs().max() <= _SAME * a.abs().max() for a, b in zip(expected, found, strict=True))
    return quick if same else None


def _normalised(trunk: nn.Module, image: Float[Tensor, "1 3 H W"]) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch normalisations that take just what these give, once in a pass."""
    given: dict[int, tuple[str, Tensor]] = {}  # by id; the tensors are kept, so that no other gets it
    pairs: list[tuple[str, str]] = []
    runs: Counter[str] = Counter()

    def after(name: str) -> Any:
        def note(module: nn.Module, inputs: object, output: Tensor) -> None:
            given[id(output)] = name, output
            runs[name] += 1

        return note

    def before(name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            pairs.extend((given[id(one)][0], name) for one in inputs if id(one) in given)
            runs[name] += 1

        return note

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
    return [pair for pair in pairs if all(runs[name] == 1 for name in pair)]


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
