"""Image coordinates: NDC (x right, y down, [-1, 1] over the whole image) and pixels (integers are pixel centres)."""

import torch
from jaxtyping import Float
from torch import Tensor


def ndc_to_pixels(points: Float[Tensor, "*batch 2"], image_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """x, y in NDC to pixel-centre coordinates of an image of (height, width)."""
    size = points.new_tensor(image_size[::-1])
    return (points + 1) * size / 2 - 0.5


def pixels_to_ndc(points: Float[Tensor, "*batch 2"], image_size: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Pixel-centre coordinates of an image of (height, width) to x, y in NDC."""
    size = points.new_tensor(image_size[::-1])
    return (2 * points + 1) / size - 1


def pixel_centres(
    image_size: tuple[int, int], device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "H W 2"]:
    """NDC of every pixel's centre: the sampling grid (align_corners=False) that leaves an image as it is."""
    y, x = ((2 * torch.arange(n, device=device, dtype=dtype) + 1) / n - 1 for n in image_size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def pixels_to_ndc_matrix(image_size: tuple[int, int], like: Tensor) -> Float[Tensor, "3 3"]:
    """``pixels_to_ndc`` as a homogeneous transform, on the device and of the dtype of ``like``."""
    height, width = image_size
    rows = [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]]
    return like.new_tensor(rows)


def transform_points(points: Float[Tensor, "B N 2"], matrix: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B N 2"]:
    """Apply one homogeneous transform per batch item."""
    mapped = torch.nn.functional.pad(points, (0, 1), value=1.0) @ matrix.transpose(1, 2)
    return mapped[..., :2] / mapped[..., 2:]


def transform_ndc(
    points: Float[Tensor, "B N 2"],
    crop_to_image: Float[Tensor, "B 3 3"],
    crop_size: tuple[int, int],
    image_size: tuple[int, int],
) -> Float[Tensor, "B N 2"]:
    """NDC of a crop to NDC of the photo it was cut from.

    Args:
        points: x, y in the crop's NDC.
        crop_to_image: Pixel-centre coordinates of the crop to those of the photo.
        crop_size: Height and width of the crop, pixels.
        image_size: Height and width of the photo, pixels.
    """
    pixels = transform_points(ndc_to_pixels(points, crop_size), crop_to_image)
    return pixels_to_ndc(pixels, image_size)
