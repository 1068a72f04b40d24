"""Landmark losses against naive loops; gradients; points that coincide or were not detected."""

import dataclasses
import math

import pytest
import torch

from emoca_core.errors import ParamsError, UnknownNameError
from losses.scenes import build, capture, gradient_is_right, random, with_landmarks

RELATIVE = {
    ("eye_closure", "ibug68"): [(37, 41), (38, 40), (43, 47), (44, 46)],
    ("mouth_closure", "ibug68"): [(61, 67), (62, 66), (63, 65)],
    ("lip_corner_distance", "ibug68"): [(48, 54), (60, 64)],
    ("eye_closure", "mediapipe478"): [
        *[(398, 382), (384, 381), (385, 380), (386, 374), (387, 373), (388, 390), (466, 249)],
        *[(246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155)],
    ],
    ("lip_corner_distance", "mediapipe478"): [(78, 308), (61, 291)],
    ("mouth_closure", "mediapipe478"): list(
        zip((191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324), strict=True)
    ),
}
COUNT = {"ibug68": 68, "mediapipe478": 478}


def published_weight(point):
    if point in (30, 31, 35, 48, 54):
        return 3.0
    if point in (5, 6, 10, 11):
        return 2.0
    return 1.5 if 27 <= point <= 35 or 48 <= point <= 67 else 1.0


def points(name, faces=2):
    return 0.5 * random(faces, COUNT[name], 3), 0.5 * random(faces, COUNT[name], 2, seed=1)


def projected(estimated):
    return [[(p[0], -p[1]) for p in face] for face in estimated.tolist()]


@pytest.mark.parametrize("faces", [1, 2])
def test_reprojection_is_the_published_weighted_mean(faces):
    estimated, detected = points("ibug68", faces)
    above = below = 0.0
    for face, truth in zip(projected(estimated), detected.tolist(), strict=True):
        for i, (p, g) in enumerate(zip(face, truth, strict=True)):
            above += published_weight(i) * (abs(p[0] - g[0]) + abs(p[1] - g[1]))
            below += 2 * published_weight(i)
    loss, scene = build("landmark_reprojection"), with_landmarks(estimated, detected)
    assert loss(scene).item() == pytest.approx(above / below, rel=1e-12)
    assert loss(scene).item() == pytest.approx(above / below, rel=1e-12)  # the weights are not applied twice
    assert gradient_is_right(lambda x: loss(with_landmarks(x, detected)), estimated)


def test_reprojection_of_mediapipe_is_the_plain_mean():
    estimated, detected = points("mediapipe478")
    loss = build("landmark_reprojection", landmarks="mediapipe478", weights="uniform")
    expected = (torch.tensor(projected(estimated), dtype=torch.float64) - detected).abs().mean()
    assert loss(with_landmarks(estimated, detected, "mediapipe478")).item() == pytest.approx(expected.item())
    with pytest.raises(ParamsError, match="published weights exist for ibug68 only"):
        build("landmark_reprojection", landmarks="mediapipe478")


def test_points_that_were_not_detected_do_not_count():
    estimated, detected = points("ibug68", 1)
    detected[0, 40] = math.nan
    for name in ("landmark_reprojection", "eye_closure"):
        value = build(name)(with_landmarks(estimated, detected))
        moved = estimated.clone()
        moved[0, 40] += 1.0
        assert value.isfinite()
        assert build(name)(with_landmarks(moved, detected)) == value
        leaf = estimated.clone().requires_grad_()
        nothing = build(name)(with_landmarks(leaf, torch.full_like(detected, math.nan)))
        assert nothing == 0
        assert (torch.autograd.grad(nothing, leaf)[0] == 0).all()


@pytest.mark.parametrize(("name", "landmarks"), RELATIVE)
def test_relative_distances_are_those_of_a_naive_loop(name, landmarks):
    estimated, detected = points(landmarks)
    terms = [
        abs(math.dist(p[a], p[b]) - math.dist(g[a], g[b]))
        for p, g in zip(projected(estimated), detected.tolist(), strict=True)
        for a, b in RELATIVE[name, landmarks]
    ]
    loss = build(name, landmarks=landmarks)
    value = loss(with_landmarks(estimated, detected, landmarks))
    assert value.item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)
    assert gradient_is_right(lambda x: loss(with_landmarks(x, detected, landmarks)), estimated)


@pytest.mark.parametrize("name", ["eye_closure", "mouth_closure", "lip_corner_distance"])
def test_gradient_is_finite_where_points_coincide(name):
    estimated = torch.zeros(1, 68, 3, dtype=torch.float64, requires_grad=True)
    detected = points("ibug68", 1)[1]
    value = build(name)(with_landmarks(estimated, detected))
    assert value > 0
    assert torch.autograd.grad(value, estimated)[0].isfinite().all()


def test_upstream_pairs_lids_that_are_not_above_one_another():
    right, published = (
        {tuple(pair) for pair in build("eye_closure", landmarks="mediapipe478", pairs=pairs).pairs.tolist()}
        for pairs in ("corrected", "upstream")
    )
    assert right & published == {(159, 145), (173, 155), (386, 374), (398, 382)}


def test_photos_without_the_points_are_refused():
    with pytest.raises(UnknownNameError, match="no landmark set of these photos named 'ibug68'"):
        build("eye_closure")(with_landmarks(*points("mediapipe478"), "mediapipe478"))
    with pytest.raises(UnknownNameError, match="no landmark set of this face model named 'mediapipe478'"):
        build("mouth_closure", landmarks="mediapipe478")(capture())


@pytest.mark.parametrize(
    ("name", "weights"), [("landmark_reprojection", {"weights": "uniform"}), ("mouth_closure", {})]
)
def test_a_model_with_some_of_the_points_is_compared_at_those(name, weights):
    """As FLAME with 105 of MediaPipe's 478: the same as if the photo did not show the others, gradient included."""
    estimated, detected = points("mediapipe478")
    part = torch.tensor([402, 13, 14, 80, 88, 310, 0, 7])  # in no order; 80-88 and 13-14 are pairs of the mouth
    hidden = detected.clone()
    hidden[:, [point for point in range(478) if point not in part.tolist()]] = torch.nan
    loss = build(name, landmarks="mediapipe478", **weights)

    def partial(some):
        scene = with_landmarks(some, detected, "mediapipe105")
        crop = dataclasses.replace(scene.crop, landmarks={"mediapipe478": detected})
        return dataclasses.replace(scene, crop=crop, partial_landmarks={"mediapipe478": ("mediapipe105", part)})

    whole = estimated.requires_grad_()
    expected = loss(with_landmarks(whole, hidden, "mediapipe478"))
    assert expected > 0
    (gradient,) = torch.autograd.grad(expected, whole)
    some = estimated.detach()[:, part].requires_grad_()
    assert loss(partial(some)).item() == pytest.approx(expected.item(), rel=1e-12)
    (found,) = torch.autograd.grad(loss(partial(some)), some)
    torch.testing.assert_close(found, gradient[:, part])
    assert gradient_is_right(lambda x: loss(partial(x)), estimated.detach()[:, part])
