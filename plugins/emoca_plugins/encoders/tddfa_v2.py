"""3DDFA-V2: BFM code and weak-perspective pose from one photo."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError
from emoca_core.formats import open_content
from emoca_core.geometry.rotations import matrix_to_rotation_vector
from emoca_core.images.resize import resized
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceParameters, Unit, WeakPerspectiveCamera
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, find_weights, load_published
from emoca_plugins.encoders.box_crops import TddfaCrop
from emoca_plugins.encoders.network_output import split_code
from emoca_plugins.encoders.tddfa_trunks import MobileNetV1, ResNet22

LAYOUT = {"pose": 12, "shape": 40, "expression": 10}
"""Order and sizes of the 62 outputs."""
POSE, OUTPUTS = LAYOUT["pose"], sum(LAYOUT.values())
BLOCKS: Mapping[Block, int] = {"shape": 40, "expression": 10, "global_pose": 3, "camera": 3}
SIZE = 120
"""Side of the network's input, pixels."""
METRE = 1e6
"""In the model's unit, micrometres."""

Architecture = Literal["mb1", "mb05", "resnet22"]
ARCHITECTURES: Mapping[Architecture, Callable[[], nn.Module]] = {
    "mb1": lambda: MobileNetV1(1.0, OUTPUTS),
    "mb05": lambda: MobileNetV1(0.5, OUTPUTS),
    "resnet22": lambda: ResNet22(OUTPUTS),
}
KEYS = KeyMap(
    rename={r"fc_param\.": "fc.", r"(?=\w)": "network."},
    drop={r"fc_lm\.": "landmark head of the training", r"(epoch|optimizer|opt)\b": "state of the training"},
)


class TddfaV2(Encoder):
    """A MobileNet or a small ResNet to 40 identity and 10 expression coefficients and a 3x4 pose matrix.

    The network's outputs are whitened. Denormalised coefficients (``raw``) are what the face model takes, but their
    scales differ by five orders of magnitude; for a probe take ``whitened``, or standardise.

    The published vertices use the 3x3 part of the pose as it is, which is a scaled rotation only nearly; here its two
    image rows become perpendicular by turning both equally, and equally long: under half a pixel of 120 on real faces.

    Source: Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face Alignment", ECCV 2020. Input BGR,
    (x - 127.5) / 128, 120 px.
    """

    class Params(WeightsParams):
        architecture: Architecture = "mb1"
        """Network: MobileNet-V1 of width 1 or 0.5, or ResNet-22. Its weights are the asset ``tddfa_<name>``."""
        codes: Literal["raw", "whitened"] = "raw"
        """Unit of shape and expression: coefficients of the published bases, or the network's own outputs."""
        statistics: str | None = None
        """File with the 62 means and standard deviations (``param_mean_std_62d_120x120.pkl`` or npz); by default the
        asset ``tddfa_statistics``. ``none`` leaves the outputs as they are, for training only."""

    params: Params
    blocks = BLOCKS
    crop_rule = TddfaCrop()
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.network = ARCHITECTURES[self.params.architecture]()
        self.load_report = load_published(self, f"tddfa_{self.params.architecture}", self.params.weights, KEYS)
        path = find_weights("tddfa_statistics", self.params.statistics)
        mean, std = read_statistics(path) if path else (torch.zeros(OUTPUTS), torch.ones(OUTPUTS))
        self.asset_paths = {**self.asset_paths, **({"tddfa_statistics": path} if path else {})}
        self.register_buffer("output_mean", mean, persistent=False)
        self.register_buffer("output_std", std, persistent=False)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        output = self.network(preprocess(crop.image))
        return self.parameters_from_output(output)

    def parameters_from_output(self, output: Float[Tensor, "B 62"]) -> FaceParameters:
        """The named blocks of the network's (whitened) output."""
        raw = self.denormalise(output)
        part = split_code(raw if self.params.codes == "raw" else output, LAYOUT)
        rotation, camera = pose_to_camera(raw[:, :POSE].reshape(-1, 3, 4))
        unit: Unit = self.params.codes
        return FaceParameters(
            shape=part["shape"],
            expression=part["expression"],
            global_pose=matrix_to_rotation_vector(rotation),
            camera=camera,
            units={"shape": unit, "expression": unit},
        )

    def denormalise(self, output: Float[Tensor, "B 62"]) -> Float[Tensor, "B 62"]:
        """Whitened outputs to pose matrix and coefficients: output * std + mean."""
        return output * self.output_std + self.output_mean


def read_statistics(path: Path) -> tuple[Float[Tensor, "62"], Float[Tensor, "62"]]:
    """Mean and standard deviation of the outputs.

    Raises:
        AssetFormatError: Not 62 of each.
    """
    content = open_content(path)
    arrays = [content.array(name, np.float32).ravel() for name in ("mean", "std")]
    if any(values.shape != (OUTPUTS,) for values in arrays):
        raise AssetFormatError(f"{path} must hold {OUTPUTS} means and deviations, not {[v.size for v in arrays]}")
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])


def preprocess(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 120 120"]:
    """RGB in [0, 1] to what the network sees."""
    return (resized(image, SIZE).flip(1) * 255 - 127.5) / 128


def pose_to_camera(pose: Float[Tensor, "B 3 4"]) -> tuple[Float[Tensor, "B 3 3"], WeakPerspectiveCamera]:
    """Rotation and camera of the published pose [s R | t].

    Published: p = s R v + t in pixels of a one-based image of 120 px whose y points up, v in micrometres; hence column
    p_x - 1 and row 120 - p_y.
    """
    first, second = nn.functional.normalize(pose[:, :2, :3], dim=-1).unbind(1)
    # of unit vectors, sum and difference are perpendicular: the two rows turn equally, with a smooth gradient
    middle, across = (nn.functional.normalize(v, dim=-1) for v in (first + second, first - second))
    first, second = (middle + across) / math.sqrt(2), (middle - across) / math.sqrt(2)
    rotation = torch.stack([first, second, torch.linalg.cross(first, second)], dim=1)
    scale = pose[:, :2, :3].norm(dim=-1).mean(1) * METRE * 2 / SIZE
    # column p_x - 1 and row 120 - p_y of pixel centres, in NDC
    x = (2 * pose[:, 0, 3] - 1) / SIZE - 1
    y_up = (2 * pose[:, 1, 3] - 1) / SIZE - 1
    return rotation, WeakPerspectiveCamera(scale, torch.stack([x, y_up], dim=1) / scale[:, None])
