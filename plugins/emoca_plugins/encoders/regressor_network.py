"""The network of the encoder ``regressor``: a trunk of timm and its head."""

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emoca_core.interfaces import Block
from emoca_core.weights.timm_trunk import create_trunk, head_width

FIRST_SPREAD = 0.01
"""Standard deviation of the untrained head's output: close to neutral, but not cut off from the trunk."""


class Network(nn.Module):
    """Trunk, hidden layer, one number for each coefficient of the layout, about zero while untrained.

    Attributes:
        layout: Blocks of the output and their sizes, in order.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, model: str, pretrained: bool, normalization: str, hidden: int, layout: Mapping[Block, int]
    ) -> None:
        """Create the network.

        Raises:
            UnknownNameError: timm has no such network.
            MissingAssetError: Its published weights are neither in the cache nor reachable.
        """
        super().__init__()
        self.layout = dict(layout)
        self.trunk = create_trunk(model, pretrained)
        config = cast(Any, self.trunk).pretrained_cfg
        statistics = (config["mean"], config["std"]) if normalization == "pretrained" else ([0.0] * 3, [1.0] * 3)
        for name, values in zip(("mean", "deviation"), statistics, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        features, outputs = head_width(self.trunk), sum(layout.values())
        hidden_layer = [nn.Linear(features, hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(*hidden_layer, nn.Linear(hidden or features, outputs))
        last = cast(nn.Linear, self.layers[-1])
        nn.init.normal_(last.weight, std=FIRST_SPREAD / last.in_features**0.5)
        nn.init.zeros_(last.bias)

    @property
    def last(self) -> tuple[str, str]:
        """Names of the last layer's tensors."""
        number = len(self.layers) - 1
        return f"layers.{number}.weight", f"layers.{number}.bias"

    def rows(self, blocks: Mapping[Block, int]) -> Int[Tensor, "D"]:
        """Which outputs belong to some blocks."""
        numbers = torch.split(torch.arange(sum(self.layout.values())), list(self.layout.values()))
        by_block = dict(zip(self.layout, numbers, strict=True))
        return torch.cat([by_block[block] for block in blocks])

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Unscaled coefficients of RGB in [0, 1]."""
        return cast(Tensor, self.layers(self.trunk((image - self.mean) / self.deviation)))


def clone_for(network: Network, blocks: Mapping[Block, int]) -> Network:
    """A trainable copy with the outputs of some blocks alone."""
    clone = copy.deepcopy(network).requires_grad_(True)
    last, kept = cast(nn.Linear, network.layers[-1]), network.rows(blocks)
    smaller = nn.Linear(last.in_features, len(kept)).to(last.weight)
    with torch.no_grad():
        smaller.weight.copy_(last.weight[kept])
        smaller.bias.copy_(last.bias[kept])
    clone.layers[-1] = smaller
    clone.layout = dict(blocks)
    return clone
