"""Head pose and camera for codes that come without: least squares on the 68 detected points."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.rotations import matrix_to_rotation_vector
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceModel, FaceParameters, Parts, WeakPerspectiveCamera
from emoca_plugins.encoders.landmark_fit.camera import scaled_orthographic_rotation

POSE_BLOCKS: Mapping[Block, int] = {"global_pose": 3, "camera": 3}
"""What is added to a code."""


class PosedByLandmarks(Encoder):
    """An encoder that knows neither head pose nor camera: the 68 landmarks tell, once there is a face model."""

    _face_model: tuple[FaceModel, ...] = ()  # a tuple hides it from torch: it belongs to the method

    def attach(self, parts: Parts) -> None:
        """Head pose and camera join the code, because there is now a model whose landmarks can be compared."""
        self._face_model = (parts.face_model,)
        self.blocks = {**self.blocks, **POSE_BLOCKS}

    def posed(self, code: FaceParameters, crop: FaceCrop) -> FaceParameters:
        """The code with pose and camera, where landmarks and a face model are there."""
        landmarks = crop.landmarks.get("ibug68")
        if landmarks is None or not self._face_model:
            return code
        return with_pose_from_landmarks(code, self._face_model[0], landmarks)


def with_pose_from_landmarks(
    parameters: FaceParameters, face_model: FaceModel, landmarks: Float[Tensor, "B 68 2"]
) -> FaceParameters:
    """The same code with the global pose and the weak-perspective camera that best explain the landmarks.

    Args:
        parameters: Identity and expression.
        face_model: The model they belong to.
        landmarks: Detected iBUG points, NDC.
    """
    neutral = face_model(parameters).landmarks["ibug68"]
    ones = torch.ones_like(landmarks[..., 0])
    rotation, inverse_scale = scaled_orthographic_rotation(neutral, landmarks, ones)
    posed = parameters.replace(global_pose=matrix_to_rotation_vector(rotation))
    middle = face_model(posed).landmarks["ibug68"][..., :2].mean(1)
    upward = landmarks.mean(1) * landmarks.new_tensor([1.0, -1.0])
    camera = WeakPerspectiveCamera(1 / inverse_scale, upward * inverse_scale[:, None] - middle)
    return posed.replace(camera=camera)
