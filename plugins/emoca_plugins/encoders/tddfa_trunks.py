"""The trunks of 3DDFA-V2: MobileNet-V1 and a small ResNet, both 120 px in, 62 numbers out, names as in its checkpoints.

Source: Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face Alignment", ECCV 2020.
"""

from jaxtyping import Float
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional as F

MOBILENET_BLOCKS = {
    "dw2_1": (64, 1),
    "dw2_2": (128, 2),
    "dw3_1": (128, 1),
    "dw3_2": (256, 2),
    "dw4_1": (256, 1),
    "dw4_2": (512, 2),
    **{f"dw5_{i}": (512, 1) for i in range(1, 6)},
    "dw5_6": (1024, 2),
    "dw6": (1024, 1),
}
"""Name of a depthwise-separable block -> channels at width 1, stride."""


class DepthwiseSeparable(nn.Module):
    """3x3 depthwise and 1x1 convolutions, each with BatchNorm and ReLU (not ReLU6)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_sep = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Features of the next block."""
        x = F.relu(self.bn_dw(self.conv_dw(x)))
        return F.relu(self.bn_sep(self.conv_sep(x)))


class MobileNetV1(nn.Module):
    """MobileNet-V1 with a linear layer: ``mb1`` at width 1, ``mb05`` at width 0.5."""

    def __init__(self, width: float, outputs: int) -> None:
        super().__init__()
        channels = int(32 * width)
        self.conv1 = nn.Conv2d(3, channels, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for name, (full, stride) in MOBILENET_BLOCKS.items():
            self.add_module(name, DepthwiseSeparable(channels, channels := int(full * width), stride))
        self.fc = nn.Linear(channels, outputs)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Outputs for BGR, (x - 127.5) / 128."""
        x = F.relu(self.bn1(self.conv1(image)))
        for name in MOBILENET_BLOCKS:
            x = self.get_submodule(name)(x)
        return self.fc(x.mean((2, 3)))


class ResNet22(nn.Module):
    """Two convolutions, ten basic blocks, and a 1x1 convolution that comes before the average pooling."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, 2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = _layer(64, 128, 3)
        self.layer2 = _layer(128, 256, 4)
        self.layer3 = _layer(256, 512, 3)
        self.conv_param = nn.Conv2d(512, outputs, 1)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Outputs for BGR, (x - 127.5) / 128."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.conv_param(x).mean((2, 3))


def _layer(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
    rest = (BasicBlock(outputs, outputs) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(inputs, outputs, 2, shortcut), *rest)
