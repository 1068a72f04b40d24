"""Two small backbones that see something in a face, and where photos for them are."""

from pathlib import Path

import torch
from torch.nn import functional as F

from emoca_core.interfaces import EmotionBackbone, EmotionPrediction

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


class Patches(EmotionBackbone):
    """A fixed linear view of a blurred grey picture, and two made-up classes."""

    labels = ("calm", "lively")
    feature_dims = {"view": 24}  # noqa: RUF012

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.register_buffer("weights", torch.randn(24 * 24, 24, generator=random) / 24)

    def forward(self, image: torch.Tensor) -> EmotionPrediction:
        small = F.interpolate(image.mean(1, keepdim=True), size=(24, 24), mode="bilinear", antialias=True)
        view = small.flatten(1) @ self.weights
        return EmotionPrediction({"view": view}, logits=view[:, :2], valence=view[:, 2])


class Others(Patches):
    """Another one."""

    def __init__(self) -> None:
        super().__init__(seed=1)
