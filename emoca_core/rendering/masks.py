"""Where picture and photo are compared in training, and what surrounds the face in the picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.interfaces.renderer import Rendering
from emoca_core.rendering.face import composite
from emoca_core.rendering.topology import sample_texture
from emoca_core.rendering.uv_space import UvSpace

MaskMode = Literal["gt", "rendered", "intersection", "union"]
Background = Literal["black", "input", "none"]
FACE_PARTS = (
    *("face", "eye", "left_eye", "right_eye", "conjunctiva", "lid_rim"),
    *("lips", "mouth", "teeth", "gums", "tongue"),
)
"""How the names of vertex masks begin that make up the face with its eyes and the inside of its mouth."""


@dataclass(frozen=True)
class Composition:
    """How training compares picture and photo.

    Attributes:
        mask: ``gt`` takes the photo's segmentation, ``rendered`` the face region of the rendering; where a crop has no
            segmentation, all modes are ``rendered``.
        background: ``black`` blackens the picture outside the mask, ``input`` shows the photo there, ``none`` leaves
            the rendering as it is.

    Source: EMOCA (Danecek et al., CVPR 2022), public code.
    """

    mask: MaskMode = "rendered"
    background: Background = "black"


def face_region(uv_space: UvSpace, vertex_masks: Mapping[str, Bool[Tensor, "V"]]) -> Float[Tensor, "1 1 T T"] | None:
    """The face with eyes and mouth in UV space, of a face model that names its regions; ``None`` if it has no face."""
    if "face" not in vertex_masks:
        return None
    parts = [mask for name, mask in vertex_masks.items() if name.startswith(FACE_PARTS)]
    face = torch.stack(parts).any(0)
    return uv_space.image(face.to(uv_space.mask.dtype)[None, :, None])


def rendered_mask(rendering: Rendering, region: Float[Tensor, "1 1 T T"] | None) -> Float[Tensor, "B 1 H W"]:
    """Where the rendering shows a region of UV space; without one or without UV, wherever it shows anything."""
    if region is None or rendering.uv is None:
        return rendering.mask.detach()
    grid = rendering.uv.detach()
    return sample_texture(region.to(grid).expand(len(grid), -1, -1, -1), grid) * rendering.mask.detach()


def comparison_mask(
    mode: MaskMode, rendered: Float[Tensor, "B 1 H W"], segmentation: Float[Tensor, "B 1 H W"] | None
) -> Float[Tensor, "B 1 H W"]:
    """Where picture and photo are compared: see ``Composition``."""
    if segmentation is None:
        return rendered
    modes = {
        "gt": lambda: segmentation,
        "rendered": lambda: rendered,
        "intersection": lambda: segmentation * rendered,
        "union": lambda: torch.maximum(segmentation, rendered),
    }
    return modes[mode]()


def compose(
    background: Background,
    image: Float[Tensor, "B 3 H W"],
    mask: Float[Tensor, "B 1 H W"],
    photo: Float[Tensor, "B 3 H W"],
) -> Float[Tensor, "B 3 H W"]:
    """The rendered image on the background that ``Composition`` asks for."""
    if background == "none":
        return image
    return composite(image, mask, photo) if background == "input" else image * mask
