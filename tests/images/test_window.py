"""The quick way to cut against the exact one."""

import numpy as np
import pytest

from emoca_core.images.warp import square_to_image, warp
from emoca_core.images.window import cut_window, thinned


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


def test_thinned_is_what_a_slice_takes():
    """Every step, sizes that it divides and others; of views too, whose rows lie apart."""
    photo = np.random.default_rng(0).integers(0, 256, (131, 260, 3), np.uint8)
    for step in range(1, 60):
        for part in (photo, photo[: 2 * step, : 3 * step], photo[3:, 5:], photo[:1, 7:9], photo[2 : 2 * step + 3]):
            np.testing.assert_array_equal(thinned(part, step), part[::step, ::step])
    for width in (8000, 2**15 - 2, 2**15 - 1, 40_000):
        wide = np.random.default_rng(1).integers(0, 256, (2, width, 3), np.uint8)
        for step in (1, 2, 3, 7, 49):
            np.testing.assert_array_equal(thinned(wide, step), wide[::step, ::step])
