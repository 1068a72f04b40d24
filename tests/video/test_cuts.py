"""Cuts between shots that move, and none inside them."""

import numpy as np
import pytest

from emoca_core.video.cuts import CutFinder


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    data = pytest.importorskip("skimage.data")
    return [data.astronaut(), data.coffee(), data.chelsea()]  # a portrait, a cup, a cat


def shot(picture: np.ndarray, frames: int, speed: int = 3, seed: int = 0) -> list[np.ndarray]:
    """A camera that shakes and pans over a picture, with noise and changing exposure."""
    random = np.random.default_rng(seed)
    out = []
    for k in range(frames):
        x, y = np.clip(speed * k + random.integers(0, 5, 2), 0, 60)
        window = picture[y : y + 220, x : x + 300]
        out.append(
            (window * (0.9 + 0.05 * np.sin(k)) + random.normal(0, 4, window.shape)).clip(0, 255).astype(np.uint8)
        )
    return out


def cuts(frames: list[np.ndarray]) -> list[int]:
    finder = CutFinder()
    return [number for number, frame in enumerate(frames) if finder.is_cut(frame)]


def test_cuts_are_found_where_they_are(pictures):
    """Long and very short shots, back and forth."""
    order = [(0, 20), (1, 12), (2, 2), (0, 7), (2, 1), (1, 15)]
    frames = [frame for which, count in order for frame in shot(pictures[which], count)]
    assert cuts(frames) == np.cumsum([count for _, count in order])[:-1].tolist()


def test_a_wild_camera_is_no_cut(pictures):
    for picture in pictures:
        assert cuts(shot(picture, 30, speed=20)) == []
        zoom = [picture[k * 6 : 300 - k * 6, k * 8 : 400 - k * 8] for k in range(20)]  # every frame of another size
        assert cuts(zoom) == []


def test_a_face_that_comes_near_is_no_cut(pictures):
    """Something with other colours that fills more and more of the picture."""
    frames = shot(pictures[1], 25)
    for k, frame in enumerate(frames):
        frame[40 : 40 + 6 * k, 60 : 60 + 8 * k] = pictures[0][100 : 100 + 6 * k, 150 : 150 + 8 * k]
    assert cuts(frames) == []


def repeated(frames: list[np.ndarray]) -> list[int]:
    finder, found = CutFinder(), []
    for number, frame in enumerate(frames):
        finder.is_cut(frame)
        found += [number] * finder.repeats
    return found


def test_frames_that_are_shown_twice_are_found_though_they_are_compressed_anew(pictures):
    random = np.random.default_rng(1)
    moving = shot(pictures[0], 20)
    shown = np.floor(np.arange(30) * 2 / 3 + 1e-9).astype(int)
    frames = [(moving[k] + random.normal(0, 1, moving[k].shape)).clip(0, 255).astype(np.uint8) for k in shown]
    copies = (np.flatnonzero(np.diff(shown) == 0) + 1).tolist()
    assert len(copies) == 10 and set(repeated(frames)) >= set(copies[3:]) and set(repeated(frames)) <= set(copies)
    assert not repeated(moving)


def test_a_still_scene_is_looked_at_again(pictures):
    random = np.random.default_rng(2)
    still = [pictures[0][:220, :300]] * 30
    noisy = [(one + random.normal(0, 4, one.shape)).clip(0, 255).astype(np.uint8) for one in still]
    assert not repeated(still) and not repeated(noisy)
