"""The ResNet of DECA, EMOCA and Deep3DFace: torchvision's, with the stride on the 3x3 convolution, through timm."""

from typing import Any, cast

import timm
from jaxtyping import Float
from torch import Tensor, nn


def resnet_trunk(depth: int, outputs: int = 0) -> nn.Module:
    """A ResNet without pretrained weights: pooled features, or a linear layer named ``fc`` on top of them.

    Args:
        depth: 18 or 50.
        outputs: Size of ``fc``; 0 leaves it out.
    """
    return timm.create_model(f"resnet{depth}", pretrained=False, num_classes=outputs)


def feature_width(trunk: nn.Module) -> int:
    """Length of a timm trunk's pooled features."""
    return int(cast(Any, trunk).num_features)


class CoefficientRegressor(nn.Module):
    """ResNet-50, 2048 -> 1024, ReLU, 1024 -> outputs.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1; the names are those of its checkpoint.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = resnet_trunk(50)
        self.layers = nn.Sequential(nn.Linear(feature_width(self.encoder), 1024), nn.ReLU(), nn.Linear(1024, outputs))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Coefficients of RGB in [0, 1], without ImageNet statistics."""
        return cast(Tensor, self.layers(self.encoder(image)))
