"""The jaw stays near a reference."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.geometry.rotations import matrix_to_quaternion, rotation_vector_to_matrix
from emoca_core.interfaces import Capture, Loss
from emoca_plugins.losses.reduction import Reduction, reduce_faces

Angles = Literal["axis_angle", "quaternion", "euler"]


class JawPrior(Loss):
    """Distance of the jaw's rotation from a reference, such as that in a photo: the sum over its numbers.

    ``quaternion`` compares unit quaternions with a positive real part; ``euler`` the angles of
    Rx(a) Ry(b) Rz(c), radians.

    Source: EMOCA (Danecek et al., CVPR 2022), supplementary material, section 4, and the public code of its emotion
    optimisation, where it did not help.
    """

    class Params(ComponentParams):
        reference: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Axis-angle, radians."""
        angles: Angles = "axis_angle"
        """The numbers that are compared."""
        metric: Literal["l1", "l2"] = "l2"
        """``l1``: sum of absolute differences. ``l2``: sum of squares."""
        reduction: Reduction = "mean"
        """Over the faces of a batch."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset()
    reference: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.register_buffer("reference", torch.tensor([self.params.reference]), persistent=False)

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        jaw = self.need(capture.parameters.jaw_pose, "a jaw, which this method does not estimate")
        angles = _ANGLES[self.params.angles]
        difference = angles(jaw) - angles(self.reference.to(jaw))
        distance = difference.abs() if self.params.metric == "l1" else difference.square()
        return reduce_faces(distance.sum(1), self.params.reduction)


def matrix_to_euler(matrix: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3"]:
    """Angles of Rx(a) Ry(b) Rz(c), radians; defined for |b| < pi / 2, which no jaw leaves."""
    b = torch.asin(matrix[:, 0, 2].clamp(-1 + 1e-6, 1 - 1e-6))
    a, c = torch.atan2(-matrix[:, 1, 2], matrix[:, 2, 2]), torch.atan2(-matrix[:, 0, 1], matrix[:, 0, 0])
    return torch.stack([a, b, c], 1)


_ANGLES: Mapping[Angles, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "axis_angle": lambda vector: vector,
        "quaternion": lambda vector: matrix_to_quaternion(rotation_vector_to_matrix(vector)),
        "euler": lambda vector: matrix_to_euler(rotation_vector_to_matrix(vector)),
    }
)
