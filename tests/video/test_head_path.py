"""A head that is smoothed as the picture sees it: nearer to the truth, calmer, and no further from what was seen."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emoca_core.interfaces import FaceParameters, PerspectiveCamera, WeakPerspectiveCamera
from emoca_core.video import head_path
from emoca_core.video.head_path import HeadPoints, smooth_head
from emoca_core.video.smoothing import smooth_code

RATE, COUNT = 25, 250
TIMES = np.arange(COUNT) / RATE
NOISE = 0.002
"""Half-images by which each coordinate of a landmark errs: 0.3 % of the distance of the eyes."""
SHAKEN = (TIMES > 4) & (TIMES < 6)


def head() -> HeadPoints:
    """51 points of a face as deep as faces are, which turns about a point below and behind them."""
    random = np.random.default_rng(1)
    points = random.uniform([-0.06, -0.06, 0.04], [0.06, 0.06, 0.08], (51, 3))
    return HeadPoints(torch.from_numpy(points), torch.tensor([0.0, -0.03, -0.02], dtype=torch.float64))


def perspective(place: np.ndarray) -> PerspectiveCamera:
    focal = torch.full((len(place), 2), 2.8, dtype=torch.float64)
    return PerspectiveCamera(focal, torch.zeros_like(focal), torch.from_numpy(place))


def weak(place: np.ndarray) -> WeakPerspectiveCamera:
    return WeakPerspectiveCamera(torch.from_numpy(2.8 / place[:, 2]), torch.from_numpy(place[:, :2] * [1, -1]))


def seen(turns: np.ndarray, place: np.ndarray, camera=perspective) -> np.ndarray:
    one = head()
    arms, pivot = (one.points - one.pivot).numpy(), one.pivot.numpy()
    points = np.einsum("nij,mj->nmi", Rotation.from_rotvec(turns).as_matrix(), arms) + pivot
    return camera(place).project(torch.from_numpy(points))[..., :2].numpy()


def measured(turns: np.ndarray, place: np.ndarray, noise: float = NOISE, camera=perspective):
    """Poses that explain landmarks with noise best, frame by frame: Gauss-Newton with numeric derivatives."""
    target = seen(turns, place, camera)
    target = target + noise * np.random.default_rng(2).standard_normal(target.shape)
    found = np.concatenate([turns, place], 1)
    for _ in range(5):
        at = seen(found[:, :3], found[:, 3:], camera)
        steps = 1e-6 * np.eye(6)
        columns = [(seen(*np.split(found + step, [3], 1), camera) - at).reshape(COUNT, -1) / 1e-6 for step in steps]
        jacobian = np.stack(columns, axis=2)
        found = found + np.stack([np.linalg.lstsq(j, r, rcond=None)[0] for j, r in zip(jacobian, (target - at).reshape(COUNT, -1), strict=True)])  # fmt: skip  # noqa: E501
    return FaceParameters(global_pose=torch.from_numpy(found[:, :3]), camera=camera(found[:, 3:]))


def movement(kind: str) -> tuple[np.ndarray, np.ndarray]:
    yaw = {"looks about": 0.6 * np.sin(1.9 * TIMES), "is shaken": 0.3 * np.sin(12.6 * TIMES) * SHAKEN}[kind]
    pitch = 0.2 * np.sin(2.7 * TIMES) if kind == "looks about" else 0 * TIMES
    place = [0.02 * np.sin(0.9 * TIMES), 0.01 * np.sin(1.3 * TIMES), 0.75 + 0.04 * np.sin(0.7 * TIMES)]
    return np.stack([pitch, yaw, 0 * yaw], 1), np.stack(place, 1)


def angles(code: FaceParameters, turns: np.ndarray) -> np.ndarray:
    """Degrees to the truth."""
    apart = Rotation.from_rotvec(code.global_pose.numpy()).inv() * Rotation.from_rotvec(turns)
    return np.degrees(apart.magnitude())


def shakes(code: FaceParameters, turns: np.ndarray) -> float:
    """How much the error accelerates, degrees a frame squared."""
    return float(np.degrees(np.linalg.norm(np.diff(code.global_pose.numpy() - turns, n=2, axis=0), axis=1).mean()))


def in_picture(code: FaceParameters, turns: np.ndarray, place: np.ndarray) -> float:
    found = seen(code.global_pose.numpy(), code.camera.translation.numpy())
    return float(np.linalg.norm(found - seen(turns, place), axis=-1).mean())


def test_a_head_that_looks_about_is_calmer_and_nearer_than_number_by_number():
    turns, place = movement("looks about")
    code = measured(turns, place)
    smooth, apart = smooth_head(code, head(), TIMES, None, 0.6), smooth_code(code, TIMES, None, 0.6)
    assert shakes(code, turns) > 0.5, "the landmarks' noise makes it shake"
    assert shakes(smooth, turns) < min(0.05 * shakes(code, turns), 0.3 * shakes(apart, turns))
    assert angles(smooth, turns).mean() < 0.8 * angles(apart, turns).mean() < 0.8 * angles(code, turns).mean()
    assert in_picture(smooth, turns, place) < in_picture(apart, turns, place) < in_picture(code, turns, place)


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_a_head_that_is_shaken_is_followed(strength):
    """Four times in two seconds, 17 degrees to either side: no smoother may call that noise."""
    turns, place = movement("is shaken")
    smooth = smooth_head(measured(turns, place), head(), TIMES, None, strength)
    assert np.ptp(turns[SHAKEN, 1]) > 0.55
    assert angles(smooth, turns)[SHAKEN].mean() < 1.0, "of 17"
    assert in_picture(smooth, turns, place) < 0.25 * NOISE


def test_what_landmarks_tell_badly_is_smoothed_and_the_aim_makes_up_for_it():
    """The picture stays where it was measured, though turn and distance do not."""
    turns, place = movement("looks about")
    code = measured(turns, place, noise=0.004)
    smooth = smooth_head(code, head(), TIMES, None, 0.6)
    moved = np.linalg.norm(
        seen(smooth.global_pose.numpy(), smooth.camera.translation.numpy())
        - seen(code.global_pose.numpy(), code.camera.translation.numpy()),
        axis=-1,
    )
    rigid = np.linalg.norm(
        seen(smooth.global_pose.numpy(), code.camera.translation.numpy())
        - seen(code.global_pose.numpy(), code.camera.translation.numpy()),
        axis=-1,
    )
    assert rigid.mean() > 2 * moved.mean(), "without the aim's help it would be far away"


def test_a_weak_perspective_camera_as_well():
    turns, place = movement("looks about")
    code = measured(turns, place, camera=weak)
    smooth = smooth_head(code, head(), TIMES, None, 0.6)
    assert isinstance(smooth.camera, WeakPerspectiveCamera)
    assert shakes(smooth, turns) < 0.1 * shakes(code, turns)
    assert angles(smooth, turns).mean() < 0.6 * angles(code, turns).mean()


def test_gaps_are_filled_and_what_was_not_measured_has_no_say():
    turns, place = movement("looks about")
    code, trust = measured(turns, place, noise=0.0005), np.ones(COUNT)
    trust[100:106] = 0
    wild = code.global_pose.clone()
    wild[100:106] = 2.0
    smooth = smooth_head(code.replace(global_pose=wild), head(), TIMES, trust, 0.5)
    assert angles(smooth, turns)[95:111].max() < 2.0
    assert in_picture(smooth, turns, place) < 0.002


def test_few_frames_are_as_they_were_and_what_lies_between_is_filled_in():
    code = measured(*movement("looks about")).map(lambda tensor: tensor[:5])
    wild = code.global_pose.clone()
    wild[1:4] = 2.0
    smooth = smooth_head(code.replace(global_pose=wild), head(), TIMES[:5], np.array([1.0, 0, 0, 0, 1]), 0.6)
    torch.testing.assert_close(smooth.global_pose[[0, 4]], code.global_pose[[0, 4]], atol=1e-6, rtol=0)
    middle = Rotation.from_rotvec(code.global_pose[[0, 4]].numpy()).mean()  # of two: halfway
    assert (middle.inv() * Rotation.from_rotvec(smooth.global_pose[2].numpy())).magnitude() < 1e-3


def test_nothing_crosses_a_cut_and_long_clips_are_smoothed_in_pieces(monkeypatch):
    turns, place = movement("looks about")
    code, segments = measured(turns, place), (TIMES >= 4).astype(int)
    both = smooth_head(code, head(), TIMES, None, 0.6, segments)
    for label in (0, 1):
        own = segments == label
        part = code.map(lambda tensor, own=own: tensor[torch.from_numpy(own)])
        alone = smooth_head(part, head(), TIMES[own], None, 0.6)
        torch.testing.assert_close(both.global_pose[own], alone.global_pose)
        torch.testing.assert_close(both.camera.translation[own], alone.camera.translation)
    whole = smooth_head(code, head(), TIMES, None, 0.6)
    monkeypatch.setattr(head_path, "_SLICE", 60)
    pieces = smooth_head(code, head(), TIMES, None, 0.6)
    # what the noise is and what pushes are is asked of each piece
    assert np.degrees((pieces.global_pose - whole.global_pose).abs().numpy().max()) < 0.2
    assert not torch.equal(pieces.global_pose, whole.global_pose), "there are pieces"


def test_the_banded_system_is_the_least_squares_problem():
    random = np.random.default_rng(3)
    count, size = 30, 4
    roots = random.standard_normal((count, size, size))
    sight = roots @ roots.transpose(0, 2, 1)
    times, trust = np.cumsum(random.uniform(0.02, 0.1, count)), random.uniform(0.2, 1, count)
    values, push = random.standard_normal((count, size)), random.uniform(1, 1e4, count)
    steps = np.diff(times)
    kinks = np.diff(np.diff(np.eye(count), axis=0) / steps[:, None], axis=0)
    kinks /= np.sqrt(push[1:-1] * (times[2:] - times[:-2]) / 2)[:, None]
    errors = np.zeros((count, size, count, size))
    for k in range(count):
        errors[k, :, k] = np.sqrt(trust[k]) * roots[k].T
    rows = np.concatenate([errors.reshape(count * size, -1), np.kron(kinks, np.eye(size))])
    right = np.concatenate([rows[: count * size] @ values.ravel(), np.zeros(len(kinks) * size)])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0].reshape(count, size)
    found = head_path._solve(values, sight, times, trust, push)
    np.testing.assert_allclose(found, expected, atol=1e-7)
