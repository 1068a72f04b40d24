"""The estimated code against the known one of synthetic faces."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.errors import unknown_name
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Capture, FaceParameters, Loss
from emoca_core.interfaces.face import DEFAULT_UNITS, Block
from emoca_plugins.losses.distances import safe_norm

Metric = Literal["l1", "l2"]
_BLOCKS: dict[Block, float] = {"shape": 1.0, "expression": 1.0, "global_pose": 1.0, "jaw_pose": 1.0}


class CodeTruth(Loss):
    """Weighted sum, over blocks, of the mean absolute or squared difference to the true code, in the block's units.

    Where one code is shorter, its missing coefficients are zero, as for a face model. Rotations are compared as
    rotations, whatever vector stands for them: by the chord c = 2 sin(angle / 2) of the angle between them, which is
    the angle itself (radians) when small; the terms are c and c^2 / 3, averaged over joints, the latter to match the
    mean over the three coordinates. The camera is compared by its code, which has mixed units.

    Source: this project, for supervised training on synthetic faces.
    """

    class Params(ComponentParams):
        blocks: dict[Block, float] = Field(default=_BLOCKS, min_length=1)
        """Weight of each block that is compared; encoder and data must have them."""
        metric: Metric = "l2"
        """``l1``: absolute, ``l2``: squared difference."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"truth"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        known = self.need(capture.truth, "faces whose code is known, such as synthetic ones")
        estimate, truth = capture.parameters, known.parameters
        terms = [weight * self._distance(block, estimate, truth) for block, weight in self.params.blocks.items()]
        return torch.stack(terms).sum()

    def _distance(self, block: Block, estimate: FaceParameters, truth: FaceParameters) -> Float[Tensor, ""]:
        for code, whose in ((estimate, "estimated"), (truth, "true")):
            if block not in code.blocks():
                raise unknown_name(f"block of the {whose} code", block, code.blocks())
        unit, true_unit = (code.units.get(block, DEFAULT_UNITS[block]) for code in (estimate, truth))
        if unit != true_unit:
            raise ValueError(f"the block {block} is estimated in '{unit}', but its truth is in '{true_unit}'")
        a, b = estimate.blocks()[block], truth.blocks()[block].detach()
        if unit == "radians":
            return _rotation_distance(a, b, self.params.metric)
        size = max(a.shape[1], b.shape[1])
        difference = F.pad(a, (0, size - a.shape[1])) - F.pad(b, (0, size - b.shape[1]))
        return difference.abs().mean() if self.params.metric == "l1" else difference.square().mean()


def _rotation_distance(a: Float[Tensor, "B D"], b: Float[Tensor, "B D"], metric: Metric) -> Float[Tensor, ""]:
    """By chords: the Frobenius norm of the difference of two rotation matrices is sqrt(2) chords."""
    matrices = [rotation_vector_to_matrix(x.reshape(len(x), -1, 3)) for x in (a, b)]
    difference = (matrices[0] - matrices[1]).flatten(2)
    if metric == "l1":
        return safe_norm(difference).mean() / 2**0.5
    return difference.square().sum(-1).mean() / 6
