"""The 52 ARKit activations of a fitted face, whatever moves its jaw and eyes."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import FaceModel, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES

JAW_NAMES = ("jawOpen", "jawLeft", "jawRight")
"""What a jaw joint does; jawForward is a shift, and would only soak up the arc of a rotation."""


@runtime_checkable
class GazeModel(Protocol):
    """A face model that leaves the turning of the eyeballs to ``eye_pose``."""

    def gaze_of_expression(self, expression: Float[Tensor, "B 52"]) -> Float[Tensor, "B 6"]:
        """Eye rotations that the eyeLook activations of an expression stand for, radians."""


def has_arkit_names(face_model: FaceModel) -> bool:
    """Whether the expression coefficients of a model are the 52 ARKit activations."""
    return set(ARKIT_NAMES) <= set(face_model.expression_names)


def arkit_activations(face_model: FaceModel, parameters: FaceParameters) -> dict[str, float]:
    """Express one fitted face in the 52 ARKit activations.

    Expression coefficients are taken as they are. A rotation of the jaw joint adds the combination of jawOpen and
    jawLeft or jawRight that moves the vertices most like it (least squares); rotations of the eyes give eyeLook* where
    the model says what those stand for.

    Args:
        face_model: A model for which ``has_arkit_names`` holds.
        parameters: A batch of one.

    Returns:
        Activation by name, in the order of ``ARKIT_NAMES``.
    """
    size = face_model.blocks["expression"]
    values = dict.fromkeys(ARKIT_NAMES, 0.0)
    if parameters.expression is not None:
        code = parameters.expression[0].tolist()
        values |= {n: v for n, v in zip(face_model.expression_names, code, strict=False) if n in values}
    with torch.no_grad():
        if parameters.jaw_pose is not None and "jaw_pose" in face_model.blocks:
            for name, value in _jaw(face_model, parameters).items():
                values[name] += value
        if parameters.eye_pose is not None and isinstance(face_model, GazeModel) and size == len(ARKIT_NAMES):
            values |= _gaze(face_model, parameters.eye_pose, face_model.expression_names)
    return values


def unit_expressions(names: Sequence[str], wanted: Sequence[str], like: Tensor) -> Float[Tensor, "N E"]:
    """One expression code for each wanted name, with only that coefficient at 1."""
    rows = [names.index(name) for name in wanted]
    return torch.eye(len(names), dtype=like.dtype, device=like.device)[rows]


def _jaw(face_model: FaceModel, parameters: FaceParameters) -> Mapping[str, float]:
    assert parameters.jaw_pose is not None
    jaw = parameters.jaw_pose
    expressions = unit_expressions(face_model.expression_names, JAW_NAMES, jaw)
    count = len(JAW_NAMES)
    shape = None if parameters.shape is None else parameters.shape.expand(count + 2, -1)
    posed = FaceParameters(
        shape=shape,
        expression=torch.cat([torch.zeros_like(expressions[:2]), expressions]),
        jaw_pose=torch.cat([torch.zeros_like(jaw), jaw, jaw.new_zeros(count, 3)]),
    )
    vertices = face_model(posed).vertices.double().cpu().numpy()
    turned, opened, left, right = (vertices[1:] - vertices[0]).reshape(count + 1, -1)
    # left and right as one signed movement: both at once would only soak up the arc of an opening
    movements = np.stack([opened, (left - right) / 2], axis=1)
    opening, sideways = np.linalg.solve(movements.T @ movements, movements.T @ turned).tolist()
    return {"jawOpen": max(opening, 0.0), "jawLeft": max(sideways, 0.0), "jawRight": max(-sideways, 0.0)}


def _gaze(model: GazeModel, eye_pose: Float[Tensor, "1 6"], names: Sequence[str]) -> Mapping[str, float]:
    """Each eyeLook turns its eye about one axis one way: divide the rotation found by the one it stands for."""
    looks = [name for name in names if name.startswith("eyeLook")]
    stands_for = model.gaze_of_expression(unit_expressions(names, looks, eye_pose))
    size, axis = stands_for.abs().max(dim=1)
    share = eye_pose[0, axis] / torch.gather(stands_for, 1, axis[:, None])[:, 0]
    share = torch.where(size > 0, share.clamp_min(0), 0)
    return dict(zip(looks, share.tolist(), strict=True))
