"""Gain of regions: by name, and by where coefficients without names move the mesh."""

import numpy as np
import pytest
import torch

from emoca_core.errors import EmocaError
from emoca_core.interfaces import FaceParameters
from emoca_core.retargeting import RetargetSettings
from emoca_core.retargeting.regions import REGIONS, gain_matrix, region_of, with_gain
from emoca_core.vocabulary.arkit import ARKIT_NAMES


def code(value=0.4):
    return FaceParameters(
        expression=torch.full((2, 52), value),
        jaw_pose=torch.full((2, 3), 0.1),
        eye_pose=torch.full((2, 6), 0.1),
        units={"expression": "activation"},
    )


@pytest.fixture
def person(method):
    return FaceParameters(shape=torch.zeros(1, 2), expression=torch.zeros(1, 52))


def test_every_name_has_one_region():
    assert {region_of(name) for name in ARKIT_NAMES} == set(REGIONS)


def test_named_coefficients_are_scaled(method, person):
    out = with_gain(code(), {"mouth": 0.5, "brows": 2.0}, method.face_model, person)
    expected = {"mouth": 0.2, "brows": 0.8}
    for name, value in zip(ARKIT_NAMES, out.expression[0].tolist(), strict=True):
        assert value == pytest.approx(expected.get(region_of(name), 0.4)), name
    assert torch.allclose(out.jaw_pose, torch.tensor(0.05)) and torch.equal(out.eye_pose, code().eye_pose)


def test_activations_stay_within_bounds_unless_they_were_beyond(method, person):
    out = with_gain(code(0.8), {"mouth": 2.0}, method.face_model, person).expression
    assert out.max() == 1.0
    assert with_gain(code(1.2), {"mouth": 2.0}, method.face_model, person).expression.max() == pytest.approx(1.2)


def test_without_names_a_region_moves_by_its_gain(method, person, monkeypatch):
    head = method.face_model
    half = gain_matrix(head, person, {"mouth": 0.0}, 52)
    names = list(ARKIT_NAMES)
    smile, frown = (names.index(name) for name in ("browDownLeft", "jawOpen"))
    assert np.abs(half[:, smile] - np.eye(52)[smile]).max() < 0.05  # brows are left alone
    monkeypatch.setattr(head, "expression_names", ())
    out = with_gain(FaceParameters(expression=torch.eye(52)), {"mouth": 0.0}, head, person).expression
    with torch.no_grad():
        rest = head(FaceParameters(expression=torch.zeros(1, 52))).vertices
        moved = head(FaceParameters(expression=out[[smile, frown]])).vertices - rest
        before = head(FaceParameters(expression=torch.eye(52)[[smile, frown]])).vertices - rest
    left = moved.norm(dim=2).square().sum(1) / before.norm(dim=2).square().sum(1)
    assert left[0] > 0.9 and left[1] < 0.1


def test_the_same_gain_everywhere_is_that_gain(method, person):
    every = dict.fromkeys(REGIONS, 1.5)
    np.testing.assert_allclose(gain_matrix(method.face_model, person, every, 30), 1.5 * np.eye(30), atol=2e-3)  # ridge


@pytest.mark.parametrize(
    "settings",
    [
        {"gain": {"nose": 1.0}},
        {"gain": {"mouth": -1.0}},
        {"gain": {"mouth": float("nan")}},
        {"rest": 1.0},
        {"rate": 0.0},
        {"keep": frozenset({"hat"})},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(EmocaError):
        RetargetSettings(**settings)
