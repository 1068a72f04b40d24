"""The code of the source's face that moves as the driver's does."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.errors import RecipeError
from emoca_core.export.arkit import EXPRESSIVE
from emoca_core.geometry.rotations import matrix_to_rotation_vector, rotation_vector_to_matrix
from emoca_core.interfaces import CV_AXES, CapturedFace, FaceParameters
from emoca_core.method import Method
from emoca_core.retargeting.arkit_codes import arkit_to_code
from emoca_core.retargeting.driving import Driving
from emoca_core.retargeting.face_model_facts import same_face_model
from emoca_core.retargeting.heads import camera_to_sight, seen_heads
from emoca_core.retargeting.regions import with_gain
from emoca_core.retargeting.rest import Rest, find_rest
from emoca_core.retargeting.retarget_settings import KEPT, RetargetSettings

_ROTATIONS = frozenset({"jaw_pose", "eye_pose"})


@dataclass(frozen=True)
class Movement:
    """How the source moves.

    Attributes:
        parameters: The source's code, a row for each of the driver's: their identity, camera, light and detail code.
        rest: The driver's rest; ``None`` where nothing is relative to one.
        across: Whether the movement came by ARKit names, from a driver with another face model or none.
    """

    parameters: FaceParameters
    rest: Rest | None
    across: bool


def retargeted_code(method: Method, source: CapturedFace, driving: Driving, settings: RetargetSettings) -> Movement:
    """Hand a movement on.

    Between faces of one face model, the codes of expression, jaw, gaze and lids are taken as they are; else the ARKit
    values are. The head turns as the driver's does against the line of sight; where it is, and its size, stay those of
    the source's photo.

    Args:
        method: What captured the source.
        source: Whose face moves.
        driving: What moves it.
        settings: Relative or not, gain, what is kept.

    Raises:
        RecipeError: The driver's movement cannot be said in terms of the method's face model.
        ParamsError: The rest lies outside of what drives.
    """
    person = source.parameters.map(lambda tensor: tensor.to(method.device))
    facts = driving.face_model
    direct = driving.codes is not None and facts is not None and same_face_model(facts, method)
    moving = _moving(driving) if direct else _by_names(driving, method, person)
    rest = None
    if settings.relative:
        rest, still = find_rest(driving, moving, method, person, settings.rest)
        moving = _relative_to(moving, still)
    moving = with_gain(moving, settings.gain, method.face_model, person)
    count = len(driving)
    own = source.parameters.map(lambda tensor: tensor.expand(count, *tensor.shape[1:]).clone())
    blocks: dict[str, Tensor] = {name: b for name in moving.blocks() if isinstance(b := moving.get(name), Tensor)}
    if driving.heads is not None and "global_pose" in method.face_model.blocks:
        blocks["global_pose"] = _head(source, driving.heads, None if rest is None else rest.row)
    for kept in settings.keep:
        blocks.pop(KEPT[kept], None)
    units = {**own.units, **{name: moving.unit_of(name) for name in moving.blocks() if name in moving.units}}
    return Movement(own.replace(**blocks, units=units), rest, across=not direct)


def _moving(driving: Driving) -> FaceParameters:
    """The driver's blocks that move the face and not the head."""
    code = driving.codes
    assert code is not None
    names = [name for name in (*EXPRESSIVE, *code.others) if code.get(name) is not None]
    if not names:
        raise RecipeError(f"{driving.name}: its code has no expression, so there is nothing to hand on")
    units = {name: unit for name, unit in code.units.items() if name in names}
    return FaceParameters(units=units).replace(**{name: code.get(name) for name in names})


def _by_names(driving: Driving, method: Method, person: FaceParameters) -> FaceParameters:
    if driving.arkit is None:
        raise RecipeError(
            f"{driving.name}: its codes are of another face model than that of '{method.name}', and it has no ARKit "
            "values"
        )
    return arkit_to_code(method.face_model, person, driving.arkit)


# relative movement


def _relative_to(moving: FaceParameters, rest: FaceParameters) -> FaceParameters:
    """What is left after the rest is taken away.

    Activations may go below 0: what cancels out in the driver's face (an open jaw behind closed lips) does so in the
    difference, too, which it would not between bounds.
    """
    changed: dict[str, Tensor] = {}
    for name in moving.blocks():
        block = moving.get(name)
        still = rest.get(name)
        assert isinstance(block, Tensor) and isinstance(still, Tensor)
        changed[name] = _turned_from(block, still) if name in _ROTATIONS else block - still
    return moving.replace(**changed)


def _turned_from(vectors: Tensor, rest: Tensor) -> Tensor:
    """Rotation vectors, three numbers each, that lead from the rest to each row."""
    turns, back = (rotation_vector_to_matrix(each.double().reshape(len(each), -1, 3)) for each in (vectors, rest))
    return matrix_to_rotation_vector(turns @ back.mT).reshape(vectors.shape).to(vectors.dtype)


# the head


def _head(source: CapturedFace, heads: Float[ndarray, "N 3 3"], rest: int | None) -> Float[Tensor, "N 3"]:
    """The ``global_pose`` with which the source's head, neck included, is seen turned as the driver's."""
    cameras = None if source.camera is None else [source.camera]
    own = seen_heads(source.parameters, cameras)
    assert own is not None
    turned = heads if rest is None else heads @ heads[rest].T @ own[0]
    view = np.eye(3) if source.camera is None else camera_to_sight(source.camera) @ CV_AXES @ source.camera.rotation
    neck = source.parameters.neck_pose
    bent = np.eye(3) if neck is None else rotation_vector_to_matrix(neck[0].double()).numpy()
    pose = matrix_to_rotation_vector(torch.from_numpy(view.T @ turned @ bent.T))
    return pose.float()
