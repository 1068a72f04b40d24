"""The 52 ARKit values of a face whose jaw and eyes are moved by joints, on the open head."""

import math

import pytest
import torch

from emoca_core.export.arkit import arkit_activations, has_arkit_names
from emoca_core.interfaces import FaceParameters
from emoca_core.registry import get_registry
from emoca_core.vocabulary.arkit import ARKIT_NAMES


@pytest.fixture(scope="module")
def head():
    return get_registry().build("face_model", "open_head", {})


def test_coefficients_are_taken_as_they_are(head):
    values = torch.linspace(-0.1, 1.1, 52)[None]
    assert has_arkit_names(head)
    got = arkit_activations(head, FaceParameters(expression=values))
    assert list(got) == list(ARKIT_NAMES)
    assert list(got.values()) == pytest.approx(values[0].tolist())


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_rotated_jaw_is_jaw_open(head, share):
    """20.7 degrees are jawOpen = 1 by construction of the model; in between, a rotation is nearly linear (2 %)."""
    jaw = torch.tensor([[share * math.radians(20.7), 0, 0]])
    got = arkit_activations(head, FaceParameters(expression=torch.zeros(1, 52), jaw_pose=jaw))
    assert got["jawOpen"] == pytest.approx(share, abs=0.02)
    assert max(value for name, value in got.items() if name != "jawOpen") < 0.05


def test_jaw_joint_and_coefficient_add_up(head):
    expression = torch.zeros(1, 52)
    expression[0, ARKIT_NAMES.index("jawOpen")] = 0.3
    jaw = torch.tensor([[math.radians(20.7), 0, 0]])
    got = arkit_activations(head, FaceParameters(expression=expression, jaw_pose=jaw))
    assert got["jawOpen"] == pytest.approx(1.3, abs=0.02)


def test_a_jaw_turned_to_the_left_is_jaw_left(head):
    jaw = torch.tensor([[0.0, 0.1, 0.0]])  # about +y: the chin goes to +x, the subject's left
    got = arkit_activations(head, FaceParameters(expression=torch.zeros(1, 52), jaw_pose=jaw))
    assert got["jawLeft"] > 0.1 and got["jawRight"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["eyeLookDownLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookUpRight"])
def test_gaze_comes_back(head, name):
    """The model says what rotation an eyeLook stands for; the rotation gives the eyeLook."""
    expression = torch.zeros(1, 52)
    expression[0, ARKIT_NAMES.index(name)] = 0.7
    gaze = head.gaze_of_expression(expression)
    got = arkit_activations(head, FaceParameters(expression=torch.zeros(1, 52), eye_pose=gaze))
    looks = {key: value for key, value in got.items() if value > 0.02}
    assert looks == {name: pytest.approx(0.7, abs=1e-3)}
