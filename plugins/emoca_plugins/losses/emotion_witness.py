"""The picture shows the emotion of the photo to a backbone that the method does not look through."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import Capture, EmotionBackbone
from emoca_core.registry.spec import UsedComponent, uses
from emoca_plugins.losses.emotion_consistency import EmotionConsistency


class EmotionWitness(EmotionConsistency):
    """``emotion_consistency`` with an emotion backbone of its own.

    Declared ``as: metric`` it tells whether what a training gains before its own backbone is there for another one too:
    a face that is fitted to one network may please that network alone. It is also the one measure in which trainings
    through different backbones can be compared.

    Source: this project; the comparison is that of EMOCA (Danecek et al., CVPR 2022).
    """

    class Params(EmotionConsistency.Params):
        backbone: UsedComponent = uses("emotion_backbone")
        """The emotion backbone, e.g. ``{uses: emonet, params: {weights: emonet_8}}``."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"picture"})

    def __init__(self, params: Params, backbone: EmotionBackbone) -> None:
        super().__init__(params)
        self.backbone = backbone.requires_grad_(False)
        self.asset_paths = {**self.backbone.asset_paths}

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        picture = self.need(capture.picture, "a picture")
        with torch.no_grad():
            wanted = self.backbone(capture.crop.image)
        return self.compare(self.backbone(picture), wanted)
