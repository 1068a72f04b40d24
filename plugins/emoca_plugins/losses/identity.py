"""The rendered face is that of the person in the photo."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.geometry.lighting import irradiance_image
from emoca_core.interfaces import Capture, Loss
from emoca_plugins.losses.recognition import VGGFACE2, VGGFACE2_SIZE, recognition


class Identity(Loss):
    """1 - cosine of what a face recognition network sees in the rendered face and in the photo, mean over faces.

    Outside the mask the rendered face shows the photo. Only the shape is judged: neither albedo nor light has a
    gradient, nor has the way in which the texture moves over the picture. The photo's side has no gradient.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1, identity loss, and EMOCA's public code, which cuts 10 pixels
    off each side and gives the network 2 x - 1 of what it was trained with (preset ``upstream``).
    """

    class Params(ComponentParams):
        network: str = VGGFACE2
        """``vggface2_resnet50``, the published ResNet-50 of VGGFace2; ``faceres``, a MobileNetV1 of the same faces, ten
        times as fast and openly packaged; or the name of a network in timm."""
        weights: str | None = None
        """By default the network's published weights: the asset of its name, or timm's from its cache or hub, which
        mostly know objects, not people. ``random``: untrained, for tests. Else name of an asset or path of a
        file."""
        margin: int = Field(default=0, ge=0, lt=VGGFACE2_SIZE // 2)
        """What is cut off each side first, pixels of a crop of 224; in proportion for other crops."""
        stretched: bool = False
        """Whether the network is given 2 x - 1 of its input."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"rendering", "mask"})

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.recognition = recognition(self.params.network, self.params.weights)
        self.asset_paths = {**self.recognition.files}

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        seen = self._vectors(overlay(capture))
        with torch.no_grad():
            wanted = self._vectors(capture.crop.image)
        return (1 - F.cosine_similarity(seen, wanted, dim=1)).mean()

    def _vectors(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        height, width = image.shape[-2:]
        y, x = (round(self.params.margin * side / VGGFACE2_SIZE) for side in (height, width))
        return self.recognition(image[..., y : height - y, x : width - x], self.params.stretched)


def overlay(capture: Capture) -> Float[Tensor, "B 3 H W"]:
    """The face over the photo, lit anew; only its normals have a gradient.

    Raises:
        ValueError: There is no rendering with albedo and normals, no mask, or no light.
    """
    rendering, mask, lighting = capture.rendering, capture.mask, capture.parameters.lighting
    if rendering is None or mask is None or rendering.albedo_image is None or rendering.normals is None:
        raise ValueError("identity needs the field mask and a rendering with albedo and normals")
    if lighting is None:
        raise ValueError("identity needs an encoder that estimates lighting")
    face = rendering.albedo_image.detach() * irradiance_image(rendering.normals, lighting.detach())
    return mask * face + (1 - mask) * capture.crop.image
