"""What JPEG does to a picture."""

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor


def jpeg_compressed(image: Float[Tensor, "3 H W"], quality: int) -> Float[Tensor, "3 H W"]:
    """A picture, RGB in [0, 1], after it was kept as JPEG of a quality from 1 to 95.

    Example:
        >>> jpeg_compressed(torch.full((3, 8, 8), 0.5), 90).mean().sub(0.5).abs().item() < 0.01
        True
    """
    pixels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).to(image) / 255
