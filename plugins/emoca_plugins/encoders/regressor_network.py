"""The network of the encoder ``regressor``: any trunk of timm and its head."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.interfaces import Block
from emoca_core.weights.timm_trunk import Normalisation, create_trunk, head_width
from emoca_plugins.encoders.code_network import CodeNetwork

FIRST_SPREAD = 0.01
"""Standard deviation of the untrained head's output: close to neutral, but not cut off from the trunk."""


class TrunkRegressor(CodeNetwork):
    """Trunk, hidden layer, one number for each coefficient of the layout, about zero while untrained."""

    def __init__(
        self, model: str, pretrained: bool, normalization: str, hidden: int, layout: Mapping[Block, int]
    ) -> None:
        """Create the network.

        Raises:
            UnknownNameError: timm has no such network.
            MissingAssetError: Its published weights are neither in the cache nor reachable.
        """
        super().__init__(layout)
        self.trunk = create_trunk(model, pretrained)
        self.normalise = Normalisation.of(self.trunk, normalization == "pretrained")
        features = head_width(self.trunk)
        hidden_layer = [nn.Linear(features, hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(*hidden_layer, nn.Linear(hidden or features, sum(layout.values())))
        nn.init.normal_(self.last.weight, std=FIRST_SPREAD / self.last.in_features**0.5)
        nn.init.zeros_(self.last.bias)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Unscaled coefficients of RGB in [0, 1]."""
        return self.layers(self.trunk(self.normalise(image)))
