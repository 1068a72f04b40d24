"""MGCNet: BFM code, head pose and light from one photo, read from its TensorFlow checkpoint."""

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.rotations import matrix_to_rotation_vector
from emoca_core.images.resize import resized
from emoca_core.interfaces import Encoder, FaceCrop, FaceParameters, PerspectiveCamera
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, load_published
from emoca_plugins.encoders.network_output import BFM_BLOCKS, axis_rotations, split_code
from emoca_plugins.encoders.point_crops import MgcnetCrop
from emoca_plugins.encoders.slim_resnet import SlimResNet50
from emoca_plugins.encoders.spherical_harmonics import lighting_from_bfm, rotate_lighting
from emoca_plugins.encoders.tf_keys import OPTIMIZER_SLOTS, to_torch_layout

LAYOUT = {"shape": 80, "albedo": 80, "expression": 64, "pose": 6, "light": 27}
"""Order and sizes of the 257 outputs; not the order of Deep3DFace."""
REST_POSE = (0.0, 0.0, 3.141593, 0.17440447, 9.1053238, 4994.3359)
"""Added to the pose [rz, ry, rx, tx, ty, tz]: radians and millimetres."""
FOCAL = 4700 / 112
"""Focal length in half-images: 4700 px at 224 px."""
MILLIMETRE = 1e-3
"""In metres."""

KEYS = KeyMap(
    strip=("resnet_v1_50/",),
    rename={
        r"(block\d)/(unit_\d)/bottleneck_v1/(\w+)/": r"\1.\2.\3/",
        r"(.*)/weights$": r"network.\1.weight",
        r"(.*)/biases$": r"network.\1.bias",
    },
    drop={**OPTIMIZER_SLOTS, r"InceptionResnetV1/": "face recognition loss of the training"},
    convert=to_torch_layout,
)


class Mgcnet(Encoder):
    """Slim ResNet-50 without BatchNorm to identity, albedo, expression, pose and light.

    Codes are in standard deviations of the Basel Face Model 2009. The camera's principal point is the middle of the
    image. MGCNet lights normals of the unrotated head; the light is rotated with the head, exactly, because ours falls
    on the posed mesh. Its own mesh is not centred on its mean vertex, Deep3DFace's is: on the latter the face is off by
    that (rotated) offset.

    Source: Shang et al., "Self-Supervised Monocular 3D Face Reconstruction by Occlusion-Aware Multi-view Geometry
    Consistency", ECCV 2020; TensorFlow checkpoint ``model-400000``. Input RGB in [0, 1], 224 px.
    """

    class Params(WeightsParams):
        """Parameters of ``mgcnet``."""

    params: Params
    blocks = BFM_BLOCKS
    crop_rule = MgcnetCrop()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.network = SlimResNet50(sum(LAYOUT.values()))
        self.load_report = load_published(self, "mgcnet", self.params.weights, KEYS)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        return parameters_from_code(self.network(resized(crop.image, self.crop_rule.size)))


def parameters_from_code(code: Float[Tensor, "B 257"]) -> FaceParameters:
    """The named blocks of the output, pose, light and camera in our axes.

    Published: X_camera = Rx Ry Rz X + t, millimetres, y down and z forward; Rx is near half a turn.
    """
    part = split_code(code, LAYOUT)
    pose = part["pose"] + part["pose"].new_tensor(REST_POSE)
    x, y, z = axis_rotations(pose[:, :3].flip(1))
    half_turn = torch.diag(pose.new_tensor([1.0, -1.0, -1.0]))
    rotation = half_turn @ x @ y @ z  # our camera axes are diag(1, -1, -1) times our model axes
    camera = PerspectiveCamera(
        focal=torch.full_like(pose[:, :2], FOCAL),
        centre=torch.zeros_like(pose[:, :2]),
        translation=MILLIMETRE * pose[:, 3:],
    )
    return FaceParameters(
        shape=part["shape"],
        expression=part["expression"],
        albedo=part["albedo"],
        global_pose=matrix_to_rotation_vector(rotation),
        lighting=rotate_lighting(lighting_from_bfm(part["light"]), rotation),
        camera=camera,
    )
