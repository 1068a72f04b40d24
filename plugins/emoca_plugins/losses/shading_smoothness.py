"""The light on the detailed surface changes gently."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import Capture, Loss


class ShadingSmoothness(Loss):
    """Mean squared difference of neighbouring texels of the shading, along x plus along y. Light is about 1.

    Source: DECA (Feng et al., SIGGRAPH 2021), public code.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"detail_maps"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        shading = self.need(capture.detail_maps, "detail maps").shading
        return shading.diff(dim=-1).square().mean() + shading.diff(dim=-2).square().mean()
