"""How head and eyes are turned, as exporters write it."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import CV_AXES, FaceParameters, PhotoCamera


def head_and_eyes(parameters: FaceParameters, cameras: Sequence[PhotoCamera] | None) -> Float[ndarray, "N 3 3 3"]:
    """Rotations of the head against the camera, and of the left and the right eye in the head.

    Args:
        parameters: Codes, on the CPU.
        cameras: Of each; without them the head's rotation is that in model space.
    """
    still = torch.zeros(len(parameters), 6)
    head, neck, eyes = (
        block if block is not None else still[:, :size]
        for block, size in ((parameters.global_pose, 3), (parameters.neck_pose, 3), (parameters.eye_pose, 6))
    )
    vectors = torch.stack([head, neck, eyes[:, :3], eyes[:, 3:]], dim=1).double()
    turned, bent, left, right = np.moveaxis(rotation_vector_to_matrix(vectors).numpy(), 1, 0)
    view = np.eye(3) if cameras is None else CV_AXES @ np.array([camera.rotation for camera in cameras])
    return np.stack([view @ turned @ bent, left, right], axis=1)


def yaw_pitch_roll(rotation: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B 3"]:
    """Angles of Ry(yaw) Rx(pitch) Rz(roll), radians."""
    r = rotation
    yaw, roll = np.arctan2(r[..., 0, 2], r[..., 2, 2]), np.arctan2(r[..., 1, 0], r[..., 1, 1])
    return np.stack([yaw, np.arcsin(np.clip(-r[..., 1, 2], -1, 1)), roll], axis=-1)


def rotation_of_angles(angles: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B 3 3"]:
    """Ry(yaw) Rx(pitch) Rz(roll) of yaw, pitch and roll, radians: the reverse of ``yaw_pitch_roll``."""
    yaw, pitch, roll = (
        rotation_vector_to_matrix(torch.from_numpy(angles[..., column, None] * np.eye(3)[axis]))
        for column, axis in enumerate((1, 0, 2))
    )
    return np.asarray((yaw @ pitch @ roll).numpy())
