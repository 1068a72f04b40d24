"""Photometric and emotion losses against NumPy; gradients; empty masks and missing outputs."""

import dataclasses

import numpy as np
import pytest
import torch

from emoca_core.errors import ParamsError, UnknownNameError
from emoca_core.interfaces import EmotionPrediction
from losses.scenes import build, capture, gradient_is_right, random


def test_photometric_divides_by_the_image_or_by_the_mask():
    scene = capture(picture=random(2, 3, 32, 32))
    difference = scene.mask.numpy() * np.abs(scene.picture.numpy() - scene.crop.image.numpy())
    assert build("photometric")(scene).item() == pytest.approx(difference.mean(), rel=1e-12)
    by_mask = [d.sum() / (3 * m.sum()) for d, m in zip(difference, scene.mask.numpy(), strict=True)]
    loss = build("photometric", normalization="mask")
    assert loss(scene).item() == pytest.approx(np.mean(by_mask), rel=1e-12)
    assert gradient_is_right(lambda x: loss(capture(picture=x)), random(2, 3, 32, 32))


@pytest.mark.parametrize("normalization", ["image", "mask"])
def test_empty_mask_adds_nothing(normalization):
    picture = random(2, 3, 32, 32).requires_grad_()
    scene = capture(picture=picture, mask=torch.zeros(2, 1, 32, 32).double())
    value = build("photometric", normalization=normalization)(scene)
    assert value == 0
    assert (torch.autograd.grad(value, picture)[0] == 0).all()


def emotion(seed, faces=5, shape=(6,)):
    levels = random(2, faces, seed=seed + 50)
    features = {"first": random(faces, *shape, seed=seed), "second": random(faces, 3, seed=seed + 9)}
    return EmotionPrediction(features, random(faces, 8, seed=seed + 20), levels[0], levels[1])


def scene_of(seen, wanted):
    return capture(emotion_of_rendering=seen, emotion_of_input=wanted)


def barlow(a, b):
    a, b = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in (a, b))
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = np.mean(a[:, i] * b[:, j])
            total += (1 - c) ** 2 if i == j else 0.005 * c**2
    return total


METRICS = {
    "l1": lambda a, b: np.abs(a - b).mean(),
    "l2": lambda a, b: ((a - b) ** 2).mean(),
    "cosine": lambda a, b: np.mean(
        [1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    ),
    "barlow_twins": barlow,
}


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_feature_distance(metric, normalise):
    seen, wanted = emotion(1, shape=(2, 3)), emotion(2, shape=(2, 3))
    a, b = (x.features["first"].flatten(1).numpy() for x in (seen, wanted))
    if normalise:
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    loss = build("emotion_consistency", metric=metric, normalise=normalise)
    assert loss(scene_of(seen, wanted)).item() == pytest.approx(METRICS[metric](a, b), rel=1e-9)
    again = lambda x: loss(scene_of(EmotionPrediction({"first": x}), wanted))  # noqa: E731
    assert gradient_is_right(again, seen.features["first"])


@pytest.mark.parametrize("metric", METRICS)
def test_one_face_of_no_features_gives_a_finite_gradient(metric):
    x = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    value = build("emotion_consistency", metric=metric)(scene_of(EmotionPrediction({"f": x}), emotion_like(1)))
    assert value.isfinite()
    assert torch.autograd.grad(value, x)[0].isfinite().all()


def emotion_like(faces):
    return EmotionPrediction({"f": random(faces, 6)})


def test_outputs_count_by_their_weights_and_the_photo_has_no_gradient():
    seen, wanted = emotion(1), emotion(2)
    target = wanted.features["second"].requires_grad_()
    seen.features["second"].requires_grad_()
    weights = {"features": 2.0, "valence": 0.5, "arousal": 3.0, "expression": 0.25}
    loss = build("emotion_consistency", feature="second", metric="l1", **weights)
    parts = [
        2.0 * (seen.features["second"] - target).abs().mean(),
        0.5 * (seen.valence - wanted.valence).abs().mean(),
        3.0 * (seen.arousal - wanted.arousal).abs().mean(),
        0.25 * (seen.logits - wanted.logits).abs().mean(),
    ]
    value = loss(scene_of(seen, wanted))
    assert value.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-12)
    assert torch.autograd.grad(value, target, allow_unused=True) == (None,)


WITNESS = {"uses": "fer_mini_xception", "params": {"weights": "random"}}


def test_a_witness_looks_through_its_own_backbone_at_the_picture():
    torch.manual_seed(0)
    loss = build("emotion_witness", backbone=WITNESS, metric="cosine")
    scene = capture(emotion_of_input=None, emotion_of_rendering=None)
    seen, wanted = (loss.backbone(image).features["pooled"].numpy() for image in (scene.picture, scene.crop.image))
    assert loss(scene).item() == pytest.approx(METRICS["cosine"](seen, wanted), rel=1e-9)
    picture, photo = (image.clone().requires_grad_() for image in (scene.picture, scene.crop.image))
    scene = dataclasses.replace(scene, picture=picture, crop=dataclasses.replace(scene.crop, image=photo))
    loss(scene).backward()
    assert picture.grad.abs().sum() > 0
    assert photo.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_a_witness_must_be_known():
    with pytest.raises(UnknownNameError, match="fer_mini_xception"):
        build("emotion_witness", backbone="fer_mini_xceptoin")
    with pytest.raises(ValueError, match="needs a picture"):
        build("emotion_witness", backbone=WITNESS)(capture(picture=None))


def test_what_the_backbone_does_not_have_is_refused():
    with pytest.raises(UnknownNameError, match="no feature of the emotion backbone named 'third'"):
        build("emotion_consistency", feature="third")(scene_of(emotion(1), emotion(2)))
    with pytest.raises(ValueError, match="predicts valence: set its weight to 0"):
        build("emotion_consistency", valence=1.0)(scene_of(emotion_like(2), emotion_like(2)))
    with pytest.raises(ParamsError, match="must be above 0"):
        build("emotion_consistency", features=0.0)
