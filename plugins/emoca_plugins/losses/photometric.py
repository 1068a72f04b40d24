"""The picture against the photo."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture, Loss


class Photometric(Loss):
    """Mean of mask * |picture - photo| over pixels and colours, RGB in [0, 1].

    A face whose mask is empty adds 0.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1, photometric loss; EMOCA's public code.
    """

    class Params(ComponentParams):
        normalization: Literal["image", "mask"] = "image"
        """What the sum is divided by: ``image`` (published) all pixels, so that a small face counts little; ``mask``
        the area of each face's mask."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"picture", "mask"})

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        picture, mask = self.need(capture.picture, "a picture"), self.need(capture.mask, "a mask")
        difference = (mask * (picture - capture.crop.image).abs()).mean((1, 2, 3))
        if self.params.normalization == "mask":
            difference = difference / mask.mean((1, 2, 3)).clamp(min=1e-6)
        return difference.mean()
