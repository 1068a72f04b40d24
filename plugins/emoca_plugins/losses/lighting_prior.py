"""Light stays white."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import Capture, Loss


class LightingPrior(Loss):
    """Mean squared deviation of the light's colours from their mean, over bands, colours and faces.

    Source: DECA's and EMOCA's public code, light regularisation.
    """

    requires: ClassVar[frozenset[str]] = frozenset()

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        lighting = self.need(capture.parameters.lighting, "an encoder that estimates lighting")
        return (lighting - lighting.mean(-1, keepdim=True)).square().mean()
