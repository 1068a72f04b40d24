"""ARKit names and emotion prototypes."""

import dataclasses
import subprocess
import sys

import pytest

from emoca_core.errors import UnknownNameError
from emoca_core.vocabulary.arkit import ARKIT_NAMES, emotion_prototype, emotion_prototypes

BASIC = {"neutral", "happy", "sad", "surprise", "fear", "anger", "disgust", "contempt"}


def test_there_are_52_distinct_names_in_alphabetical_order():
    assert len(set(ARKIT_NAMES)) == len(ARKIT_NAMES) == 52
    assert list(ARKIT_NAMES) == sorted(ARKIT_NAMES)


def test_every_sided_name_has_its_partner():
    left = {name.removesuffix("Left") for name in ARKIT_NAMES if name.endswith("Left")}
    right = {name.removesuffix("Right") for name in ARKIT_NAMES if name.endswith("Right")}
    assert left == right


def test_the_basic_emotions_and_contempt_are_there():
    prototypes = emotion_prototypes()
    assert set(prototypes) >= BASIC
    assert {prototype.emotion for prototype in prototypes.values()} == BASIC


@pytest.mark.parametrize("name", sorted(emotion_prototypes()))
def test_prototypes_are_activations_of_known_shapes(name):
    prototype = emotion_prototypes()[name]
    assert set(prototype.activations) <= set(ARKIT_NAMES)
    assert all(0 < value <= 1 for value in prototype.activations.values())
    assert 0 <= prototype.jaw_open <= 1.5
    vector = prototype.vector()
    assert len(vector) == 52
    assert vector[ARKIT_NAMES.index("jawOpen")] == 0  # the jaw opens by its joint


def test_only_contempt_is_one_sided():
    for name, prototype in emotion_prototypes().items():
        uneven = [
            shape
            for shape, value in prototype.activations.items()
            if shape.endswith("Left") and prototype.activations.get(shape.removesuffix("Left") + "Right") != value
        ]
        assert bool(uneven) == (name == "contempt"), name


def test_intensity_scales_and_clamps():
    full, half, strong = (emotion_prototype("happy", x) for x in (1.0, 0.5, 1.3))
    assert half.activations["cheekSquintLeft"] == pytest.approx(full.activations["cheekSquintLeft"] / 2)
    assert half.jaw_open == pytest.approx(full.jaw_open / 2)
    assert strong.activations["mouthSmileLeft"] == 1.0
    assert not any(emotion_prototype("anger", 0.0).vector())


def test_bad_requests_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'surprise'"):
        emotion_prototype("suprise")
    with pytest.raises(ValueError, match="must not be negative"):
        emotion_prototype("happy", -0.1)


def test_prototypes_cannot_be_changed():
    prototype = emotion_prototype("sad")
    with pytest.raises(dataclasses.FrozenInstanceError):
        prototype.jaw_open = 1.0
    with pytest.raises(TypeError):
        prototype.activations["jawOpen"] = 1.0


def test_import_is_light():
    code = "import sys, emoca_core.vocabulary.arkit; print(*(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False"] * 2
