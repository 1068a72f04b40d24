"""Coefficients stay near the mean face."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.errors import unknown_name
from emoca_core.interfaces import Capture, Loss
from emoca_plugins.losses.reduction import Reduction, reduce_faces


class CodePrior(Loss):
    """Half the squared length of one block of the code, sum(code^2) / 2.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1, regularisation, and its public code, which sums over the
    batch (presets ``upstream_*``).
    """

    class Params(ComponentParams):
        block: Literal["shape", "expression", "albedo", "detail", "jaw_pose", "neck_pose", "eye_pose", "eyelids"]
        """Block of the code."""
        reduction: Reduction = "mean"
        """Over the faces of a batch. ``sum`` (published) grows with the batch of a forward pass, of all processes."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset()

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        blocks = capture.parameters.blocks()
        if self.params.block not in blocks:
            raise unknown_name("block of this face code", self.params.block, blocks)
        return reduce_faces(blocks[self.params.block].square().sum(1) / 2, self.params.reduction)
