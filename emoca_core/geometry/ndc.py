"""Image coordinates: NDC (x right, y down, [-1, 1] over the whole image) and pixels (integers are pixel centres)."""

import torch
from jaxtyping import Float
from torch import Tensor


def pixel_centres(
    image_size: tuple[int, int], device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "H W 2"]:
    """NDC of every pixel's centre: the sampling grid (align_corners=False) that leaves an image as it is."""
    y, x = ((2 * torch.arange(n, device=device, dtype=dtype) + 1) / n - 1 for n in image_size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
