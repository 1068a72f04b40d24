"""The network of EmoNet: a two-stack face alignment network whose heat maps guide an emotion head.

Every normalisation is a BatchNorm. Source: Toisoul et al., "Estimation of continuous valence and arousal levels from
faces in naturalistic conditions", Nature Machine Intelligence 2021; face alignment network of Bulat and Tzimiropoulos,
ICCV 2017. Names are those of the published checkpoints.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

DEPTH = 4
"""Levels of an hourglass."""
STACKS = 2
LANDMARKS = 68


class ConvBlock(nn.Module):
    """Three pre-activated 3x3 convolutions whose outputs are concatenated, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv3x3(inputs, half)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), _conv3x3(half, quarter)
        self.bn3, self.conv3 = nn.BatchNorm2d(quarter), _conv3x3(quarter, quarter)
        self.downsample = (
            nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False))
            if inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Features of the same size."""
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        return torch.cat([first, second, third], dim=1) + self.downsample(x)


class Hourglass(nn.Module):
    """Down and up again, with a skip connection on every level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for level in range(DEPTH, 0, -1):
            for branch in ("b1", "b2", "b3"):
                self.add_module(f"{branch}_{level}", ConvBlock(channels, channels))
        self.b2_plus_1 = ConvBlock(channels, channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Features of the same size."""
        return self._level(DEPTH, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        skip = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(F.max_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return skip + F.interpolate(low, scale_factor=2, mode="nearest")


class EmoNetNetwork(nn.Module):
    """RGB to landmarks' heat maps, expression logits, valence and arousal; 256 px in the published networks.

    Args:
        classes: 8 or 5 in the published files.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, padding=3), nn.BatchNorm2d(64)
        self.conv2, self.conv3, self.conv4 = ConvBlock(64, 128), ConvBlock(128, 128), ConvBlock(128, 256)
        for stack in range(STACKS):
            self.add_module(f"m{stack}", Hourglass(256))
            self.add_module(f"top_m_{stack}", ConvBlock(256, 256))
            self.add_module(f"conv_last{stack}", nn.Conv2d(256, 256, 1))
            self.add_module(f"bn_end{stack}", nn.BatchNorm2d(256))
            self.add_module(f"l{stack}", nn.Conv2d(256, LANDMARKS, 1))
        self.bl0, self.al0 = nn.Conv2d(256, 256, 1), nn.Conv2d(LANDMARKS, 256, 1)
        self.conv1x1_input_emo_2 = nn.Conv2d(256 * (STACKS + 1), 256, 1)
        blocks = [module for _ in range(4) for module in (ConvBlock(256, 256), nn.MaxPool2d(2))]
        self.emo_net_2 = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1))  # of 4 x 4 at 256 px
        self.emo_fc_2 = nn.Sequential(nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU())
        self.classify(classes)

    def classify(self, classes: int) -> None:
        """Give the head a new last layer, for this many classes, valence and arousal."""
        self.emo_fc_2 = nn.Sequential(*self.emo_fc_2[:3], nn.Linear(128, classes + 2))

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> dict[str, Tensor]:
        """``heatmap`` [B,68,S/4,S/4], ``map`` [B,768,S/4,S/4], ``pooled`` [B,256], ``head`` [B, classes + 2].

        S is a multiple of 64: the hourglasses halve a quarter of it four times.
        """
        stem = self.stem(image)
        first = self._stack(0, stem)
        heat = self.get_submodule("l0")(first)
        first = self.bl0(first)  # the emotion head sees the first stack after this convolution, the last one before
        last = self._stack(1, stem + first + self.al0(heat))
        heat = self.get_submodule("l1")(last)
        attention = heat.sum(dim=1, keepdim=True)  # raw: neither a sigmoid nor a normalisation
        features = torch.cat([stem, first * attention, last * attention], dim=1)
        pooled = self.emo_net_2(self.conv1x1_input_emo_2(features)).flatten(1)
        return {"heatmap": heat, "map": features, "pooled": pooled, "head": self.emo_fc_2(pooled)}

    def stem(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256 h w"]:
        """Features at a quarter of the resolution."""
        x = self.conv2(F.relu(self.bn1(self.conv1(image))))
        return self.conv4(self.conv3(F.max_pool2d(x, 2)))

    def _stack(self, stack: int, x: Tensor) -> Tensor:
        x = self.get_submodule(f"top_m_{stack}")(self.get_submodule(f"m{stack}")(x))
        x = self.get_submodule(f"conv_last{stack}")(x)
        return F.relu(self.get_submodule(f"bn_end{stack}")(x))


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
