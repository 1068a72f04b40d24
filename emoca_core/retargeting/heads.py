"""How a head is turned against the line of sight: what people see.

Beside the middle of a picture that is another turn than that against the camera.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.angles import head_and_eyes
from emoca_core.interfaces import CV_AXES, FaceParameters, PhotoCamera


def seen_heads(parameters: FaceParameters, cameras: Sequence[PhotoCamera] | None) -> Float[ndarray, "N 3 3"] | None:
    """Turn of each head against the line from the camera to it (x to the subject's left, y up, z to the camera).

    ``None`` where a method says nothing of it.

    Args:
        parameters: Codes, on the CPU.
        cameras: Of each.
    """
    if parameters.global_pose is None and cameras is None:
        return None
    turned = head_and_eyes(parameters, cameras)[:, 0]
    if cameras is None or cameras[0].model == "orthographic":
        return turned
    return to_sight(np.array([camera.translation for camera in cameras])) @ turned


def camera_to_sight(camera: PhotoCamera | None) -> Float[ndarray, "3 3"]:
    """What turns a camera's axes to those of the line of sight to a head; nothing, where all lines are parallel."""
    if camera is None or camera.model == "orthographic":
        return np.eye(3)
    return np.asarray(to_sight(camera.translation[None])[0])


def to_sight(places: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3 3"]:
    """The smallest rotation that brings the line to each place onto the optical axis.

    Args:
        places: In a camera's axes (OpenCV), metres.

    Returns:
        In axes with y up and z to the camera.
    """
    x, y, z = np.moveaxis(places @ CV_AXES / np.linalg.norm(places, axis=1, keepdims=True), 1, 0)
    share = 1 / (1 - z)  # the line leads to (0, 0, -1)
    rows = [[1 - x * x * share, -x * y * share, x], [-x * y * share, 1 - y * y * share, y], [-x, -y, -z]]
    return np.moveaxis(np.array([[np.broadcast_to(cell, x.shape) for cell in row] for row in rows]), 2, 0)
