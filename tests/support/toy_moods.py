"""An emotion backbone for tests: the brighter, the happier."""

import torch

from emoca_core.interfaces import EmotionBackbone, EmotionPrediction


class Moods(EmotionBackbone):
    """Bright is happy."""

    labels = ("sad", "happy")
    feature_dims = {}  # noqa: RUF012

    def forward(self, image):
        bright = image.mean((1, 2, 3))
        return EmotionPrediction({}, torch.stack([-bright, bright], 1), valence=4 * bright - 1)
