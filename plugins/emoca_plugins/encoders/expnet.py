"""ExpNet: expression from one network, identity and albedo from another, read from TensorFlow checkpoints."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.errors import AssetFormatError
from emoca_core.formats import open_content
from emoca_core.interfaces import Block, FaceCrop, FaceParameters
from emoca_core.weights import RANDOM
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, find_all_weights, load_into, read_checkpoint
from emoca_plugins.encoders.box_crops import ExpnetCrop
from emoca_plugins.encoders.caffe_resnet import CaffeResNet101, resize_legacy
from emoca_plugins.encoders.pose_from_landmarks import PosedByLandmarks
from emoca_plugins.encoders.tf_keys import OPTIMIZER_SLOTS, to_torch_layout

SIZE = 224
"""What the networks see, pixels; crops are 227."""
SHAPE, ALBEDO, EXPRESSION = 99, 99, 29
BLOCKS: Mapping[Block, int] = {"shape": SHAPE, "albedo": ALBEDO, "expression": EXPRESSION}

KEYS = KeyMap(
    strip=("exprCNN/", "shapeCNN/"),
    rename={
        r"bn_conv1/": "conv1.bn/",
        r"conv1/": "conv1.conv/",
        r"bn(\w+?)_(branch\w+)/": r"res\1.\2.bn/",
        r"(res\w+?)_(branch\w+)/": r"\1.\2.conv/",
        r"(expr|shape)CNN_fc1/": "fc/",
        r"(.*)/(weights|scale)$": r"\1.weight",
        r"(.*)/(biases|offset)$": r"\1.bias",
        r"(.*)/mean$": r"\1.running_mean",
        r"(.*)/variance$": r"\1.running_var",
    },
    drop=OPTIMIZER_SLOTS,
    convert=to_torch_layout,
)


class Expnet(PosedByLandmarks):
    """Two Caffe ResNet-101 to 29 expression, 99 identity and 99 albedo coefficients, in standard deviations.

    Head pose was a third network's work (FacePoseNet); here it is solved from the 68 landmarks by least squares, when
    the method has a face model.

    Source: Chang et al., "ExpNet: Landmark-Free, Deep, 3D Facial Expressions", FG 2018; identity network of Tran et
    al., CVPR 2017. Input BGR 0-255 of 227 px, resized the TensorFlow 1 way to 224 px, minus a mean image.
    """

    class Params(WeightsParams):
        weights: str | None = None
        """Checkpoint of the expression network: asset name or path of the ``.index`` file; by default the asset
        ``expnet_expression``. ``random`` initialises at random, for training only, and reads no file but those that the
        other parameters name."""
        shape_weights: str | None = None
        """Checkpoint of the identity network; by default the asset ``expnet_shape``. ``random`` initialises it, for
        those who only use the expression."""
        mean_image: str | None = None
        """Mean image to subtract; by default the asset ``expnet_mean``, the *shape* network's mean, which the published
        code subtracts for both networks although it also loads one for expressions."""

    params: Params
    blocks = BLOCKS
    crop_rule = ExpnetCrop()
    needs = frozenset({"landmarks"})
    mean: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.expression_network = CaffeResNet101(EXPRESSION)
        self.shape_network = CaffeResNet101(SHAPE + ALBEDO)
        self.register_buffer("mean", torch.zeros(3, SIZE, SIZE))
        wanted = {
            "expnet_expression": self.params.weights,
            "expnet_shape": self.params.shape_weights,
            "expnet_mean": self.params.mean_image,
        }
        if self.params.weights == RANDOM:
            wanted = {name: given for name, given in wanted.items() if given is not None}
        self.asset_paths = dict(find_all_weights(wanted))
        networks = {"expnet_expression": self.expression_network, "expnet_shape": self.shape_network}
        found = {name: path for name, path in self.asset_paths.items() if name in networks}
        self.load_reports = {
            name: load_into(networks[name], read_checkpoint(path), KEYS) for name, path in found.items()
        }
        if mean := self.asset_paths.get("expnet_mean"):
            self.mean.copy_(read_mean_image(mean))
        self.train(not found)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        image = self.preprocess(crop.image)
        shape, albedo = torch.split(self.shape_network(image), [SHAPE, ALBEDO], dim=1)
        code = FaceParameters(shape=shape, albedo=albedo, expression=self.expression_network(image))
        return self.posed(code, crop)

    def preprocess(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 224 224"]:
        """RGB in [0, 1] to what the networks see."""
        return resize_legacy(image.flip(1) * 255, SIZE) - self.mean


def read_mean_image(path: Path) -> Float[Tensor, "3 224 224"]:
    """The mean image from an npy or npz file, channels first or last.

    Raises:
        AssetFormatError: It is not one 3 x 224 x 224 array.
    """
    content = open_content(path)
    arrays = [content.array(name, np.float32) for name in content.shapes]
    pixels = arrays[0].squeeze() if len(arrays) == 1 else np.empty(0)
    if pixels.shape == (SIZE, SIZE, 3):
        pixels = np.moveaxis(pixels, -1, 0)
    if pixels.shape != (3, SIZE, SIZE):
        raise AssetFormatError(f"{path} is not a mean image of 3 x {SIZE} x {SIZE} (it holds {dict(content.shapes)})")
    return torch.from_numpy(np.ascontiguousarray(pixels))
