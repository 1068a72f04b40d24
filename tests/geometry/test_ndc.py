"""Pixels, NDC and crops: round trips, known points and agreement with grid_sample."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from emoca_core.geometry.ndc import (
    ndc_to_pixels,
    pixel_centres,
    pixels_to_ndc,
)

SIZE = (6, 10)


def test_corner_pixels() -> None:
    # the first pixel's centre is half a pixel inside the image
    assert_close(pixels_to_ndc(torch.tensor([0.0, 0.0]), SIZE), torch.tensor([-1 + 1 / 10, -1 + 1 / 6]))
    assert_close(pixels_to_ndc(torch.tensor([9.0, 5.0]), SIZE), torch.tensor([1 - 1 / 10, 1 - 1 / 6]))
    assert_close(ndc_to_pixels(torch.tensor([-1.0, 1.0]), SIZE), torch.tensor([-0.5, 5.5]))


@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(-3, 3), st.floats(-3, 3))
def test_round_trip(height: int, width: int, x: float, y: float) -> None:
    point = torch.tensor([x, y], dtype=torch.float64)
    assert_close(pixels_to_ndc(ndc_to_pixels(point, (height, width)), (height, width)), point, atol=1e-12, rtol=0)


def test_pixel_centres_leave_an_image_as_it_is() -> None:
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = pixel_centres(SIZE, dtype=torch.float64)[None]
    sampled = torch.nn.functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    assert_close(sampled, image)
