"""PNG files, as Pillow reads them."""

import io

import numpy as np
import pytest
from PIL import Image

from emoca_core.export.png import png_bytes, texture_png


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 1, 3), (1, 7, 3), (37, 53, 3)])
def test_pillow_reads_the_same_pixels(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    square = [texture_png(pixels)] if shape[0] == shape[1] else []
    for data in (png_bytes(pixels), png_bytes(np.asfortranarray(pixels)), *square):
        with Image.open(io.BytesIO(data)) as image:
            image.verify()  # the checksums
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            np.testing.assert_array_equal(np.asarray(image), pixels)
