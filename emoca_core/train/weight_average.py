"""A running average of the weights of a training: less noisy than the weights of any one step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Shaped
from torch import Tensor, nn


class WeightAverage:
    """Exponential average of weights and statistics (those of batch normalisation), beside the module.

    The first steps count more than the decay says, so that the average does not remember the initialisation. Equal
    weights in all processes have equal averages.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 1992; the decay of early steps is that of TensorFlow's
    ``ExponentialMovingAverage``.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 0.0)
        >>> average = WeightAverage(layer, 0.99)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> average.update(step=1)
        >>> with average.in_place():
        ...     print(round(layer.weight.item(), 3))
        0.818
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after an optimiser step, of which there have been ``step``."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in self.module.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, share)
            else:
                self.state[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module with the averaged weights, as long as the block lasts."""
        own = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
        self.module.load_state_dict(self.state)
        try:
            yield
        finally:
            self.module.load_state_dict(own)

    def load(self, state: Mapping[str, Shaped[Tensor, "..."]]) -> None:
        """Go on with an average that was saved."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
