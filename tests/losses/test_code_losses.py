"""Priors and distances to the truth against NumPy and SciPy; gradients; rotations, missing blocks, regions."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emoca_core import get_registry
from emoca_core.errors import RecipeError, UnknownNameError
from emoca_core.interfaces import FaceGeometry, FaceParameters, FaceTruth, Parts
from losses.scenes import build, capture, gradient_is_right, random


def estimate(**blocks):
    return capture(parameters=FaceParameters(**blocks))


def against(truth, **blocks):
    return dataclasses.replace(estimate(**blocks), truth=FaceTruth(FaceParameters(**truth), capture().geometry))


@pytest.mark.parametrize(("reduction", "faces"), [("mean", 3.0), ("sum", 1.0)])
def test_code_prior_is_half_the_squared_length(reduction, faces):
    code = random(3, 7)
    loss = build("code_prior", block="expression", reduction=reduction)
    assert loss(estimate(expression=code)).item() == pytest.approx((code.numpy() ** 2).sum() / 2 / faces, rel=1e-12)
    assert gradient_is_right(lambda x: loss(estimate(expression=x)), code)
    with pytest.raises(UnknownNameError, match="no block of this face code named 'expression'"):
        loss(estimate(shape=code))


def test_lighting_prior_is_the_variance_of_colour():
    light = random(2, 9, 3)
    loss = build("lighting_prior")
    assert loss(estimate(lighting=light)).item() == pytest.approx(light.numpy().var(-1).mean(), rel=1e-12)
    assert gradient_is_right(lambda x: loss(estimate(lighting=x)), light)
    with pytest.raises(ValueError, match="LightingPrior needs an encoder that estimates lighting"):
        loss(estimate(shape=light[..., 0]))


@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_code_truth_pads_the_shorter_code(metric):
    short, long = random(2, 4), random(2, 6, seed=1)
    difference = np.pad(short.numpy(), ((0, 0), (0, 2))) - long.numpy()
    expected = np.abs(difference).mean() if metric == "l1" else (difference**2).mean()
    loss = build("code_truth", blocks={"shape": 3.0}, metric=metric)
    assert loss(against({"shape": long}, shape=short)).item() == pytest.approx(3 * expected, rel=1e-12)
    assert loss(against({"shape": short}, shape=long)).item() == pytest.approx(3 * expected, rel=1e-12)
    assert gradient_is_right(lambda x: loss(against({"shape": long}, shape=x)), short)


@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_code_truth_compares_rotations_by_their_angle(metric):
    a, b = random(2, 6), random(2, 6, seed=1)
    rotations = [Rotation.from_rotvec(x.reshape(-1, 3).numpy()) for x in (a, b)]
    chord = 2 * np.sin((rotations[0] * rotations[1].inv()).magnitude() / 2)
    expected = chord.mean() if metric == "l1" else (chord**2).mean() / 3
    loss = build("code_truth", blocks={"eye_pose": 1.0}, metric=metric)
    assert loss(against({"eye_pose": b}, eye_pose=a)).item() == pytest.approx(expected, rel=1e-9)
    assert gradient_is_right(lambda x: loss(against({"eye_pose": b}, eye_pose=x)), a)


@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_the_same_rotation_by_another_vector_is_no_error(metric):
    turn = torch.tensor([[0.0, 0.5, 0.0]], dtype=torch.float64)
    other = (turn * (1 - 2 * torch.pi / 0.5)).requires_grad_()
    loss = build("code_truth", blocks={"global_pose": 1.0}, metric=metric)
    value = loss(against({"global_pose": turn}, global_pose=other))
    assert value.item() == pytest.approx(0.0, abs=1e-14)
    exact = loss(against({"global_pose": turn}, global_pose=turn.clone().requires_grad_()))
    assert exact == 0
    assert torch.autograd.grad(value, other)[0].isfinite().all()


def test_code_truth_refuses_what_it_cannot_compare():
    loss = build("code_truth", blocks={"expression": 1.0})
    with pytest.raises(UnknownNameError, match="block of the true code named 'expression'"):
        loss(against({"shape": random(2, 4)}, expression=random(2, 4)))
    with pytest.raises(ValueError, match="estimated in 'activation', but its truth is in 'sigma'"):
        loss(against({"expression": random(2, 4)}, expression=random(2, 4), units={"expression": "activation"}))
    with pytest.raises(ValueError, match="CodeTruth needs faces whose code is known"):
        loss(capture(truth=None))


def meshes(estimated, true):
    landmarks = capture().geometry.landmarks
    truth = FaceTruth(capture().parameters, FaceGeometry(true, landmarks))
    return capture(geometry=FaceGeometry(estimated, landmarks), truth=truth)


@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_vertex_truth_is_in_millimetres(metric):
    a, b = 0.1 * random(2, 9, 3), 0.1 * random(2, 9, 3, seed=1)
    distance = 1000 * np.linalg.norm(a.numpy() - b.numpy(), axis=-1)
    loss = build("vertex_truth", metric=metric)
    expected = distance.mean() if metric == "l1" else (distance**2).mean()
    assert loss(meshes(a, b)).item() == pytest.approx(expected, rel=1e-12)
    assert gradient_is_right(lambda x: loss(meshes(x, b)), a)
    leaf = a.clone().requires_grad_()
    assert torch.autograd.grad(loss(meshes(leaf, a)), leaf)[0].isfinite().all()
    with pytest.raises(ValueError, match="9 estimated vertices cannot be compared with 8 true ones"):
        loss(meshes(a, b[:, :8]))


def test_vertex_truth_weighs_regions():
    head = get_registry().build("face_model", "open_head")
    parts, masks = Parts(head, get_registry().build("renderer", "zbuffer")), head.vertex_masks
    face, lips = masks["face"].numpy(), masks["lips"].numpy()
    weights = np.where(lips, 5.0, np.where(face, 2.0, 1.0))
    a, b = 0.1 * random(2, len(face), 3), 0.1 * random(2, len(face), 3, seed=1)
    distance = 1000 * np.linalg.norm(a.numpy() - b.numpy(), axis=-1)
    loss = build("vertex_truth", regions={"face": 2.0, "lips": 5.0})
    with pytest.raises(RecipeError, match="no regions before attach"):
        loss(meshes(a, b))
    loss.attach(parts)
    assert loss(meshes(a, b)).item() == pytest.approx(np.average(distance, weights=np.stack([weights] * 2)), rel=1e-6)
    with pytest.raises(UnknownNameError, match="no region of OpenHead named 'lisp'"):
        build("vertex_truth", regions={"lisp": 2.0}).attach(parts)


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("angles", ["axis_angle", "quaternion", "euler"])
def test_jaw_prior_against_scipy(angles, metric):
    jaw, reference = 0.4 * random(3, 3), (0.2, -0.05, 0.1)

    def numbers(vector):
        turn = Rotation.from_rotvec(vector)
        quaternion = turn.as_quat(scalar_first=True)
        signed = quaternion * np.where(quaternion[..., :1] < 0, -1, 1)
        return {"axis_angle": np.asarray(vector), "quaternion": signed, "euler": turn.as_euler("XYZ")}[angles]

    difference = numbers(jaw.numpy()) - numbers(np.array([reference]))
    expected = (np.abs(difference) if metric == "l1" else difference**2).sum(1).mean()
    loss = build("jaw_prior", reference=reference, angles=angles, metric=metric)
    assert loss(estimate(jaw_pose=jaw)).item() == pytest.approx(expected, rel=1e-6)  # the reference is float32
    assert gradient_is_right(lambda pose: loss(estimate(jaw_pose=pose)), jaw)


def test_jaw_prior_needs_a_jaw():
    with pytest.raises(ValueError, match="a jaw"):
        build("jaw_prior")(estimate(expression=random(2, 5)))
