"""How often each colour level occurs, softly, so that gradients pass."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from emoca_core import ComponentParams
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone, EmotionPrediction


class ColourHistogram(EmotionBackbone):
    """A soft histogram of each colour, with levels that are learned, and a linear head.

    Source: Swain and Ballard, Color Indexing, IJCV 1991, with Gaussian bins.
    """

    class Params(ComponentParams):
        bins: int = Field(default=8, ge=2)
        """Levels of each colour."""
        labels: tuple[str, ...] = BASIC_EXPRESSIONS
        """Names of the expression classes; training sets those of its data."""

    params: Params

    def __init__(self, params=None):
        super().__init__(params)
        self.labels, self.feature_dims = self.params.labels, {"histogram": 3 * self.params.bins}
        self.levels = nn.Parameter(torch.linspace(0, 1, self.params.bins))
        self.head = nn.Linear(3 * self.params.bins, len(self.labels) + 2)

    def forward(self, image):
        pixels = F.adaptive_avg_pool2d(image, 32).flatten(2)
        distance = pixels[..., None] - self.levels  # [B, 3, 1024, bins]
        histogram = torch.softmax(-((distance * self.params.bins) ** 2), dim=-1).mean(2).flatten(1)
        output = self.head(histogram)
        return EmotionPrediction({"histogram": histogram}, output[:, :-2], output[:, -2], output[:, -1])
