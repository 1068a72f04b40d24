"""ARKit values as the code of a face model with their names: joints turn what they turn, a blink closes this eye."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.errors import RecipeError
from emoca_core.export.arkit import ArkitSolver, at_rest, has_arkit_names
from emoca_core.export.arkit_joints import JAW, GazeModel, jaw_poses
from emoca_core.interfaces import FaceModel, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES


def arkit_to_code(face_model: FaceModel, person: FaceParameters, values: Float[ndarray, "N 52"]) -> FaceParameters:
    """The moving blocks of a code that shows ARKit values: the reverse of ``ArkitSolver``.

    ``jawOpen``, ``jawLeft`` and ``jawRight`` turn the jaw joint and ``eyeLook*`` the eyeballs, where the model has
    them; ``eyeBlink`` at 1 closes this person's eyes.

    Args:
        face_model: The model.
        person: Whose face it moves; a batch of one on the model's device.
        values: In the order of ``ARKIT_NAMES``.

    Returns:
        On the CPU.

    Raises:
        RecipeError: The model has no ARKit names.
    """
    if not has_arkit_names(face_model):
        raise RecipeError(
            f"ARKit values move face models with the 52 ARKit names, and {type(face_model).__name__} has none: take a "
            "method with the open head (open_fit), or drive with a photo or clip, which the same method captures"
        )
    names = list(face_model.expression_names)
    asked = torch.from_numpy(np.asarray(values, np.float32))
    expression = torch.zeros(len(asked), len(names))
    expression[:, [names.index(name) for name in ARKIT_NAMES]] = asked
    blocks: dict[str, torch.Tensor] = {}
    if isinstance(face_model, GazeModel):
        blocks["eye_pose"] = face_model.gaze_of_expression(expression.to(face_model.faces.device)).cpu()
    for eye in ArkitSolver.of(face_model, at_rest(person)).eyes:
        expression[:, names.index(ARKIT_NAMES[eye.lids.blink])] *= eye.lids.scale
    if "jaw_pose" in face_model.blocks:
        blocks["jaw_pose"] = asked[:, [ARKIT_NAMES.index(name) for name in JAW]] @ jaw_poses(face_model)
        expression[:, [names.index(name) for name in JAW]] = 0.0
    return FaceParameters(expression=expression, units={"expression": "activation"}).replace(**blocks)
