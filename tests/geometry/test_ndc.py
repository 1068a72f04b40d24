"""Centres of pixels in NDC: known points, and agreement with grid_sample."""

import torch
from torch.testing import assert_close

from emoca_core.geometry.ndc import pixel_centres

SIZE = (6, 10)


def test_corner_pixels() -> None:
    # the first pixel's centre is half a pixel inside the image
    assert_close(pixel_centres(SIZE)[0, 0], torch.tensor([-1 + 1 / 10, -1 + 1 / 6]))
    assert_close(pixel_centres(SIZE)[-1, -1], torch.tensor([1 - 1 / 10, 1 - 1 / 6]))


def test_pixel_centres_leave_an_image_as_it_is() -> None:
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = pixel_centres(SIZE, dtype=torch.float64)[None]
    sampled = torch.nn.functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    assert_close(sampled, image)
