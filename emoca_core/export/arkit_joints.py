"""What joints do of the ARKit values: jaw and eyeballs, where a face model turns them."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.interfaces import FaceModel, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES

JAW: Mapping[str, tuple[float, float, float]] = {
    "jawOpen": (0.3, 0.0, 0.0),
    "jawLeft": (0.0, 0.1, 0.0),
    "jawRight": (0.0, -0.1, 0.0),
}
"""What a jaw joint does (jawForward is a shift): a rotation vector of about the size at 1, radians."""
_JAW_STEPS = 3
"""How often that size is corrected: rotations are not quite linear."""


@runtime_checkable
class GazeModel(Protocol):
    """A face model that leaves the turning of the eyeballs to ``eye_pose``."""

    def gaze_of_expression(self, expression: Float[Tensor, "B 52"]) -> Float[Tensor, "B 6"]:
        """Eye rotations that the eyeLook activations of an expression stand for, radians."""


def jaw_poses(model: FaceModel) -> Float[Tensor, "J 3"]:
    """Rotations of the jaw joint that come closest to the model's own jaw expressions at 1, on its average face.

    Found once for each model.
    """
    if model not in _JAW_POSES_OF:
        names, device = list(model.expression_names), model.faces.device
        poses = torch.zeros(2 * len(JAW) + 1, 3)
        expression = torch.zeros(len(poses), len(names))
        expression[1 + len(JAW) :] = torch.eye(len(names))[[names.index(name) for name in JAW]]
        poses[1 : 1 + len(JAW)] = torch.tensor(list(JAW.values()))
        for _ in range(_JAW_STEPS):
            with torch.no_grad():
                code = FaceParameters(expression=expression.to(device), jaw_pose=poses.to(device))
                vertices = model(code).vertices.double().cpu()
            turned, shown = (vertices[1:] - vertices[0]).flatten(1).chunk(2)
            poses[1 : 1 + len(JAW)] *= ((turned * shown).sum(1) / turned.square().sum(1))[:, None]
        _JAW_POSES_OF[model] = poses[1 : 1 + len(JAW)]
    return _JAW_POSES_OF[model]


_JAW_POSES_OF: WeakKeyDictionary[FaceModel, Tensor] = WeakKeyDictionary()


def asked_values(model: FaceModel, parameters: FaceParameters) -> Float[ndarray, "N 52"]:
    """The ARKit values that codes ask for, in [0, 1] or beyond: by joint where one turns, else by coefficient.

    Args:
        model: One whose expressions have the ARKit names.
        parameters: Codes, on any device.
    """
    names = list(model.expression_names)
    picked = torch.eye(len(names))[[names.index(name) for name in ARKIT_NAMES]]
    asked = torch.zeros(len(parameters), len(ARKIT_NAMES))
    if parameters.expression is not None:
        code = parameters.expression.detach().cpu().float()
        asked = code @ picked[:, : code.shape[1]].T
    if "jaw_pose" in model.blocks and parameters.jaw_pose is not None:
        poses = jaw_poses(model)
        shares = parameters.jaw_pose.detach().cpu().float() @ (poses / poses.square().sum(1, keepdim=True)).T
        asked[:, [ARKIT_NAMES.index(name) for name in JAW]] += shares
    if isinstance(model, GazeModel) and parameters.eye_pose is not None:
        looks = model.gaze_of_expression(picked.to(model.faces.device)).cpu()
        turned = looks.square().sum(1)
        shares = parameters.eye_pose.detach().cpu().float() @ looks.T / turned
        asked = torch.where(turned > 0, shares, asked)
    return np.asarray(asked.double().numpy())
