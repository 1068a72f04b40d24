"""Networks whose outputs are the blocks of a face code behind each other."""

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emoca_core.interfaces import Block
from emoca_core.weights.timm_trunk import create_trunk, head_width

Network = TypeVar("Network", bound="CodeNetwork")


class CodeNetwork(nn.Module):
    """A trunk, and layers of which the last has one output for each coefficient.

    Attributes:
        layout: Blocks of the output and their sizes, in order.
    """

    layers: nn.Sequential

    def __init__(self, layout: Mapping[Block, int]) -> None:
        super().__init__()
        self.layout = dict(layout)

    @property
    def last(self) -> nn.Linear:
        """The last layer."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

    def rows(self, blocks: Mapping[Block, int]) -> Int[Tensor, "D"]:
        """Which outputs belong to some blocks."""
        numbers = torch.split(torch.arange(sum(self.layout.values())), list(self.layout.values()))
        by_block = dict(zip(self.layout, numbers, strict=True))
        return torch.cat([by_block[block] for block in blocks])


def clone_for(network: Network, blocks: Mapping[Block, int]) -> Network:
    """A trainable copy with the outputs of some blocks alone."""
    clone = copy.deepcopy(network).requires_grad_(True)
    last, kept = network.last, network.rows(blocks)
    smaller = nn.Linear(last.in_features, len(kept)).to(last.weight)
    with torch.no_grad():
        smaller.weight.copy_(last.weight[kept])
        smaller.bias.copy_(last.bias[kept])
    clone.layers[-1] = smaller
    clone.layout = dict(blocks)
    return clone


class CoefficientRegressor(CodeNetwork):
    """ResNet-50, 2048 -> 1024, ReLU, 1024 -> outputs.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1; the names are those of its checkpoint.
    """

    def __init__(self, layout: Mapping[Block, int]) -> None:
        super().__init__(layout)
        self.encoder = create_trunk("resnet50", pretrained=False)
        outputs = sum(layout.values())
        self.layers = nn.Sequential(nn.Linear(head_width(self.encoder), 1024), nn.ReLU(), nn.Linear(1024, outputs))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Coefficients of RGB in [0, 1], without ImageNet statistics."""
        return self.layers(self.encoder(image))
