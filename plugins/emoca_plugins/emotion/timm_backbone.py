"""Any image network of timm as an emotion backbone."""

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from emoca_core import ComponentParams
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone, EmotionPrediction
from emoca_core.registry.spec import ImageSize
from emoca_core.weights.checkpoints import KeyMap, load_published
from emoca_core.weights.timm_trunk import create_trunk, head_width


class TimmBackbone(EmotionBackbone):
    """A timm network with one linear layer [expression logits, valence, arousal].

    Features: ``pooled`` [B, D], the pooled vector before the head, and ``map`` [B, C, h, w], the last feature map.

    Source: EMOCA supplementary, emotion recognition networks (ResNet-50 and Swin-B with this head); timm's trunks.
    """

    class Params(ComponentParams):
        model: str = "resnet50"
        """Name of the network in timm, with or without the tag of its weights."""
        options: dict[str, Any] = Field(default={})
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
        batch_norm: Literal["train", "frozen"] = "train"
        """``frozen`` keeps the running statistics of batch normalisation while training."""
        trunk: Literal["train", "frozen"] = "train"
        """``frozen`` trains only the head."""

    params: Params
    mean: Tensor
    deviation: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.labels = self.params.labels
        self.trunk = create_trunk(self.params.model, self.params.weights == "pretrained", self.params.options)
        config = cast(Any, self.trunk).pretrained_cfg
        unit = self.params.normalization == "none"
        self.register_buffer("mean", torch.tensor([0.0] * 3 if unit else config["mean"]).view(3, 1, 1), False)
        self.register_buffer("deviation", torch.tensor([1.0] * 3 if unit else config["std"]).view(3, 1, 1), False)
        width = head_width(self.trunk)
        self.head = nn.Linear(width, len(self.labels) + 2)
        self.feature_dims = {"pooled": width, "map": int(cast(Any, self.trunk).num_features)}
        if self.params.trunk == "frozen":
            self.trunk.requires_grad_(False)
        if self.params.weights != "pretrained":
            load_published(self, "timm", self.params.weights, KeyMap())

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
        size, trunk = self.params.image_size, cast(Any, self.trunk)
        if size is not None and image.shape[-2:] != (size, size):
            image = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
        feature_map = trunk.forward_features((image - self.mean) / self.deviation)
        pooled = trunk.forward_head(feature_map, pre_logits=True)
        output = self.head(pooled)
        return EmotionPrediction(
            {"pooled": pooled, "map": _channels_first(feature_map, self.feature_dims["map"])},
            logits=output[:, : len(self.labels)],
            valence=output[:, -2],
            arousal=output[:, -1],
        )


def _channels_first(feature_map: Tensor, channels: int) -> Tensor:
    """Convolutional networks give [B, C, h, w], Swin gives [B, h, w, C], plain transformers [B, N, C]."""
    channels_last = feature_map.ndim != 4 or feature_map.shape[1] != channels
    return feature_map.movedim(-1, 1) if channels_last else feature_map
