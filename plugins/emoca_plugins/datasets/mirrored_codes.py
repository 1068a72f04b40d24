"""The code of a face's mirror image."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.errors import RecipeError
from emoca_core.interfaces import FaceModel, FaceParameters, PerspectiveCamera, WeakPerspectiveCamera
from emoca_core.vocabulary.arkit import ARKIT_NAMES


@dataclass(frozen=True)
class MirroredCodes:
    """Turns codes of one face model into those of the mirrored faces.

    Attributes:
        shape: Coefficients of a shape to those of its mirror image, nearest in the least squares of all vertices.
        partners: Number of the activation that does the same on the other side.
    """

    shape: Float[Tensor, "S S"]
    partners: Int[Tensor, "52"]

    @classmethod
    @torch.no_grad()
    def of(cls, face_model: FaceModel) -> "MirroredCodes":
        """For a model with ARKit activations that knows the partner of every vertex, such as ``open_head``.

        Raises:
            RecipeError: Another one.
        """
        partner = getattr(face_model, "mirror", None)
        if not isinstance(partner, Tensor) or face_model.expression_names != ARKIT_NAMES:
            raise RecipeError(f"{type(face_model).__name__} does not say which of its vertices mirror each other")
        size = face_model.blocks["shape"]
        neutral = face_model(FaceParameters(shape=torch.zeros(1, size))).vertices
        moved = face_model(FaceParameters(shape=torch.eye(size))).vertices - neutral
        mirrored = moved[:, partner] * moved.new_tensor([-1.0, 1.0, 1.0])
        own, other = moved.flatten(1).double(), mirrored.flatten(1).double()
        shape = torch.linalg.solve(own @ own.mT, own @ other.mT).mT  # row i: the mirror image of component i
        return cls(shape.float(), torch.tensor([ARKIT_NAMES.index(_other_side(name)) for name in ARKIT_NAMES]))

    def beside(self, code: FaceParameters) -> FaceParameters:
        """The codes and, behind them, those of the mirrored faces; blocks that have no mirror image are left out."""
        other = self(code)
        kept = {name: code.get(name) for name in (*other.blocks(), "camera")}
        units = {name: unit for name, unit in code.units.items() if name in kept}
        own = FaceParameters(units=units).replace(**kept)
        return FaceParameters.cat([own, other.replace(units=units)])

    def __call__(self, code: FaceParameters) -> FaceParameters:
        """The codes of the mirrored faces: shape, expression, poses and camera; others are left out."""
        turned = torch.tensor([1.0, -1.0, -1.0])
        eyes, camera = code.eye_pose, code.camera
        if isinstance(camera, PerspectiveCamera):
            side = torch.tensor([-1.0, 1.0])
            camera = PerspectiveCamera(
                camera.focal, camera.centre * side, camera.translation * torch.tensor([-1.0, 1.0, 1.0])
            )
        elif isinstance(camera, WeakPerspectiveCamera):
            camera = WeakPerspectiveCamera(camera.scale, camera.translation * torch.tensor([-1.0, 1.0]))
        return FaceParameters(
            shape=None if code.shape is None else code.shape @ self.shape[: code.shape.shape[1]],
            expression=None if code.expression is None else code.expression[:, self.partners],
            global_pose=None if code.global_pose is None else code.global_pose * turned,
            jaw_pose=None if code.jaw_pose is None else code.jaw_pose * turned,
            eye_pose=None if eyes is None else (eyes.reshape(-1, 2, 3).flip(1) * turned).flatten(1),
            camera=camera,
            units=code.units,
        )


def _other_side(name: str) -> str:
    side, other = ("Left", "Right") if name.endswith("Left") else ("Right", "Left")
    return name.removesuffix(side) + other if name.endswith(side) else name
