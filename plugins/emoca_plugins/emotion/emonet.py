"""EmoNet: expression, valence and arousal of a face, with the features of its emotion head."""

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core.images.resize import resized
from emoca_core.interfaces import EXPRESSIONS, EmotionBackbone, EmotionPrediction
from emoca_core.registry.spec import ImageSize
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, load_published
from emoca_plugins.emotion.emonet_network import EmoNetNetwork

LABELS = {8: EXPRESSIONS, 5: ("neutral", "happy", "sad", "surprise", "anger")}
"""The published data loader maps anger to the fifth of the 5 classes; the README calls that class fear."""
KEYS = KeyMap(strip=("state_dict.", "module.", "network."), rename={r"(?=\w)": "network."})
"""Published files have no prefix, those of our own training do."""


class EmoNet(EmotionBackbone):
    """Two-stack face alignment network whose heat maps attend an emotion head.

    Features: ``pooled`` (256 numbers, before the fully connected layers) and ``map`` (768 x 64 x 64: the features of
    the stem, and those of both stacks times the sum of the last heat maps).

    Source: Toisoul et al., "Estimation of continuous valence and arousal levels from faces in naturalistic conditions",
    Nature Machine Intelligence 2021; weights ``emonet_8.pth`` and ``emonet_5.pth``. Input RGB in [0, 1], 256 px.
    """

    class Params(WeightsParams):
        classes: Literal[8, 5] = 8
        """Expression classes of the published network. Its weights are the assets ``emonet_8`` and ``emonet_5``."""
        labels: tuple[str, ...] | None = None
        """Names of other classes, for training: published weights then serve all layers but the last, which starts
        untrained. A file of your own training holds the last layer too."""
        image_size: ImageSize = Field(default=256, ge=64, multiple_of=64)
        """Input size, pixels. The published weights are of 256; a smaller one, for training from random weights, takes
        time in proportion to its area."""

    params: Params
    feature_dims = {"pooled": 256, "map": 768}  # noqa: RUF012 - a constant of the architecture

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        published = LABELS[self.params.classes]
        self.labels = self.params.labels or published
        self.network = EmoNetNetwork(self.params.classes)
        asset = f"emonet_{self.params.classes}"
        with_own_head = self.labels != published and self.params.weights not in (None, asset)
        if with_own_head:
            self.network.classify(len(self.labels))
        self.load_report = load_published(self, asset, self.params.weights, KEYS)
        if self.labels != published and not with_own_head:
            self.network.classify(len(self.labels))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EmotionPrediction:
        """Predict; other sizes than ``image_size`` are resized bilinearly without antialiasing, as EMOCA does."""
        output = self.network(resized(image, self.params.image_size))
        head = output["head"]
        return EmotionPrediction(
            features={name: output[name] for name in self.feature_dims},
            logits=head[:, :-2],
            valence=head[:, -2],
            arousal=head[:, -1],
        )
