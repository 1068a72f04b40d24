"""The expression network of face-api: seven classes from a colour face of 112 pixels, 329 thousand weights."""

from collections import OrderedDict

import torch
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from emoca_core.formats.load import load_converted
from emoca_core.images.resize import resized
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone, EmotionPrediction
from emoca_core.weights.checkpoints import KeyMap, WeightsParams
from emoca_plugins.emotion.network_files import FACE_API_EXPRESSION

SIZE = 112
MEAN = (122.782, 117.001, 104.298)
"""Subtracted from RGB of 0 to 255; the difference is divided by 255."""
PUBLISHED_ORDER = ("neutral", "happy", "sad", "anger", "fear", "disgust", "surprise")
WIDTHS = (32, 64, 128, 256)
"""Channels of the four blocks."""
KEYS = KeyMap(rename={r"(dense(?:0\.conv[1-3]|[1-3]\.conv[0-3]))\.bias": r"\1.pointwise.bias"})


class FaceApiExpression(EmotionBackbone):
    """Four densely connected blocks of separable convolutions; expression only, no valence or arousal.

    Features: ``pooled`` (256 numbers, the mean of the map, what the classifier sees) and ``map`` (256 x 7 x 7).

    It was trained on tight crops: whole FER2013 pictures (48 px) suit it, with a border of 8 pixels it loses 0.05.

    Source: the npm packages ``@vladmandic/face-api`` 1.7.15 and ``face-api.js``, model ``face_expression_model``. A
    browser resizes by its canvas, which averages pixels; so does ``antialias``.
    """

    class Params(WeightsParams):
        antialias: bool = True
        """Average pixels when a larger face is reduced."""

    params: Params
    feature_dims = {"pooled": WIDTHS[-1], "map": WIDTHS[-1]}  # noqa: RUF012 - a constant of the architecture
    labels = BASIC_EXPRESSIONS
    mean: Tensor
    order: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        for number, (inputs, width) in enumerate(zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)):
            self.add_module(f"dense{number}", _DenseBlock(inputs, width))
        self.fc = nn.Linear(WIDTHS[-1], len(PUBLISHED_ORDER))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        order = torch.tensor([PUBLISHED_ORDER.index(label) for label in self.labels])
        self.register_buffer("order", order, persistent=False)
        self.load_report = load_converted(self, FACE_API_EXPRESSION, self.params.weights, KEYS)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EmotionPrediction:
        x = (255 * resized(image, SIZE, self.params.antialias) - self.mean) / 255
        for number in range(len(WIDTHS)):
            x = self.get_submodule(f"dense{number}")(x)
        pooled = x.mean((2, 3))
        return EmotionPrediction({"pooled": pooled, "map": x}, logits=self.fc(pooled).index_select(1, self.order))


class _DenseBlock(nn.Module):
    """Four convolutions, each of the sum of all before it; the first one halves the resolution.

    The first convolution of the picture itself is a full one, all others are separable.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv0 = Conv2dSame(inputs, width, 3, 2) if inputs == 3 else _separable_conv(inputs, width, 2)
        self.conv1, self.conv2, self.conv3 = (_separable_conv(width, width) for _ in range(3))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        total = first = F.relu(self.conv0(x))
        total = total + self.conv1(first)
        total = total + self.conv2(F.relu(total))
        total = total + self.conv3(F.relu(total))
        return F.relu(total)


def _separable_conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution of every channel under TensorFlow's padding, then a mixture of the channels."""
    depthwise = Conv2dSame(inputs, inputs, 3, stride, groups=inputs, bias=False)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=nn.Conv2d(inputs, outputs, 1)))
