"""Smoothing without lag against a smoother from the book, dense algebra, rotations of SciPy and known signals."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emoca_core.images.warp import transform_points
from emoca_core.interfaces import FaceParameters, PerspectiveCamera
from emoca_core.video.most_probable_path import most_probable_path
from emoca_core.video.smoothing import (
    find_segments,
    smooth_code,
    smooth_crops,
    smooth_rotations,
    smooth_signal,
)

TIMES = np.arange(250) / 25


def noisy(signal: np.ndarray, sigma: float = 0.03, seed: int = 0) -> np.ndarray:
    return signal + sigma * np.random.default_rng(seed).standard_normal(signal.shape)


def irregular(count: int = 40) -> tuple[np.ndarray, ...]:
    """Values, times, pushes and trust with nothing regular about them; some rows were not measured."""
    random = np.random.default_rng(3)
    times = np.cumsum(random.uniform(0.01, 0.1, count))
    trust = random.uniform(0.2, 1, count) * (random.uniform(size=count) > 0.2)
    return random.standard_normal((count, 2)), times, random.uniform(1, 1e4, count), trust


def jitter(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.diff(signal, n=2, axis=0) ** 2)))


def lag(smooth: np.ndarray, truth: np.ndarray) -> float:
    """By how many frames the smooth signal is late: where the correlation with the truth is largest, by a parabola."""
    shifts = range(-3, 4)
    score = [np.corrcoef(np.roll(truth, shift)[5:-5], smooth[5:-5])[0, 1] for shift in shifts]
    best = int(np.clip(np.argmax(score), 1, 5))
    before, at, after = score[best - 1 : best + 2]
    return shifts[best] + 0.5 * (before - after) / (before - 2 * at + after)


def test_it_is_the_rauch_tung_striebel_smoother():
    """The recursion as in the book, one frame after the other, from a first state of which nothing is known."""
    values, times, push, trust = irregular()
    count = len(times)
    x, p = np.zeros((2, 2)), np.eye(2) * 1e8
    filtered, predicted = [], [(x, p)]
    for k in range(count):
        if k:
            step = times[k] - times[k - 1]
            # the velocity changes at a frame, by half of the intervals around it
            around = (times[k] - times[k - 2]) / 2 if k > 1 else 0.0
            move = np.array([[1, step], [0, 1]])
            kick = np.array([step, 1])
            x, p = move @ x, move @ p @ move.T + push[k - 1] * around * np.outer(kick, kick)
            predicted.append((x, p))
        if trust[k]:
            gain = p[:, :1] / (p[0, 0] + 1 / trust[k])
            x, p = x + gain @ (values[k : k + 1] - x[:1]), p - gain @ p[:1]
        filtered.append((x, p))
    smooth = [filtered[-1][0]]
    for k in range(count - 2, -1, -1):
        move = np.array([[1, times[k + 1] - times[k]], [0, 1]])
        gain = filtered[k][1] @ move.T @ np.linalg.pinv(predicted[k + 1][1])
        smooth.append(filtered[k][0] + gain @ (smooth[-1] - predicted[k + 1][0]))
    expected = np.array([state[0] for state in smooth[::-1]])
    # the first state has a variance of 1e8 there, none here
    np.testing.assert_allclose(most_probable_path(values, times, push, trust), expected, atol=1e-4)


def test_it_is_the_most_probable_path():
    values, times, push, trust = irregular()
    steps = np.diff(times)
    kinks = np.diff(np.diff(np.eye(len(times)), axis=0) / steps[:, None], axis=0)
    kinks /= np.sqrt(push[1:-1] * (times[2:] - times[:-2]) / 2)[:, None]
    rows = np.concatenate([np.diag(np.sqrt(trust)), kinks])
    right = np.concatenate([np.sqrt(trust)[:, None] * values, np.zeros((len(kinks), 2))])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0]
    np.testing.assert_allclose(most_probable_path(values, times, push, trust), expected, atol=1e-8)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_a_moving_signal_does_not_come_late(strength):
    truth = np.sin(2 * np.pi * 1.3 * TIMES) + 0.4 * TIMES
    smooth = smooth_signal(noisy(truth), TIMES, strength)
    assert abs(lag(smooth, truth)) < 0.05
    assert np.abs(smooth - truth).mean() < np.abs(noisy(truth) - truth).mean()


def test_jitter_of_what_does_not_move_falls():
    measured = noisy(np.zeros(250))
    falls = [jitter(smooth_signal(measured, TIMES, strength)) / jitter(measured) for strength in (0.25, 0.5, 1.0)]
    assert falls[0] > falls[1] > falls[2] and falls[1] < 0.3 and falls[2] < 0.05


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8])
def test_a_blink_keeps_its_depth(strength):
    """Closing and opening in 120 ms, in the noise of the rest."""
    starts = np.arange(2.107, 9.5, 0.9)
    truth = sum(np.cos(np.pi * np.clip((TIMES - start) / 0.12, -0.5, 0.5)) for start in starts)
    smooth = smooth_signal(noisy(truth), TIMES, strength, noise=0.01)
    peaks = [np.abs(TIMES - start) < 0.04 for start in starts]
    depth = [smooth[peak].max() / truth[peak].max() for peak in peaks]
    assert np.mean(depth) > 0.92 and min(depth) > 0.88, "the noise alone is 0.03"
    assert jitter(smooth[:45]) < 0.8 * jitter(noisy(truth)[:45]), "before the first one it is calm"


def test_strength_zero_changes_nothing_and_fills_gaps():
    measured = noisy(np.sin(TIMES)[:, None] * np.ones(3))
    np.testing.assert_array_equal(smooth_signal(measured, TIMES, 0.0), measured)
    seen = np.ones(250)
    seen[100:105] = 0
    filled = smooth_signal(measured, TIMES, 0.0, confidence=seen)
    np.testing.assert_array_equal(filled[seen > 0], measured[seen > 0])
    np.testing.assert_allclose(filled[99:106], np.linspace(measured[99], measured[105], 7))


def test_what_was_not_measured_has_no_say():
    truth, seen = np.sin(2 * np.pi * TIMES), np.ones(250)
    seen[60:66] = 0
    wild = np.where(seen > 0, noisy(truth, 0.01), 1e3)
    smooth = smooth_signal(wild, TIMES, 0.5, confidence=seen)
    assert np.abs(smooth - truth).max() < 0.1


def test_nothing_crosses_a_cut_or_a_long_gap():
    times = np.concatenate([TIMES[:100], TIMES[:100] + 4.3])
    starts = np.arange(200) == 50
    segments = find_segments(times, starts)
    assert segments.tolist() == [0] * 50 + [1] * 50 + [2] * 100
    measured = noisy(np.where(segments == 1, 5.0, 0.0))
    apart = [smooth_signal(measured[segments == one], times[segments == one], 0.7) for one in range(3)]
    np.testing.assert_array_equal(smooth_signal(measured, times, 0.7, segments=segments), np.concatenate(apart))


def test_short_stretches_are_left():
    for count in (0, 1, 2):
        measured = noisy(np.zeros((count, 2)))
        np.testing.assert_allclose(smooth_signal(measured, TIMES[:count], 1.0), measured)
        vectors = noisy(np.zeros((count, 3)))
        np.testing.assert_allclose(smooth_rotations(vectors, TIMES[:count], 1.0), vectors, atol=1e-12)


def turning(seed: int = 0) -> tuple[Rotation, Rotation]:
    """A head that looks about and rolls, with and without noise of about a degree, anywhere in space."""
    angles = np.stack([0.9 * np.sin(2.1 * TIMES), 0.4 * np.cos(1.7 * TIMES), 0.5 * np.sin(TIMES)], axis=1)
    truth = Rotation.from_euler("yxz", angles)
    noise = Rotation.from_rotvec(0.02 * np.random.default_rng(seed).standard_normal((250, 3)))
    return truth, truth * noise


def test_rotations_come_nearer_to_the_truth_whatever_the_axes():
    truth, measured = turning()
    smooth = Rotation.from_rotvec(smooth_rotations(measured.as_rotvec(), TIMES, 0.5))
    error, before = ((truth.inv() * each).magnitude() for each in (smooth, measured))
    assert error.mean() < 0.75 * before.mean()
    turned = Rotation.from_euler("xyz", [2.0, 0.4, -2.5])  # past half a turn, where rotation vectors jump
    other = Rotation.from_rotvec(smooth_rotations((turned * measured).as_rotvec(), TIMES, 0.5))
    assert (other.inv() * turned * smooth).magnitude().max() < 1e-9


def test_steady_turning_is_kept():
    vectors = np.linspace(-1.4, 1.4, 250)[:, None] * np.array([0.6, 0.8, 0.0])
    np.testing.assert_allclose(smooth_rotations(vectors, TIMES, 1.0), vectors, atol=1e-9)


def test_crops_keep_their_shape_and_lose_their_jitter():
    random = np.random.default_rng(1)
    turn, scale = 0.3 * np.sin(TIMES) + np.pi, 2 + 0.2 * np.cos(TIMES)
    middle = np.stack([300 + 40 * np.sin(TIMES), 200 + 10 * TIMES], axis=1)

    def crops(turn, scale, middle):
        linear = scale[:, None, None] * Rotation.from_euler("z", turn[:, None]).as_matrix()[:, :2, :2]
        out = np.tile(np.eye(3), (250, 1, 1))
        out[:, :2, :2], out[:, :2, 2] = linear, middle - linear @ np.full(2, 111.5)
        return out

    truth = crops(turn, scale, middle)
    shaken = crops(
        turn + 0.02 * random.standard_normal(250),
        scale * np.exp(0.02 * random.standard_normal(250)),
        middle + 3 * random.standard_normal((250, 2)),
    )
    smooth = smooth_crops(shaken, 224, TIMES, 0.6)
    corners = np.array([[0.0, 0], [223, 0], [0, 223]])
    at = [np.stack([transform_points(each, corners) for each in crops]) for crops in (smooth, shaken, truth)]
    assert jitter(at[0] - at[2]) < 0.3 * jitter(at[1] - at[2])
    assert np.abs(at[0] - at[2]).mean() < 0.7 * np.abs(at[1] - at[2]).mean()
    np.testing.assert_allclose(smooth_crops(shaken, 224, TIMES, 0.0), shaken, atol=1e-9)
    product = np.swapaxes(smooth[:, :2, :2], 1, 2) @ smooth[:, :2, :2]
    np.testing.assert_allclose(product, product[:, :1, :1] * np.eye(2), atol=1e-9)


def test_a_code_keeps_its_person_and_its_lens():
    random = torch.Generator().manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(250, *size, generator=random)

    noise = torch.tensor([0.002, 0.002, 0.1])
    code = FaceParameters(
        shape=draw(1).expand(250, 4),
        expression=draw(3).clamp(0, 1),
        global_pose=0.1 * draw(3),
        eye_pose=0.1 * draw(6),
        lighting=draw(9, 3),
        camera=PerspectiveCamera(draw(2).abs() + 1, draw(2), draw(3) * noise + torch.tensor([0.0, 0.0, 2.0])),
        others={"wrinkles": draw(2)},
        units={"expression": "activation", "wrinkles": "raw"},
    )
    smooth = smooth_code(code, TIMES, strength=0.6)
    assert smooth.shape is code.shape and smooth.units == code.units
    assert isinstance(smooth.camera, PerspectiveCamera) and isinstance(code.camera, PerspectiveCamera)
    assert torch.equal(smooth.camera.focal, code.camera.focal) and torch.equal(smooth.camera.centre, code.camera.centre)
    assert float(smooth.expression.min()) >= 0 and float(smooth.expression.max()) <= 1
    for name in ("expression", "global_pose", "eye_pose", "lighting", "camera", "wrinkles"):
        before, after = (each.blocks()[name].numpy() for each in (code, smooth))
        moves = ~np.all(before == after, axis=0)
        assert moves.any() and jitter(after[:, moves]) < 0.6 * jitter(before[:, moves]), name
        assert smooth.blocks()[name].dtype == torch.float32
    eye = smooth_rotations(code.eye_pose[:, 3:].numpy(), TIMES, 0.6, noise=0.002)
    np.testing.assert_allclose(smooth.eye_pose[:, 3:].numpy(), eye, atol=1e-6)
    untouched = smooth_code(code, TIMES, strength=0.0)
    assert all(torch.equal(block, code.blocks()[name]) for name, block in untouched.blocks().items())


def test_what_has_more_than_the_most_noise_is_movement():
    """A head that is shaken with every frame: to the signal alone, this looks like noise."""
    values = 0.05 * np.random.default_rng(5).normal(size=(200, 1)).cumsum(axis=0)
    times = np.arange(200) / 25
    free, held = (smooth_signal(values, times, 0.6, most_noise=most) for most in (np.inf, 0.005))
    assert np.abs(free - values).mean() > 0.015 and np.abs(held - values).mean() < 0.008
    calm = 0.002 * np.random.default_rng(6).normal(size=(200, 1))
    same, as_before = (smooth_signal(calm, times, 0.6, most_noise=most) for most in (0.005, np.inf))
    assert np.array_equal(same, as_before) and same.std() < 0.8 * calm.std()
