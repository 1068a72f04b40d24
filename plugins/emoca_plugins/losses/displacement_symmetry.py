"""What the photo does not show is as on the other side of the face."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture, Loss
from emoca_plugins.losses.reduction import Reduction, reduce_faces


class DisplacementSymmetry(Loss):
    """|displacement - its mirror image| where the photo does not show the surface, or nearly does not; metres.

    The mirror image has no gradient: the hidden side follows the seen one. Texels whose mirror image lies beyond the
    map do not count.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.2, soft symmetry loss, and its public code, which sums over the
    texels and the batch (preset ``upstream``).
    """

    class Params(ComponentParams):
        axis: float = Field(default=0.5, gt=0, lt=1)
        """Where the face's middle lies in UV space, from left to right; that of FLAME is 0.5, that of the open head
        0.4677 (preset ``open_head``)."""
        margin: int = Field(default=2, ge=0)
        """How far around a texel, in rows and columns, the surface must be seen for it to count as seen; the published
        2 makes squares of 5 texels."""
        reduction: Reduction = "mean"
        """Over texels and faces. ``sum`` (published) grows with the map, and with the batch of a forward pass, of all
        processes."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"displacement", "detail_maps"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        displacement = self.need(capture.displacement, "a displacement")
        maps = self.need(capture.detail_maps, "detail maps")
        hidden = 1 - erode(maps.visibility, self.params.margin)
        width = displacement.shape[-1]
        mirrored = round(2 * self.params.axis * width) - 1 - torch.arange(width, device=displacement.device)
        paired = (mirrored >= 0) & (mirrored < width)
        mirror_image = displacement.detach()[..., mirrored.clamp(0, width - 1)]
        asymmetry = hidden * paired * (displacement - mirror_image).abs()
        return reduce_faces(asymmetry, self.params.reduction)


def erode(mask: Float[Tensor, "B 1 H W"], margin: int) -> Float[Tensor, "B 1 H W"]:
    """1 where the mask is above 0 in the whole square around a pixel; beyond the edge of the picture it is 0.

    The same as binary erosion, on any device: the largest value of the complement says whether all are in the mask.
    The square has ``margin`` rows and columns on each side of the pixel. No gradient.
    """
    outside = F.pad((mask.detach() <= 0).to(mask.dtype), [margin] * 4, value=1.0)
    return 1 - F.max_pool2d(outside, 2 * margin + 1, stride=1)
