"""The One-Euro filter against the published formulas, one number at a time."""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from emoca_core.interfaces import FaceParameters, WeakPerspectiveCamera
from emoca_core.video.one_euro import OneEuro, OneEuroCode

TIMES = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 200))


def one_euro(values, times, minimum_cutoff, beta, derivative_cutoff):
    """Casiez, Roussel and Vogel 2012, algorithm 1 and 2, for one signal."""

    def alpha(rate, cutoff):
        tau, te = 1 / (2 * math.pi * cutoff), 1 / rate
        return 1 / (1 + tau / te)

    hat, slope = values[0], 0.0
    out = [hat]
    for k in range(1, len(values)):
        rate = 1 / (times[k] - times[k - 1])
        dx = (values[k] - hat) * rate
        a = alpha(rate, derivative_cutoff)
        slope = a * dx + (1 - a) * slope
        a = alpha(rate, minimum_cutoff + beta * abs(slope))
        hat = a * values[k] + (1 - a) * hat
        out.append(hat)
    return out


def test_it_is_the_published_filter():
    values = np.cumsum(np.random.default_rng(1).standard_normal((200, 2)), axis=0)
    calm = OneEuro(minimum_cutoff=1.7, beta=0.3, derivative_cutoff=0.8)
    smooth = np.array([calm(value, time) for value, time in zip(values, TIMES, strict=True)])
    for column in range(2):
        expected = one_euro(values[:, column].tolist(), TIMES.tolist(), 1.7, 0.3, 0.8)
        np.testing.assert_allclose(smooth[:, column], expected, atol=1e-12)


def test_rotations_about_one_axis_are_their_angles_and_wrap():
    angles = 3.0 + 0.8 * np.sin(TIMES)  # across half a turn, where rotation vectors jump
    axis = np.array([0.0, 0.6, 0.8])
    calm = OneEuro(1.0, 0.5, rotations=True)
    smooth = [calm(Rotation.from_rotvec(a * axis).as_rotvec(), t) for a, t in zip(angles, TIMES, strict=True)]
    expected = Rotation.from_rotvec(np.outer(one_euro(angles.tolist(), TIMES.tolist(), 1.0, 0.5, 1.0), axis))
    assert (Rotation.from_rotvec(np.array(smooth)).inv() * expected).magnitude().max() < 1e-7


def test_it_begins_anew_after_a_pause_and_a_step_back():
    calm = OneEuro()
    calm(np.zeros(1), 0.0)
    assert calm(np.ones(1), 0.04) < 1
    assert calm(np.ones(1), 1.0) == 1
    assert calm(np.zeros(1), 0.5) == 0


def test_a_code_is_calmer_and_keeps_its_person():
    random = torch.Generator().manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return 0.01 * torch.randn(200, *size, generator=random)

    code = FaceParameters(
        shape=draw(1).expand(200, 4),
        expression=draw(3),
        global_pose=draw(3),
        eye_pose=draw(6),
        camera=WeakPerspectiveCamera(7 + draw(1)[:, 0], draw(2)),
    )
    follow, still = OneEuroCode(0.7), OneEuroCode(0.0)
    rows = [code.map(lambda tensor, k=k: tensor[k : k + 1]) for k in range(200)]
    smooth = [follow(row, time) for row, time in zip(rows, TIMES, strict=True)]
    assert still(rows[5], 0.0) is rows[5]
    for name, block in code.blocks().items():
        after = torch.cat([row.blocks()[name] for row in smooth])
        assert after.dtype == torch.float32
        if name == "shape":
            assert torch.equal(after, block)
        else:
            assert float(after.diff(dim=0).std()) < 0.5 * float(block.diff(dim=0).std()), name
