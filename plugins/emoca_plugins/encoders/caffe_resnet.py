"""ExpNet's trunk: Caffe's ResNet-101 as TensorFlow runs it, with the stride on the first 1x1 and SAME padding.

Source: Chang et al., "ExpNet: Landmark-Free, Deep, 3D Facial Expressions", FG 2018; He et al., CVPR 2016 (Caffe model).
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import max_pool2d_same
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = {"2": (64, 3, 1), "3": (128, 4, 2), "4": (256, 23, 2), "5": (512, 3, 2)}
"""Name of a stage -> width of the bottleneck, number of units, stride of the first unit."""
_NUMBERED = "34"
"""Stages whose units are called a, b1, b2, ...; the others are a, b, c."""


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution without bias, and a BatchNorm; SAME padding puts the odd pixel after."""
    conv = Conv2dSame(inputs, outputs, kernel, stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs, eps=1e-5)))


class Unit(nn.Module):
    """Bottleneck: strided 1x1, 3x3, 1x1, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.branch1 = convolution(inputs, 4 * width, 1, stride) if inputs != 4 * width else nn.Identity()
        self.branch2a = convolution(inputs, width, 1, stride)
        self.branch2b = convolution(width, width, 3)
        self.branch2c = convolution(width, 4 * width, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Features of the next unit."""
        out = self.branch2c(F.relu(self.branch2b(F.relu(self.branch2a(x)))))
        return F.relu(self.branch1(x) + out)


class CaffeResNet101(nn.Module):
    """Mean-free BGR of 224 px to ``outputs`` numbers."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = convolution(3, 64, 7, 2)
        inputs = 64
        for stage, (width, units, stride) in STAGES.items():
            for name in unit_names(stage, units):
                self.add_module(name, Unit(inputs, width, stride))
                inputs, stride = 4 * width, 1
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B D"]:
        """Raw outputs."""
        return self.fc(self.features(image))

    def features(self, image: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B 2048"]:
        """What the last layer sees (``pool5``)."""
        x = F.relu(self.conv1(image))
        x = max_pool2d_same(x, [3, 3], [2, 2])
        for stage, (_, units, _) in STAGES.items():
            for name in unit_names(stage, units):
                x = self.get_submodule(name)(x)
        return F.avg_pool2d(x, 7).flatten(1)


def unit_names(stage: str, units: int) -> list[str]:
    """``res2a, res2b, res2c`` or ``res4a, res4b1, ..., res4b22``."""
    rest = [f"b{i}" for i in range(1, units)] if stage in _NUMBERED else ["b", "c"][: units - 1]
    return [f"res{stage}{suffix}" for suffix in ["a", *rest]]


def resize_legacy(image: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 h w"]:
    """TensorFlow 1's ``resize_bilinear``: the source of pixel i is i * H / size, without the half-pixel shift."""
    for axis in (2, 3):
        length = image.shape[axis]
        source = torch.arange(size, device=image.device, dtype=image.dtype) * (length / size)
        low = source.floor().long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        weight = (source - low).reshape(-1, *[1] * (3 - axis))
        image = image.index_select(axis, low) * (1 - weight) + image.index_select(axis, high) * weight
    return image
