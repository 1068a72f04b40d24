"""MGCNet's trunk: TensorFlow-slim's ResNet-50 as its released graph really is, without any BatchNorm.

The graph was built outside slim's argument scope. Hence every convolution has a bias, the max-pool is unpadded
(112 -> 55), and the stride of blocks 1-3 sits in their *last* unit, whose shortcut is plain subsampling.

Source: Shang et al., "Self-Supervised Monocular 3D Face Reconstruction by Occlusion-Aware Multi-view Geometry
Consistency" (MGCNet), ECCV 2020; tf_slim resnet_v1_50.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1))
"""Width of the bottleneck, number of units, stride of the last unit."""


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with biases, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.stride = stride
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else None
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Features of the next unit."""
        shortcut = self.shortcut(x) if self.shortcut else x[:, :, :: self.stride, :: self.stride]
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return F.relu(shortcut + self.conv3(x))


class SlimResNet50(nn.Module):
    """RGB in [0, 1], 224 px, to ``outputs`` numbers. Module names follow the variables of the checkpoint."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        inputs = 64
        for number, (width, units, stride) in enumerate(BLOCKS, start=1):
            block = nn.Module()
            for unit in range(1, units + 1):
                block.add_module(f"unit_{unit}", Bottleneck(inputs, width, stride if unit == units else 1))
                inputs = 4 * width
            self.add_module(f"block{number}", block)
        self.logits = nn.Conv2d(inputs, outputs, 1)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Raw outputs."""
        x = F.max_pool2d(F.relu(self.conv1(image)), 3, 2)
        for number in range(1, len(BLOCKS) + 1):
            for unit in self.get_submodule(f"block{number}").children():
                x = unit(x)
        return self.logits(x.mean((2, 3), keepdim=True)).flatten(1)
