"""The 52 values of a face: bounded, the weights of its own targets, and what another ARKit head should do."""

import copy
import math

import numpy as np
import pytest
import torch
from glb_reader import GlbReader

from emoca_core.export.arkit import arkit_rig, code_rig, has_arkit_names, residual_mm
from emoca_core.export.arkit_joints import asked_values
from emoca_core.interfaces import FaceMesh, FaceParameters
from emoca_core.registry import get_registry
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.exporters.glb import glb_bytes

OPEN = math.radians(20.7)
"""Rotation of the jaw at jawOpen = 1, by construction of the model."""


@pytest.fixture(scope="module")
def head():
    return get_registry().build("face_model", "open_head", {"texture_size": 64})


def code(seed=0, jaw=(0.0, 0.0, 0.0), eyes=(0.0,) * 6, **activations):
    """Some person with the head turned, and an expression."""
    random = torch.Generator().manual_seed(seed)
    expression = torch.zeros(1, 52)
    for name, value in activations.items():
        expression[0, ARKIT_NAMES.index(name)] = value
    return FaceParameters(
        shape=0.8 * torch.randn(1, 100, generator=random),
        expression=expression,
        global_pose=torch.tensor([[0.2, -0.4, 0.1]]),
        neck_pose=torch.tensor([[0.1, 0.0, 0.0]]),
        jaw_pose=torch.tensor([jaw]),
        eye_pose=torch.tensor([eyes]),
        units={"expression": "activation"},
    )


def random_face(seed):
    """Anything that a fit may say: several expressions, the jaw joint, the eyes within what they can turn."""
    random = torch.Generator().manual_seed(seed)
    some = (torch.rand(52, generator=random) < 0.2) * torch.rand(52, generator=random)
    unlikely = {"jawOpen", "jawLeft", "jawRight", "tongueOut"}  # joints do it, or nobody can see it
    pitch, yaw, jaw, side = (2 * torch.rand(4, generator=random) - 1).tolist()
    return code(
        seed,
        jaw=(OPEN * abs(jaw), 0.08 * side, 0.0),
        eyes=(0.26 * pitch, 0.36 * yaw, 0.0, 0.26 * pitch, 0.36 * yaw, 0.0),
        **{name: value for name, value in zip(ARKIT_NAMES, some.tolist(), strict=True) if name not in unlikely},
    )


FACES = {
    "at_rest": code(),
    "smile": code(1, mouthSmileLeft=0.9, mouthSmileRight=0.7, cheekSquintLeft=0.4),
    "surprise": code(2, jaw=(OPEN, 0.0, 0.0), browInnerUp=1.0, eyeWideLeft=0.7, eyeWideRight=0.7),
    "jaw_to_the_left": code(3, jaw=(0.1, 0.08, 0.0)),
    "looking_down": code(4, eyes=(0.25, 0.0, 0.0, 0.25, 0.0, 0.0), eyeLookDownLeft=0.5, eyeLookDownRight=0.5),
    "looking_left": code(5, eyes=(0.0, 0.3, 0.0, 0.0, 0.3, 0.0)),
    "closed_while_looking_down": code(
        *(6,), eyes=(0.4, 0.0, 0.0, 0.4, 0.0, 0.0), eyeBlinkLeft=0.4, eyeBlinkRight=0.4, eyeLookDownLeft=0.7,
        eyeLookDownRight=0.7, eyeSquintLeft=0.3, eyeSquintRight=0.3,
    ),
    **{f"random_{seed}": random_face(seed) for seed in range(10, 16)},
}  # fmt: skip


STILL = {"expression": torch.zeros(1, 52), "jaw_pose": torch.zeros(1, 3), "eye_pose": torch.zeros(1, 6)}


def rig_of(head, parameters):
    with torch.no_grad():
        geometry = head(parameters)
    return arkit_rig(head, parameters, geometry), geometry.vertices[0].double().numpy()


@pytest.mark.parametrize("name", FACES)
def test_the_file_itself_gives_the_capture_back(head, name):
    """Read without this project's code: neutral + sum of weight x target is the captured mesh to 0.5 mm."""
    rig, captured = rig_of(head, FACES[name])
    mesh = FaceMesh(captured, head.faces.numpy(), rig=rig)
    reader = GlbReader(glb_bytes(mesh, extras={"arkit": dict(rig.weights)}))
    extras = reader.mesh["extras"]
    assert list(extras["arkit"].values()) == reader.mesh["weights"]
    assert list(extras["arkit"]) == extras["targetNames"] == list(ARKIT_NAMES)
    assert all(0 <= weight <= 1 for weight in reader.mesh["weights"])
    still = FACES[name].replace(expression=torch.zeros(1, 52), jaw_pose=torch.zeros(1, 3), eye_pose=torch.zeros(1, 6))
    np.testing.assert_allclose(reader.attribute("POSITION"), head(still).vertices[0], atol=1e-6)
    distance = 1000 * np.linalg.norm(reader.shown() - captured, axis=1)
    moved = 1000 * np.linalg.norm(reader.attribute("POSITION") - captured, axis=1)
    assert distance.mean() <= 0.5 and distance.max() < 7
    assert distance.mean() <= 0.55 * moved.mean() + 1e-3  # hidden eyeballs are half of what a blink moves
    assert residual_mm(rig, captured) == pytest.approx({"mean": distance.mean(), "max": distance.max()}, abs=1e-3)
    assert rig.weights["tongueOut"] == 0


def test_linear_expressions_come_back_as_they_are(head):
    wanted = {"mouthSmileLeft": 0.9, "browInnerUp": 0.6, "noseSneerRight": 0.3, "mouthPucker": 1.0}
    rig, captured = rig_of(head, code(7, **wanted))
    got = {name: value for name, value in rig.weights.items() if value > 0.01}
    assert got == pytest.approx(wanted, abs=0.01)
    assert residual_mm(rig, captured)["max"] < 0.1


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_rotated_jaw_is_jaw_open(head, share):
    rig, _ = rig_of(head, code(jaw=(share * OPEN, 0.0, 0.0)))
    assert rig.weights["jawOpen"] == pytest.approx(share, abs=0.03)
    others = {name: value for name, value in rig.weights.items() if name not in ("jawOpen", "jawForward")}
    assert max(others.values()) < 0.03 and rig.weights["jawForward"] < 0.15  # the chin is before the chord of its arc


def test_values_beyond_the_range_are_bounded(head):
    """Jaw and eyes further than 1 stands for, and a code that is further than it should be."""
    beyond = code(jaw=(2 * OPEN, 0.2, 0.0), eyes=(0.6, 0.7, 0.0, 0.6, 0.7, 0.0), browInnerUp=1.4, cheekPuff=-0.3)
    rig, _ = rig_of(head, beyond)
    assert all(0 <= value <= 1 for value in rig.weights.values())
    full = {name for name, value in rig.weights.items() if value > 0.9}
    assert {"jawOpen", "browInnerUp", "eyeLookOutLeft", "eyeLookInRight"} <= full


BEYOND = {
    "jaw_aside": code(20, jaw=(0.1, 0.15, 0.0)),
    "jaw_aside_alone": code(21, jaw=(0.0, -0.15, 0.0)),
    "jaw_wide_open": code(22, jaw=(1.3 * OPEN, 0.0, 0.0)),
    "gaze": code(23, eyes=(0.0, 0.5, 0.0, 0.0, 0.5, 0.0)),
    "activations": code(
        24, **{name: 1.5 for name in ARKIT_NAMES if name.startswith(("brow", "nose", "mouthS", "mouthU"))}
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_where_a_code_goes_beyond_one_the_target_of_the_face_goes_along(head, name):
    """The value is 1, as on any other head, and the file still shows the capture."""
    asked = asked_values(head, BEYOND[name])[0]
    rig, captured = rig_of(head, BEYOND[name])
    assert residual_mm(rig, captured)["mean"] <= 0.5
    beyond = [name for name, value in zip(ARKIT_NAMES, asked, strict=True) if value > 1.2]
    assert beyond and all(0.9 <= rig.weights[name] <= 1 for name in beyond)
    sizes = [np.linalg.norm(one.targets, axis=(1, 2)) for one in (rig_of(head, BEYOND[name].replace(**STILL))[0], rig)]
    np.testing.assert_allclose(sizes[1] / sizes[0], asked.clip(1, 2), rtol=0.05)  # joints: along a chord


def test_a_target_reaches_twice_as_far_at_most(head):
    rig, captured = rig_of(head, code(jaw=(3 * OPEN, 0.0, 0.0)))
    usual, _ = rig_of(head, code())
    jaw = ARKIT_NAMES.index("jawOpen")
    assert np.linalg.norm(rig.targets[jaw]) == pytest.approx(2 * np.linalg.norm(usual.targets[jaw]), rel=0.05)
    assert rig.weights["jawOpen"] == 1 and residual_mm(rig, captured)["mean"] > 0.5


@pytest.mark.parametrize("name", ["eyeLookDownLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookUpRight"])
def test_gaze_turns_the_eyeball_and_comes_back(head, name):
    expression = torch.zeros(1, 52)
    expression[0, ARKIT_NAMES.index(name)] = 0.7
    gaze = head.gaze_of_expression(expression)
    rig, _ = rig_of(head, code(eyes=tuple(gaze[0].tolist()), **{name: 0.7}))
    looks = {key: value for key, value in rig.weights.items() if value > 0.02}
    assert looks == {name: pytest.approx(0.7, abs=0.01)}
    side = "left" if name.endswith("Left") else "right"
    ball, other = (head.vertex_masks[f"eye_{which}"].numpy() for which in (side, {"left": "right"}.get(side, "left")))
    target = np.linalg.norm(rig.targets[ARKIT_NAMES.index(name)], axis=1)
    assert target[ball].max() > 2e-3 and target[other].max() < 1e-6


def test_jaw_targets_open_the_mouth(head):
    rig, _ = rig_of(head, code())
    distance = {name: np.linalg.norm(t, axis=1) for name, t in zip(ARKIT_NAMES, rig.targets, strict=True)}
    lower, upper = (head.vertex_masks[f"teeth_{jaw}"].numpy() for jaw in ("lower", "upper"))
    for name, least in {"jawOpen": 0.015, "jawLeft": 3e-3, "jawRight": 3e-3, "jawForward": 1e-3}.items():
        assert distance[name][lower].max() > least, name
        assert distance[name][upper].max() < 1e-6, name


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", ["blink", "all_three"])
def test_a_closed_eye_is_a_blink(head, seed, how):
    """Closed by whatever the fit used, on wide and on narrow eyes."""
    shares = {"blink": {"eyeBlink": 1.0}, "all_three": {"eyeBlink": 0.45, "eyeLookDown": 1.0, "eyeSquint": 0.6}}[how]
    eyes = (0.35, 0.0, 0.0, 0.35, 0.0, 0.0) if how == "all_three" else (0.0,) * 6
    closed = code(
        seed, eyes=eyes, **{f"{name}{side}": value for name, value in shares.items() for side in ("Left", "Right")}
    )
    rig, captured = rig_of(head, closed)
    for side in ("Left", "Right"):
        assert rig.weights[f"eyeBlink{side}"] >= 0.8
        assert rig.weights[f"eyeWide{side}"] < 0.05
    if how == "all_three":
        assert residual_mm(rig, captured)["mean"] <= 0.5


def test_an_open_eye_is_no_blink(head):
    rig, _ = rig_of(head, code(8, eyeSquintLeft=0.4, eyeSquintRight=0.4, eyeLookDownLeft=0.4, eyeLookDownRight=0.4))
    assert max(rig.weights["eyeBlinkLeft"], rig.weights["eyeBlinkRight"]) < 0.1


def test_opposites_are_never_both_on(head):
    pairs = [
        (f"eye{a}{s}", f"eye{b}{s}")
        for s in ("Left", "Right")
        for a, b in (("LookIn", "LookOut"), ("LookUp", "LookDown"))
    ]
    pairs += [("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")]
    for parameters in FACES.values():
        rig, _ = rig_of(head, parameters)
        assert [pair for pair in pairs if min(rig.weights[name] for name in pair) > 0] == []


def test_equal_codes_give_equal_rigs(head):
    (first, _), (second, _) = (rig_of(head, FACES["random_10"]) for _ in range(2))
    assert first.weights == second.weights
    np.testing.assert_array_equal(first.targets, second.targets)


def renamed(head, names):
    """The same face model under other expression names."""
    model = copy.copy(head)
    model.expression_names = names
    return model


@pytest.mark.parametrize("names", [(), tuple(f"own_{i}" for i in range(52))])
def test_models_without_arkit_names_get_the_capture_as_one_exact_target(head, names):
    """The base is the person's neutral face whatever the model; what no name stands for is one target of weight 1."""
    model, parameters = renamed(head, names), FACES["random_11"]
    assert not has_arkit_names(model)
    geometry = head(parameters)
    rig = code_rig(model, parameters, geometry)
    assert rig.source == "code" and list(rig.weights) == [*names, "expression"] and rig.weights["expression"] == 1
    assert residual_mm(rig, geometry.vertices[0].double().numpy())["max"] < 1e-3
    still = head(
        parameters.replace(expression=torch.zeros(1, 52), jaw_pose=torch.zeros(1, 3), eye_pose=torch.zeros(1, 6))
    )
    np.testing.assert_allclose(rig.neutral, still.vertices[0], atol=1e-6)
    np.testing.assert_allclose([rig.weights[name] for name in names], parameters.expression[0, : len(names)], atol=1e-6)


def test_a_neutral_face_without_names_needs_no_rig(head):
    assert code_rig(renamed(head, ()), code(), head(code())) is None
