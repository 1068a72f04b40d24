"""What a face looks like around its points: small pictures of eyes, brows, mouth and the whole, as one vector."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.images.resize import resized

IMAGE_SIZE = 112
"""Side of the crops that patches are taken from, pixels."""
COARSE = 4
"""Pixels of the crop to one of the picture that the whole face is taken from, along each side."""
LEAST_CONTRAST = 0.03
"""Added to the deviation of a patch before it is divided by it, of the range of a pixel."""


@dataclass(frozen=True)
class Patch:
    """A grid of places about the middle of some of the 68 points.

    Attributes:
        points: First of them, and the one behind the last.
        half: Half its width and height, in root mean square radii of the face.
        size: Places across and down.
        colour: RGB of a coarse picture as it is; else grey, with the contrast of the patch taken out.
    """

    points: tuple[int, int]
    half: tuple[float, float]
    size: tuple[int, int]
    colour: bool = False

    @property
    def numbers(self) -> int:
        """Length of its vector."""
        return self.size[0] * self.size[1] * (3 if self.colour else 1)


PATCHES = (
    Patch((36, 42), (0.45, 0.25), (24, 12)),
    Patch((42, 48), (0.45, 0.25), (24, 12)),
    Patch((17, 22), (0.5, 0.25), (20, 10)),
    Patch((22, 27), (0.5, 0.25), (20, 10)),
    Patch((48, 68), (0.8, 0.5), (26, 16)),
    Patch((0, 68), (1.8, 1.8), (20, 20), colour=True),
)


class PointPatches(nn.Module):
    """Patches that follow the points of an upright face, whatever its size and place.

    Attributes:
        numbers: Length of the vector.
    """

    def __init__(self, patches: tuple[Patch, ...] = PATCHES) -> None:
        super().__init__()
        self.patches = patches
        self.numbers = sum(patch.numbers for patch in patches)

    def forward(self, image: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B D"]:
        """Of RGB in [0, 1], at points in its NDC."""
        image = resized(image, IMAGE_SIZE)
        radius = (points - points.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
        grey, coarse = image.mean(1, keepdim=True), F.avg_pool2d(image, COARSE)
        found = []
        for patch in self.patches:
            middle = points[:, slice(*patch.points)].mean(1)
            picture = coarse if patch.colour else grey
            seen = F.grid_sample(picture, _grid(patch, middle, radius), padding_mode="border", align_corners=False)
            found.append(2 * seen.flatten(1) - 1 if patch.colour else _contrasted(seen.flatten(1)))
        return torch.cat(found, dim=1)


def _grid(patch: Patch, middle: Float[Tensor, "B 2"], radius: Float[Tensor, "B"]) -> Float[Tensor, "B h w 2"]:
    across, down = (
        torch.linspace(-half, half, count, device=middle.device)
        for half, count in zip(patch.half, patch.size, strict=True)
    )
    offsets = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    return middle[:, None, None] + radius[:, None, None, None] * offsets


def _contrasted(values: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    deviation, mean = torch.std_mean(values, dim=1, keepdim=True)
    return (values - mean) / (deviation + LEAST_CONTRAST)
