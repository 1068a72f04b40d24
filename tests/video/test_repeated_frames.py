"""Frames that are shown twice are found, and when the others were taken."""

import numpy as np
import pytest

from emoca_core.video.repeated_frames import without_repeats

RATE = 25


def converted(frames: int, share: float) -> np.ndarray:
    """Which frame of a slower clip each frame of the faster one shows."""
    return np.floor(np.arange(frames) * share + 1e-9).astype(int)


@pytest.mark.parametrize("share", [0.6, 0.5, 0.8, 1 / 3], ids=["15 to 25", "half", "24 to 30", "a third"])
def test_frames_of_a_slower_clip_were_taken_at_even_times(share):
    shown = converted(120, share)
    times = np.arange(120) / RATE
    found = without_repeats(np.sin(0.3 * shown)[:, None], times)
    first = np.flatnonzero(np.diff(shown, prepend=-1))
    assert np.array_equal(np.flatnonzero(found.trust), first) and 30 < len(first) < 100
    assert np.array_equal(found.shown, first[shown - shown[0]])
    taken = found.times[first]
    inner = slice(8, -8)
    np.testing.assert_allclose(np.diff(taken)[inner], 1 / RATE / share, rtol=0.08)
    assert np.diff(times[first])[inner].std() > 3 * np.diff(taken)[inner].std() or share in (0.5, 1 / 3)
    assert (np.diff(found.times) > 0).all() and np.abs(found.times - times).max() < 1.5 / RATE


def test_without_repeats_frames_were_taken_when_they_are_shown():
    random = np.random.default_rng(0)
    times = np.cumsum(random.uniform(0.02, 0.06, 80))  # of a variable rate
    found = without_repeats(random.normal(size=(80, 3)), times, np.linspace(0.1, 1, 80))
    assert np.array_equal(found.times, times) and np.array_equal(found.shown, np.arange(80))
    assert np.array_equal(found.trust, np.linspace(0.1, 1, 80))


def test_a_clip_that_froze_and_one_copy_by_itself_move_no_times():
    times = np.arange(100) / RATE
    froze = np.r_[:40, [39] * 15, 40:85]
    for shown in (froze, np.r_[:50, 49:99]):
        found = without_repeats(shown[:, None].astype(float), times)
        first = np.flatnonzero(np.diff(shown, prepend=-1))
        assert np.count_nonzero(found.trust) == len(first) < 100
        np.testing.assert_allclose(found.times[first], times[first], atol=1e-12)


def test_a_stretch_repeats_nothing_of_another():
    rows, times = np.repeat(np.arange(6.0), 2)[:, None], np.arange(12) / RATE
    apart = np.arange(12) // 3  # a copy begins the second and the fourth
    found = without_repeats(rows, times, segments=apart)
    assert np.flatnonzero(found.trust == 0).tolist() == [1, 5, 7, 11]
    assert without_repeats(rows[:1], times[:1], segments=apart[:1]).shown.tolist() == [0]
    assert not without_repeats(rows[:0], times[:0]).times.size


def test_a_gap_is_no_copy():
    rows = np.zeros((5, 2))
    found = without_repeats(rows, np.arange(5) / RATE, np.array([1.0, 0.0, 1.0, 1.0, 0.0]))
    assert found.trust.tolist() == [1, 0, 1, 0, 0] and found.shown.tolist() == [0, 1, 2, 2, 4]
