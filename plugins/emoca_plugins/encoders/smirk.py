"""SMIRK: FLAME code with eyelids from one photo, by three small networks."""

from collections.abc import Mapping
from operator import attrgetter

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.images.resize import resized
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceParameters, WeakPerspectiveCamera
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, load_published
from emoca_core.weights.timm_trunk import create_trunk
from emoca_plugins.encoders.box_crops import SmirkCrop

EXPRESSION, EYELIDS, JAW = 50, 2, 3
BLOCKS: Mapping[Block, int] = {
    "shape": 300,
    "expression": EXPRESSION,
    "global_pose": 3,
    "jaw_pose": JAW,
    "eyelids": EYELIDS,
    "camera": 3,
}
JAW_TURN = 0.2
"""Largest rotation of the jaw about y and z, radians."""

KEYS = KeyMap(
    strip=("state_dict.", "module.", "smirk_encoder.", "module."),
    rename={
        r"(pose|shape|expression)_encoder\.encoder\.": r"\1_encoder.encoder.",
        r"(pose|shape|expression)_encoder\.(pose_cam|shape|expression)_layers\.0\.": r"\1_encoder.layer.",
    },
    drop={
        r"smirk_generator\.": "image generator of the training",
        r"(optimizer|epoch|scheduler)": "state of the training",
    },
)


class MobileRegressor(nn.Module):
    """A minimal MobileNet-V3 with TensorFlow's padding, average pooling and one linear layer."""

    def __init__(self, size: str, outputs: int) -> None:
        super().__init__()
        name = f"tf_mobilenetv3_{size}_minimal_100"
        self.encoder = create_trunk(name, pretrained=False, options={"features_only": True})
        self.layer = nn.Linear(attrgetter("feature_info")(self.encoder).channels()[-1], outputs)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Outputs for RGB in [0, 1], without ImageNet statistics."""
        return self.layer(self.encoder(image)[-1].mean((2, 3)))


class Smirk(Encoder):
    """Three MobileNets: pose and camera, identity, expression with eyelids and jaw. No light, no albedo.

    Source: Retsinas et al., "3D Facial Expressions through Analysis-by-Neural-Synthesis" (SMIRK), CVPR 2024; weights
    ``SMIRK_em1.pt``. Input RGB in [0, 1], 224 px.
    """

    class Params(WeightsParams):
        """Parameters of ``smirk``."""

    params: Params
    blocks = BLOCKS
    crop_rule = SmirkCrop()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.pose_encoder = MobileRegressor("small", 6)
        self.shape_encoder = MobileRegressor("large", 300)
        self.expression_encoder = MobileRegressor("large", EXPRESSION + EYELIDS + JAW)
        self.load_report = load_published(self, "smirk", self.params.weights, KEYS)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        image = resized(crop.image, self.crop_rule.size)
        pose, camera = self.pose_encoder(image).split([3, 3], dim=1)
        expression, eyelids, jaw = self.expression_encoder(image).split([EXPRESSION, EYELIDS, JAW], dim=1)
        return FaceParameters(
            shape=self.shape_encoder(image),
            expression=expression,
            global_pose=pose,
            jaw_pose=limited_jaw(jaw),
            eyelids=eyelids.clamp(0, 1),
            camera=WeakPerspectiveCamera.from_code(camera),
        )


def limited_jaw(jaw: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
    """The jaw only opens, and turns sideways by at most ``JAW_TURN``."""
    return torch.cat([jaw[:, :1].relu(), jaw[:, 1:].clamp(-JAW_TURN, JAW_TURN)], dim=1)
