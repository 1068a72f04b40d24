"""Published weights of face recognition networks."""

from collections.abc import Iterator

import numpy as np

from emoca_core.formats import Arrays, Content, Format, Use

VGGFACE2_RESNET50 = Format(
    "vggface2_resnet50",
    entries={
        "conv1.weight": "64 3 7 7",
        "layer4.0.downsample.0.weight": "2048 1024 1 1",
        "fc.weight": "8631 2048",  # the people of VGGFace2
    },
    containers=("pickle",),
    convert=lambda content: {n: content.array(n) for n in content.shapes if not n.startswith("fc.")},
    # the same network with squeeze-and-excitation has two more convolutions in every block
    matches=lambda content: not any(".conv4." in name for name in content.shapes),
    used_by=(Use("loss", "identity"),),
)

FACERES_MEAN = (123.68, 116.779, 103.939)
"""Red, green, blue of 255: what VGGFace2's Keras networks subtract. They take blue, green, red."""
FACERES_DEVIATION = (0.229, 0.224, 0.225)
"""Red, green, blue, by which the converted network's input is divided: ImageNet's, as timm's networks have it."""
_TIMM_BLOCKS = (1, 2, 2, 6, 2)
"""Blocks in the stages of MobileNetV1."""
_TIMM_EPSILON = 1e-5


def faceres_to_timm(content: Content) -> Arrays:
    """MobileNetV1 in the names of timm's ``mobilenetv1_100``, for RGB in [0, 1] minus mean / 255, by the deviation.

    Batch normalisation was folded into kernels and offsets; here it does nothing but add the offsets. The heads for age
    and gender are left out.
    """
    arrays: Arrays = {}

    def layer(kernel: np.ndarray, source: str, convolution: str, norm: str) -> None:
        arrays[f"{convolution}.weight"] = np.ascontiguousarray(kernel, np.float32)
        offset = content.array(f"{source}_bn/batchnorm_1/sub", np.float32)
        still = np.ones_like(offset)
        arrays.update({f"{norm}.weight": still * np.float32(np.sqrt(1 + _TIMM_EPSILON)), f"{norm}.bias": offset})
        arrays.update({f"{norm}.running_mean": 0 * still, f"{norm}.running_var": still})

    stem = _pointwise(content, "conv1")[:, ::-1] * 255 * np.array(FACERES_DEVIATION, np.float32)[:, None, None]
    layer(stem, "conv1", "conv_stem", "bn1")
    for number, block in enumerate(_timm_blocks(), 1):
        depthwise, gain = f"conv_dw_{number}", f"conv_dw_{number}_bn/batchnorm_1/mul"
        kernel = content.array(f"{depthwise}/depthwise_kernel", np.float32) * content.array(gain)[:, None]
        layer(kernel.transpose(2, 3, 0, 1), depthwise, f"{block}.conv_dw", f"{block}.bn1")
        layer(_pointwise(content, f"conv_pw_{number}"), f"conv_pw_{number}", f"{block}.conv_pw", f"{block}.bn2")
    return arrays


def _pointwise(content: Content, layer: str) -> np.ndarray:
    return content.array(f"{layer}/convolution/merged_input", np.float32).transpose(3, 2, 0, 1)


def _timm_blocks() -> Iterator[str]:
    for stage, count in enumerate(_TIMM_BLOCKS):
        yield from (f"blocks.{stage}.{number}" for number in range(count))


FACERES = Format(
    "faceres",
    entries={
        "conv1/convolution/merged_input": "3 3 3 32",
        "conv_dw_13/depthwise_kernel": "3 3 1024 1",
        "conv_pw_13/convolution/merged_input": "1 1 1024 1024",
        "age_pred/kernel": "256 100",
    },
    containers=("tfjs",),
    convert=faceres_to_timm,
    # the archive holds another training of the same network, faceres-deep, in 32 bits
    matches=lambda content: str(content.settings.get("stored_as")).startswith("float16"),
    as_tensors=True,
    used_by=(Use("loss", "identity", {"network": "faceres"}),),
)
FORMATS = (VGGFACE2_RESNET50, FACERES)
