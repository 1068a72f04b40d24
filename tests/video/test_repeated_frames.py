"""When the frames of a clip were taken that shows some of them twice."""

import numpy as np
import pytest

from emoca_core.video.repeated_frames import taken_times

RATE = 25


def copies(shown: np.ndarray) -> np.ndarray:
    return np.diff(shown, prepend=-1) == 0


def one_stretch(count: int) -> np.ndarray:
    return np.zeros(count, int)


@pytest.mark.parametrize("share", [0.6, 0.5, 0.8, 1 / 3], ids=["15 to 25", "half", "24 to 30", "a third"])
def test_frames_of_a_slower_clip_were_taken_at_even_times(share):
    shown = np.floor(np.arange(120) * share + 1e-9).astype(int)
    times, repeats = np.arange(120) / RATE, copies(shown)
    taken = taken_times(times, repeats, one_stretch(120))
    inner = slice(8, -8)
    assert 30 < np.count_nonzero(~repeats) < 100
    np.testing.assert_allclose(np.diff(taken[~repeats])[inner], 1 / RATE / share, rtol=0.08)
    uneven, even = (np.diff(own[~repeats])[inner].std() for own in (times, taken))
    assert uneven > 3 * even or share in (0.5, 1 / 3)
    assert (np.diff(taken) > 0).all() and np.abs(taken - times).max() < 1.5 / RATE


def test_without_repeats_frames_were_taken_when_they_are_shown():
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 80))  # of a variable rate
    assert np.array_equal(taken_times(times, np.zeros(80, bool), one_stretch(80)), times)


def test_a_clip_that_froze_and_one_copy_by_itself_move_no_times():
    times = np.arange(100) / RATE
    for shown in (np.r_[:40, [39] * 15, 40:85], np.r_[:50, 49:99]):
        repeats = copies(shown)
        assert repeats.any()
        taken = taken_times(times, repeats, one_stretch(100))
        np.testing.assert_allclose(taken[~repeats], times[~repeats], atol=1e-12)


def test_a_stretch_says_nothing_of_another():
    shown = np.arange(120) * 3 // 5
    times, repeats, apart = np.arange(120) / RATE, copies(shown), np.repeat([0, 1], 60)
    repeats[60:] = False
    taken = taken_times(times, repeats, apart)
    assert np.array_equal(taken[60:], times[60:]) and not np.array_equal(taken[:60], times[:60])
    assert np.array_equal(taken[:60], taken_times(times[:60], repeats[:60], apart[:60]))
    assert not taken_times(times[:0], repeats[:0], apart[:0]).size
