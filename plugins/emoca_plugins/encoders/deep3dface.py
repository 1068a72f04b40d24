"""Deep3DFaceRecon: BFM code, head pose and light from one photo, seen by a perspective camera."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.geometry.rotations import matrix_to_rotation_vector
from emoca_core.images.resize import resized
from emoca_core.interfaces import Encoder, FaceCrop, FaceParameters, PerspectiveCamera
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, load_published
from emoca_core.weights.timm_trunk import create_trunk, head_width
from emoca_plugins.encoders.network_output import BFM_BLOCKS, axis_rotations, split_code
from emoca_plugins.encoders.point_crops import Deep3DFaceCrop
from emoca_plugins.encoders.spherical_harmonics import lighting_from_bfm

LAYOUT = {"shape": 80, "expression": 64, "albedo": 80, "angles": 3, "light": 27, "translation": 3}
"""Order and sizes of the 257 outputs."""
HEADS = (80, 64, 80, 3, 27, 2, 1)
"""Outputs of the seven final layers."""
FOCAL = 1015 / 112
"""Focal length in half-images: 1015 px at 224 px."""
DISTANCE = 10.0
"""Camera distance, decimetres."""
DECIMETRE = 0.1
"""Its unit, in metres."""

KEYS = KeyMap(
    strip=("net_recon.", "state_dict.", "module."),
    rename={r"backbone\.": "backbone.", r"final_layers\.": "final_layers."},
    drop={r"(opt|sched)\w*(\.|$)": "state of the training"},
)


class Deep3DFace(Encoder):
    """ResNet-50 (or 18) and seven linear layers to identity, expression, albedo, pose, light and translation.

    Codes are in standard deviations of the Basel Face Model 2009 with FaceWarehouse expressions. The camera's principal
    point is the middle of the image, as in the published renderer; the published 68-point projection, x = 112 + ...,
    row = 223 - (112 + ...), puts landmarks half a pixel right and up of it.

    Source: Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised Learning", CVPRW 2019; PyTorch release
    Deep3DFaceRecon_pytorch. Input RGB in [0, 1], 224 px, no ImageNet statistics.
    """

    class Params(WeightsParams):
        depth: Literal[18, 50] = 50
        """Layers of the ResNet; the released weights have 50."""
        use_last_fc: bool = False
        """One linear layer instead of seven, as the option of the same name of the published training."""

    params: Params
    blocks = BFM_BLOCKS
    crop_rule = Deep3DFaceCrop()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        outputs, heads = (sum(HEADS), ()) if self.params.use_last_fc else (0, HEADS)
        self.backbone = create_trunk(f"resnet{self.params.depth}", pretrained=False, outputs=outputs)
        self.final_layers = nn.ModuleList(nn.Conv2d(head_width(self.backbone), size, 1) for size in heads)
        self.load_report = load_published(self, "deep3dface", self.params.weights, KEYS)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        return parameters_from_coefficients(self.coefficients(resized(crop.image, self.crop_rule.size)))

    def coefficients(self, image: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B 257"]:
        """The network's raw output."""
        features = self.backbone(image)
        if self.params.use_last_fc:
            return features
        return torch.cat([layer(features[..., None, None]) for layer in self.final_layers], dim=1).flatten(1)


def parameters_from_coefficients(coefficients: Float[Tensor, "B 257"]) -> FaceParameters:
    """The named blocks of the output, pose and camera in our axes.

    Published: p = Rz Ry Rx v + t, camera depth 10 - p_z, decimetres, y up.
    """
    part = split_code(coefficients, LAYOUT)
    x, y, z = axis_rotations(part["angles"])
    tx, ty, tz = part["translation"].unbind(1)
    camera = PerspectiveCamera(
        focal=torch.full_like(part["translation"][:, :2], FOCAL),
        centre=torch.zeros_like(part["translation"][:, :2]),
        translation=DECIMETRE * torch.stack([tx, -ty, DISTANCE - tz], dim=1),
    )
    return FaceParameters(
        shape=part["shape"],
        expression=part["expression"],
        albedo=part["albedo"],
        global_pose=matrix_to_rotation_vector(z @ y @ x),
        lighting=lighting_from_bfm(part["light"]),
        camera=camera,
    )
