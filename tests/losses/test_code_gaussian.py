"""The Gaussian of face codes against NumPy; what it refuses; the shipped one."""

import numpy as np
import pytest
import torch

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError, UnknownNameError
from emoca_core.interfaces import FaceParameters
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.losses.code_gaussian import FLOOR, FORMAT, SHRINKAGE, write_gaussian
from losses.scenes import build, capture, gradient_is_right, random

UNITS = {"expression": "activation"}


def of(jaw, expression):
    return capture(parameters=FaceParameters(jaw_pose=jaw, expression=expression, units=UNITS))


@pytest.fixture
def faces():
    """Jaw and expression that open together, and a number that never moves."""
    jaw, expression = 0.1 * random(200, 3), random(200, 4, seed=1)
    expression[:, 0] += 8 * jaw[:, 0]
    expression[:, 3] = 0.2
    return jaw, expression


def test_it_is_the_mahalanobis_distance_of_the_shrunk_covariance(tmp_path, faces):
    write_gaussian(tmp_path / "faces.safetensors", {"jaw_pose": faces[0], "expression": faces[1]})
    loss = build("code_gaussian", statistics=str(tmp_path / "faces.safetensors"))
    numbers = torch.cat(faces, 1).numpy()
    least = FLOOR * np.array([faces[0].std(0).max()] * 3 + [faces[1].std(0).max()] * 4)
    deviation = np.maximum(numbers.std(0, ddof=1), least)
    moving = numbers[:, :-1]
    covariance = np.diag(deviation**2)
    shared = np.corrcoef(moving.T) * (1 - SHRINKAGE) * np.outer(deviation[:-1], deviation[:-1])
    covariance[:-1, :-1] = np.where(np.eye(6, dtype=bool), covariance[:-1, :-1], shared)
    away = numbers[:5] - numbers.mean(0)
    expected = np.einsum("bi,ij,bj->b", away, np.linalg.inv(covariance), away).mean() / 7
    value = loss(of(faces[0][:5], faces[1][:5]))
    assert value.item() == pytest.approx(expected, rel=1e-4)  # the file is float32
    assert gradient_is_right(lambda jaw, expression: loss(of(jaw, expression)), faces[0][:3], faces[1][:3])


def test_a_jaw_that_opens_alone_is_less_likely(tmp_path, faces):
    write_gaussian(tmp_path / "faces.safetensors", {"jaw_pose": faces[0], "expression": faces[1]})
    loss = build("code_gaussian", statistics=str(tmp_path / "faces.safetensors"))
    jaw, expression = faces[0].mean(0, keepdim=True).clone(), faces[1].mean(0, keepdim=True).clone()
    jaw[:, 0] += 0.2
    alone = loss(of(jaw, expression))
    expression[:, 0] += 1.6
    assert loss(of(jaw, expression)) < alone


def test_the_shipped_one_knows_real_faces():
    loss = get_registry().build("loss", "code_gaussian")
    typical = of(loss.mean[None, :3], loss.mean[None, 3:])
    assert loss(typical) == 0
    wide = loss.mean.clone()
    wide[:3] = torch.tensor([0.0, 0.3, 0.0])  # 17 degrees to the side
    assert loss(of(wide[None, :3], wide[None, 3:])) > 5


def test_what_it_refuses(tmp_path):
    loss = build("code_gaussian")
    with pytest.raises(UnknownNameError, match="jaw_pose"):
        loss(capture(parameters=FaceParameters(expression=random(1, 52), units=UNITS)))
    with pytest.raises(ValueError, match="52 numbers of expression, the code has 50"):
        loss(of(random(1, 3), random(1, 50)))
    path = tmp_path / "odd.safetensors"
    write_tensors(path, {"mean": torch.zeros(3)}, {"format": FORMAT, "blocks": '{"jaw_pose": 4}'})
    with pytest.raises(AssetFormatError, match="do not fit"):
        build("code_gaussian", statistics=str(path))
