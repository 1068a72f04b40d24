"""Any image network of timm as an emotion backbone."""

from pathlib import Path
from typing import Literal

from jaxtyping import Float
from pydantic import Field, JsonValue
from torch import Tensor, nn

from emoca_core import ComponentParams
from emoca_core.images.resize import resized
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone, EmotionPrediction
from emoca_core.interfaces.global_batch import gather_batch
from emoca_core.registry.spec import ImageSize
from emoca_core.weights.checkpoints import KeyMap, asset_name, find_weights, load_into, read_checkpoint
from emoca_core.weights.folded import FoldedTrunk
from emoca_core.weights.timm_trunk import (
    Normalisation,
    create_trunk,
    has_folded_statistics,
    head_width,
    map_channels,
    measure_statistics,
)


class TimmBackbone(EmotionBackbone):
    """A timm network with one linear layer [expression logits, valence, arousal].

    Features: ``pooled`` [B, D], the pooled vector before the head, and ``map`` [B, C, h, w], the last feature map.

    Source: EMOCA supplementary, emotion recognition networks (ResNet-50 and Swin-B with this head); timm's trunks.
    """

    class Params(ComponentParams):
        model: str = "resnet50"
        """Name of the network in timm, with or without the tag of its weights."""
        options: dict[str, JsonValue] = Field(default={})
        """Arguments of the network itself, e.g. ``img_size``, ``embed_dim``, ``depths`` of a Swin transformer."""
        weights: str = "pretrained"
        """``pretrained``: timm's published weights, from its cache or its hub, with an untrained head. ``random``: for
        training from scratch, or when a trained state is loaded next. Else the whole backbone: name of an asset or
        path of a file, e.g. ``best.safetensors`` of a run of ``emoca train emotion``."""
        labels: tuple[str, ...] = BASIC_EXPRESSIONS
        """Names of the expression classes, in the order of the logits."""
        image_size: ImageSize | None = Field(default=None, ge=16)
        """Side to which images are resized, pixels; none leaves them as they are."""
        normalization: Literal["pretrained", "none"] = "pretrained"
        """``pretrained`` subtracts the mean and divides by the deviation of the network's weights; EMOCA used none."""
        batch_norm: Literal["train", "frozen", "measured"] = "train"
        """``frozen`` keeps the running statistics of batch normalisation while training. ``measured`` takes those of
        the first batch, for weights that have none because they were folded away; the outputs stay what they were."""
        trunk: Literal["train", "frozen"] = "train"
        """``frozen`` trains only the head."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.labels = self.params.labels
        self.trunk = create_trunk(self.params.model, self.params.weights == "pretrained", self.params.options)
        self.normalise = Normalisation.of(self.trunk, self.params.normalization == "pretrained")
        self._look = FoldedTrunk()
        width = head_width(self.trunk)
        self.head = nn.Linear(width, len(self.labels) + 2)
        self.feature_dims = {"pooled": width, "map": map_channels(self.trunk)}
        if self.params.trunk == "frozen":
            self.trunk.requires_grad_(False)
        if self.params.weights != "pretrained":
            self._load(self.params.weights)

    def _file(self, weights: str) -> Path | None:
        return find_weights("timm", weights)

    def _load(self, weights: str) -> None:
        path = self._file(weights)
        if path is None:
            return
        checkpoint = read_checkpoint(path)
        if any(name.startswith("trunk.") for name in checkpoint):
            load_into(self, checkpoint, KeyMap())
            self.asset_paths = {**self.asset_paths, asset_name("timm", weights): path}
            self.eval()
        else:
            load_into(self.trunk, checkpoint, KeyMap())

    def train(self, mode: bool = True) -> "TimmBackbone":
        super().train(mode)
        if self.params.trunk == "frozen":
            self.trunk.eval()
        elif self.params.batch_norm == "frozen":
            for module in self.trunk.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EmotionPrediction:
        size = self.params.image_size
        image = self.normalise(image if size is None else resized(image, size, antialias=True))
        if self.training and self.params.batch_norm == "measured" and has_folded_statistics(self.trunk):
            measure_statistics(self.trunk, gather_batch(image))
        feature_map, pooled = self._look(self.trunk, image)
        output = self.head(pooled)
        return EmotionPrediction(
            {"pooled": pooled, "map": feature_map},
            logits=output[:, : len(self.labels)],
            valence=output[:, -2],
            arousal=output[:, -1],
        )
