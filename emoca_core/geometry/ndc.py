"""Image coordinates: NDC (x right, y down, [-1, 1] over the whole image) and pixels (integers are pixel centres)."""

import torch
from jaxtyping import Float
from torch import Tensor


def ndc_to_pixels(points: Float[Tensor, "*batch 2"], image_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """x, y in NDC to pixel-centre coordinates of an image of (height, width)."""
    size = points.new_tensor(image_size[::-1])
    return (points + 1) * size / 2 - 0.5


def pixels_to_ndc(points: Float[Tensor, "*batch 2"], image_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Pixel-centre coordinates of an image of (height, width) to x, y in NDC.

    Example:
        >>> corners = torch.tensor([[-0.5, -0.5], [7.5, 3.5]])  # of a picture 8 wide, 4 high
        >>> pixels_to_ndc(corners, (4, 8)).tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    size = points.new_tensor(image_size[::-1])
    return (2 * points + 1) / size - 1


def pixel_centres(
    image_size: tuple[int, int], device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "H W 2"]:
    """NDC of every pixel's centre: the sampling grid (align_corners=False) that leaves an image as it is."""
    y, x = ((2 * torch.arange(n, device=device, dtype=dtype) + 1) / n - 1 for n in image_size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
