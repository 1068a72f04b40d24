"""``shown_emotion``: what the judge is shown, what the term says of it, where its gradient goes."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from emoca_core import get_registry
from emoca_core.errors import ParamsError, RecipeError
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Capture, FaceParameters, Parts
from emoca_core.interfaces.samples import sample_crop
from emoca_core.testing import check_component
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.losses.shown_face import Variety, _draws, _turn, show_faces

SMILES = [ARKIT_NAMES.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]


@pytest.fixture(scope="module")
def parts():
    registry = get_registry()
    head = registry.build("face_model", "open_head", {"texture_size": 64})
    return Parts(head, registry.build("renderer", "zbuffer"))


def build(parts, **params):
    loss = get_registry().build("loss", "shown_emotion", params)
    loss.attach(parts)
    return loss.eval()


def capture_of(parts, expression, pose=(0.1, 0.3, 0.0)) -> Capture:
    count = len(expression)
    code = FaceParameters(
        shape=torch.zeros(count, 100), expression=expression, global_pose=torch.tensor([pose]).expand(count, 3)
    )
    return Capture(sample_crop(96, count), code, parts.face_model(code))


def smiles(*amounts: float) -> torch.Tensor:
    expression = torch.zeros(len(amounts), 52)
    expression[:, SMILES] = torch.tensor(amounts)[:, None]
    return expression


def test_the_contract_holds(parts):
    capture = capture_of(parts, smiles(0.0, 0.8))
    check_component("loss", "shown_emotion", {"varied": False}, sample=capture, parts=parts)


def test_the_head_is_seen_from_the_front_wherever_it_looks(parts):
    loss = build(parts, varied=False)
    straight, turned = (loss.shown(capture_of(parts, smiles(0.5), pose)) for pose in ((0.0,) * 3, (0.2, -0.6, 0.1)))
    assert straight.shape == (1, 3, 96, 96) and 0.2 < straight.mean() < 0.8
    captured = capture_of(parts, smiles(0.5), (0.2, -0.6, 0.1))
    aside = show_faces(parts.face_model, parts.renderer, captured.geometry, None, 96)
    assert (turned - straight).abs().mean() < 0.04  # the visible outline, which frames the head, is another one
    assert (aside - straight).abs().mean() > 0.055
    mirrored = straight.flip(-1)
    assert (straight - mirrored).abs().mean() < 0.01  # the light is in the middle, and the head is symmetric


def test_grey_faces_have_no_colour_and_skins_have(parts):
    same = smiles(0.0, 0.3, 0.6, 0.9)
    for share, coloured in ((0.0, False), (1.0, True)):
        picture = build(parts, skin=share, detail=1.0, turn_degrees=0).shown(capture_of(parts, same))
        middle = picture[..., 40:50, 40:50].mean((-1, -2))
        ratio = middle[:, 0] / middle[:, 2]  # of red to blue; lights are tinted by a few percent
        assert bool((ratio > 1.35).all()) == coloured, ratio


def test_a_face_is_shown_anew_when_it_has_changed_and_whoever_is_beside_it(parts):
    loss = build(parts)
    one, both = capture_of(parts, smiles(0.4)), capture_of(parts, smiles(0.9, 0.4))
    assert torch.equal(loss.shown(one), loss.shown(one))
    torch.testing.assert_close(loss.shown(both)[1:], loss.shown(one), atol=1e-5, rtol=0)
    assert (loss.shown(capture_of(parts, smiles(0.401))) - loss.shown(one)).abs().mean() > 0.02


def test_heads_turn_as_far_as_they_are_told(parts):
    capture = capture_of(parts, torch.rand(60, 52, generator=torch.Generator().manual_seed(0)) * 0.3)
    turns = _turn(_draws(capture.geometry)[:, :3], Variety(math.radians(10), 0.5, 0.5))
    assert turns[:, 1].std().item() == pytest.approx(math.radians(10), rel=0.3)
    assert turns[:, 0].std().item() == pytest.approx(math.radians(5), rel=0.3)
    angles = rotation_vector_to_matrix(turns)[:, 0, 0].acos()
    assert angles.max() < math.radians(30)


def test_classes_are_compared_by_the_divergence_of_kullback_and_leibler(parts):
    capture = capture_of(parts, smiles(0.1, 0.9))
    loss = build(parts, features=0, valence=1, classes=1, temperature=0.5)
    seen, wanted = loss.backbone(loss.shown(capture)), loss.backbone(capture.crop.image)
    p, q = (log_softmax(one.logits.double().numpy() * s, 1) for one, s in ((wanted, 2), (seen, 1)))
    divergence = (np.exp(p) * (p - q)).sum(1).mean()
    assert divergence > 0.05 and np.allclose(softmax(seen.logits, 1).sum(1), 1)
    valence = (seen.valence - wanted.valence).abs().mean().item()
    assert loss(capture).item() == pytest.approx(divergence + valence, rel=1e-4)
    assert build(parts, features=0, classes=1, temperature=0.5)(capture).item() == pytest.approx(divergence, rel=1e-4)


def test_a_term_that_compares_nothing_is_refused(parts):
    with pytest.raises(ParamsError, match="features, valence, arousal, expression, classes must be above 0"):
        build(parts, features=0)


def test_the_gradient_goes_to_the_face_alone(parts):
    expression = smiles(0.2, 0.5).requires_grad_()
    capture = capture_of(parts, expression)
    image = capture.crop.image.clone().requires_grad_()
    capture = dataclasses.replace(capture, crop=dataclasses.replace(capture.crop, image=image))
    build(parts, classes=1.0)(capture).backward()
    assert expression.grad[:, SMILES].abs().min() > 0
    assert image.grad is None


def test_it_draws_with_the_parts_of_a_method(parts):
    loss = get_registry().build("loss", "shown_emotion", {})
    with pytest.raises(RecipeError, match=r"attach\(parts\)"):
        loss(capture_of(parts, smiles(0.1)))
    with pytest.raises(ValueError, match="needs a geometry"):
        build(parts)(dataclasses.replace(capture_of(parts, smiles(0.1)), geometry=None))
