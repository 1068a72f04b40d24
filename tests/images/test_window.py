"""The quick way to cut against the exact one."""

import numpy as np
import pytest

from emoca_core.images.warp import square_to_image, warp
from emoca_core.images.window import cut_window


@pytest.mark.parametrize("border", ["constant", "replicate"])
@pytest.mark.parametrize(
    ("centre", "side", "roll"),
    [((200, 150), 300, 0.3), ((20, 500), 250, -1.0), ((256, 256), 900, 2.0), ((9, 9), 5, 0.0)],
)
def test_a_window_is_what_the_exact_way_gives(centre, side, roll, border):
    """Inside, at the border and beyond, enlarged and shrunk."""
    photo = pytest.importorskip("skimage.data").astronaut()
    to_photo = square_to_image(np.array(centre, float), side, 128, roll)
    exact = warp(photo, to_photo, 128, border=border, antialias=True)
    away = np.abs(cut_window(photo, to_photo, 128, border) - exact)
    # the exact way reads the averaged picture of whole factors, the quick one resizes: a shift would give 10 and more
    assert away.mean() < 4


def test_beyond_the_photo_it_is_black():
    far = square_to_image(np.array([5000.0, 5000.0]), 100, 384)
    assert not cut_window(np.full((8, 8, 3), 200, np.uint8), far, 384).any()
