"""Detail stays small."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import Capture, Loss


class DisplacementPrior(Loss):
    """Mean |displacement| over the map, metres. The fixed displacement, the same for all faces, does not count.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.2, detail regularisation.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"displacement"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        return self.need(capture.displacement, "a displacement").abs().mean()
