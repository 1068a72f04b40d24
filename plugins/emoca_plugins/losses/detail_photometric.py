"""The detailed texture against the photo, in UV space."""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture, Loss
from emoca_plugins.losses.uv_patches import PatchWeights, masked_patch


class DetailPhotometric(Loss):
    """Weighted sum over patches of the mean of visibility * |texture - observed texture|, RGB in [0, 1].

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.2, detail photometric loss; EMOCA's public code, which looks at
    the face patch five times as hard (preset ``upstream``).
    """

    class Params(ComponentParams):
        patches: PatchWeights = Field(default={"face": 1.0})
        """Weight of each patch: ``face``, ``forehead``, ``eyes_and_nose``, ``mouth``, or ``map`` for all of it."""
        size: int = Field(default=256, ge=1)
        """Side to which every patch is resized, texels."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"detail_maps"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        maps = self.need(capture.detail_maps, "detail maps")
        terms = []
        for patch, weight in self.params.patches.items():
            texture, observed = masked_patch(maps, patch, self.params.size)
            terms.append(weight * (texture - observed).abs().mean())
        return torch.stack(terms).sum()
