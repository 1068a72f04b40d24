"""How often each colour level occurs, softly, so that gradients pass."""

import torch
from pydantic import Field

from emoca_core import ComponentParams
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction


class ColourHistogram(EmotionBackbone):
    """A soft histogram of each colour. Source: Swain and Ballard, Color Indexing, IJCV 1991, with Gaussian bins."""

    class Params(ComponentParams):
        bins: int = Field(default=8, ge=2)
        """Levels of each colour."""

    params: Params

    def __init__(self, params):
        super().__init__(params)
        self.feature_dims = {"histogram": 3 * params.bins}
        self.register_buffer("levels", torch.linspace(0, 1, params.bins))

    def forward(self, image):
        distance = image.flatten(2)[..., None] - self.levels  # [B, 3, HW, bins]
        share = torch.softmax(-((distance * self.params.bins) ** 2), dim=-1)
        return EmotionPrediction({"histogram": share.mean(2).flatten(1)})
