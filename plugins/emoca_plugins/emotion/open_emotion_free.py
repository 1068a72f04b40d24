"""The emotion backbone for commercial use that comes with the project: face-api's network, and two levels on top."""

from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from emoca_core import ComponentParams
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone, EmotionPrediction
from emoca_core.weights import RANDOM
from emoca_core.weights.checkpoints import KeyMap, asset_name, find_weights, load_into, read_checkpoint
from emoca_plugins.emotion.face_api_expression import WIDTHS, FaceApiExpression

WEIGHTS = Path(__file__).parent / "data" / "open_emotion_free.safetensors"
START = "face_api_expression"


class OpenEmotionFree(EmotionBackbone):
    """The network of ``face_api_expression``, MIT, trained further on synthetic faces, which know valence and arousal.

    A linear layer on the pooled features tells these two. The weights that come with the project are the mean of the
    published network and of one that synthetic faces have changed.

    Source: this project, docs/open-weights.md; network of the npm package ``@vladmandic/face-api`` 1.7.15.
    """

    class Params(ComponentParams):
        weights: str = "open_emotion_free"
        """``open_emotion_free``: those that come with the project. ``face_api_expression``: that asset, with levels
        that are to be trained. ``random``: nothing is known. Else the file of the whole backbone, e.g.
        ``best.safetensors`` of a run of ``emoca train emotion``."""
        trunk: Literal["train", "frozen"] = "train"
        """``frozen`` trains only valence and arousal."""

    params: Params
    feature_dims = FaceApiExpression.feature_dims
    labels = BASIC_EXPRESSIONS

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        weights = self.params.weights
        inner = START if weights == START else RANDOM
        self.network = FaceApiExpression(FaceApiExpression.Params(weights=inner))
        self.network.requires_grad_(self.params.trunk == "train")
        self.levels = nn.Linear(WIDTHS[-1], 2)
        self.asset_paths = {**self.network.asset_paths}
        path = None if weights == START else self._file(weights)
        if path is not None:
            load_into(self, read_checkpoint(path), KeyMap())
            self.asset_paths = {asset_name("open_emotion_free", weights): path}
            self.eval()

    def _file(self, weights: str) -> Path | None:
        return WEIGHTS if weights == WEIGHTS.stem else find_weights("open_emotion_free", weights)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EmotionPrediction:
        seen = self.network(image)
        valence, arousal = self.levels(seen.features["pooled"]).unbind(1)
        return EmotionPrediction(seen.features, seen.logits, valence, arousal)
