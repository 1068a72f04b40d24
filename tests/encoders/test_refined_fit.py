"""``refined_fit``: what its network may do to a fit, against NumPy; clips; training; what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from encoded_folder import SIZE, write_encoded
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from emoca_core import get_registry, load_method
from emoca_core.errors import AssetFormatError, MissingAssetError, RecipeError
from emoca_core.files import sha256_of
from emoca_core.interfaces import FaceParameters, Parts
from emoca_core.interfaces.samples import sample_crop
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.train.run_stage import prepare_stage
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.refined_fit import WEIGHTS

FIT = {"uses": "landmark_fit", "params": {"appearance": False}}
KEPT = ("eyeLook", "jaw", "tongueOut", "cheekPuff", "mouthPucker", "mouthLeft", "mouthRight")


@pytest.fixture(scope="module")
def parts():
    registry = get_registry()
    head = registry.build("face_model", "open_head", {"texture_size": 64})
    return Parts(head, registry.build("renderer", "zbuffer"))


def encoder(parts, **params):
    made = get_registry().build("encoder", "refined_fit", {"fit": FIT, "weights": "random", **params})
    made.attach(parts)
    return made.eval()


def wild(refined, size: float = 3.0):
    """With a network that wants to change everything."""
    torch.manual_seed(1)
    for parameter in refined.network.parameters():
        torch.nn.init.normal_(parameter, std=size / parameter.shape[-1] ** 0.5)
    return refined


@pytest.fixture(scope="module")
def crop():
    return sample_crop(96, 3)


def test_untrained_it_is_the_fit(parts, crop):
    refined = encoder(parts)
    fitted, code = refined.fit(crop), refined(crop)
    assert fitted.expression.max() > 0.1  # there is something that could change
    for name, block in fitted.blocks().items():
        assert torch.equal(code.blocks()[name], block), name


def test_the_change_is_that_of_numpy(parts, crop):
    refined = wild(encoder(parts), 1.0)
    fitted, code = refined.fit(crop), refined(crop)
    seen = refined.judge(crop.image)
    features = seen.features["pooled"].numpy().astype(np.float64)
    features = (features - features.mean(1, keepdims=True)) / np.sqrt(features.var(1, keepdims=True) + 1e-5)
    w = {name: value.numpy().astype(np.float64) for name, value in refined.network.state_dict().items()}
    x = features @ w["reduce.weight"].T + w["reduce.bias"]
    levels = np.stack([seen.valence, seen.arousal], 1)
    x = np.concatenate([x, seen.logits, levels, fitted.expression], 1)
    for layer in (0, 2, 4):
        x = x @ w[f"layers.{layer}.weight"].T + w[f"layers.{layer}.bias"]
        x = x / (1 + np.exp(-x)) if layer < 4 else x
    mirrored = [name.replace("Left", "?").replace("Right", "Left").replace("?", "Right") for name in ARKIT_NAMES]
    sure = 1 - softmax(seen.logits.numpy().astype(np.float64), 1)[:, [refined.judge.labels.index("neutral")]]
    bounds = np.array([0.14 if name.startswith("mouthFrown") else 0.5 for name in ARKIT_NAMES])
    share = bounds * sure * np.tanh((x + x[:, [ARKIT_NAMES.index(name) for name in mirrored]]) / 2)
    before = fitted.expression.numpy()
    after = before + share * np.where(share > 0, 1 - before, before)
    free = np.array([not name.startswith(KEPT) for name in ARKIT_NAMES])
    assert np.abs(after - before)[:, free].max() > 0.05
    np.testing.assert_allclose(code.expression.detach().numpy()[:, free], after[:, free], atol=1e-5)
    assert torch.equal(code.expression[:, ~free], fitted.expression[:, ~free])


def test_it_moves_activations_by_a_share_of_their_way_and_nothing_else(parts, crop):
    refined = wild(encoder(parts, bound=0.3), 30.0)
    fitted, code = refined.fit(crop), refined(crop)
    before, after = fitted.expression, code.expression
    frown = [name.startswith("mouthFrown") for name in ARKIT_NAMES]
    share = torch.where(after > before, (after - before) / (1 - before), (before - after) / before.clamp(min=1e-6))
    assert 0.1 < share.max() <= 0.3 + 1e-4 and 0 < share[:, frown].max() <= 0.14 + 1e-4
    assert after.min() >= 0 and after.max() <= 1
    for name, block in fitted.blocks().items():
        assert name == "expression" or torch.equal(code.blocks()[name], block), name


def test_frames_of_a_clip_are_refined_one_by_one(parts, crop):
    refined = wild(encoder(parts))
    person = refined.encode_person(crop)
    fitted, code = refined.fit.encode_frames(crop, person), refined.encode_frames(crop, person)
    assert not refined.frames_have_pixels and refined.glance_size == 32 + 9
    assert torch.equal(code.shape, person.shape.expand(3, -1))
    assert (code.expression - fitted.expression).abs().max() > 0.05
    assert torch.equal(code.expression, refined.refined(fitted, crop.image).expression)
    dark = dataclasses.replace(crop, image=torch.zeros_like(crop.image))
    assert (refined.encode_frames(dark, person).expression - code.expression).abs().max() > 1e-3
    glance = refined.glance(crop)
    assert torch.equal(
        refined.encode_frames(dataclasses.replace(dark, glance=glance), person).expression, code.expression
    )
    reading, seen = refined.emotion_in(glance), refined.judge(crop.image)
    assert (reading.backbone, reading.labels) == ("open_emotion", refined.judge.labels)
    for name in ("logits", "valence", "arousal"):
        assert torch.equal(getattr(reading.prediction, name), getattr(seen, name)), name


def test_it_reads_what_the_encoder_inside_reads_and_nothing_else(parts, crop):
    network = {"uses": "point_regressor", "params": {"weights": "open_deca"}}
    assert encoder(parts).needs == encoder(parts).fit.needs >= {"landmarks", "blendshapes"}
    made = get_registry().build("encoder", "refined_fit", {"fit": network, "weights": "random"}, parts=parts)
    made.attach(parts)
    refined = wild(made.eval())
    assert refined.needs == {"landmarks"}
    other = dataclasses.replace(crop, blendshapes=torch.rand(3, 52))
    assert torch.equal(refined(other).expression, refined(crop).expression)


def test_landmarks_of_more_frames_reach_the_fit(parts, crop):
    refined = encoder(parts)
    assert refined.person_landmarks == refined.fit.person_landmarks > 0
    few, rest = crop.map(lambda tensor: tensor[:1]), crop.map(lambda tensor: tensor[1:])
    alone, together, all_seen = (
        refined.encode_person(few),
        refined.encode_person(few, rest),
        refined.encode_person(crop),
    )
    assert (together.shape - alone.shape).abs().max() > 0.01
    torch.testing.assert_close(together.shape, all_seen.shape, atol=2e-2, rtol=0)


def test_many_frames_are_what_each_of_them_is(parts):
    refined, count = wild(encoder(parts)), 70  # more than the backbone sees at once
    fitted = FaceParameters(expression=torch.rand(count, 52, generator=torch.Generator().manual_seed(0)))
    image = sample_crop(32, count).image
    alone = refined.refined(fitted.map(lambda t: t[66:67]), image[66:67]).expression
    together = refined.refined(fitted, image).expression[66:67]
    # single precision: convolutions of one picture and of many add in another order
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    assert (together - refined.refined(fitted, image.roll(1, 0)).expression[66:67]).abs().max() > 1e-3


def test_what_cannot_work_is_refused(parts, crop, tmp_path):
    with pytest.raises(MissingAssetError, match="emoca train"):
        encoder(parts, weights="untrained")
    save_file({"encoder.network.reduce.bias": torch.zeros(32)}, tmp_path / "part.safetensors")
    with pytest.raises(AssetFormatError, match=r"layers\.0"):
        encoder(parts, weights=str(tmp_path / "part.safetensors"))
    with pytest.raises(RecipeError, match="52 ARKit activations"):
        encoder(parts).refined(FaceParameters(expression=torch.zeros(1, 10)), crop.image[:1])
    silent = encoder(parts)
    sees = silent.judge.forward
    silent.judge.forward = lambda image: dataclasses.replace(sees(image), valence=None)
    with pytest.raises(RecipeError, match="valence"):
        silent(crop)


def test_a_training_moves_the_network_alone_and_its_file_is_read(parts, crop, tmp_path):
    """One step on six synthetic faces, whose codes ``emoca encode`` might have written."""
    codes = str(write_encoded(tmp_path))
    run = prepare_stage(
        "coarse",
        "open_emoca_fit",
        "encoded_faces",
        settings={
            **{"tracker": "none", "progress": False, "pictures_every": 1, "batch_size": 2, "max_steps": 2},
            **{"checkpoints": False, "data": {"folder": codes, "crop_size": SIZE, "image_size": SIZE}},
        },
        change={"encoder": {"params": {"fit": {"params": {"folder": codes}}, "hidden": 16}}},
    )
    run.train(tmp_path / "run")
    state = load_file(tmp_path / "run" / "best.safetensors")
    assert state and all(name.startswith("encoder.network.") for name in state)
    assert any(value.abs().max() > 0 for name, value in state.items() if "layers.4" in name)
    trained = encoder(parts, hidden=16, weights=str(tmp_path / "run" / "best.safetensors"))
    assert (trained(crop).expression - trained.fit(crop).expression).abs().max() > 0


def test_the_weights_that_come_with_the_project_are_those_of_their_card(parts, crop, monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))
    card = get_catalogue().card("encoder", "refined_fit")
    assert card.shipped.sha256 == sha256_of(WEIGHTS)
    assert "research only" in card.license and WEIGHTS.stat().st_size < 2e5
    assert {t.dtype for t in load_file(WEIGHTS).values()} == {torch.float16}
    shipped = encoder(parts, weights="open_emoca_fit")
    change = shipped(crop).expression - shipped.fit(crop).expression
    assert 0.01 < change.abs().max() <= 0.5
    assert not any(parameter.requires_grad for parameter in shipped.judge.parameters())


@pytest.mark.parametrize("name", ["open_emoca_fit", "open_emoca_fit_codes"])
def test_the_recipe_works_after_installation(name, monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))
    encoder = load_method(name, device="cpu").encoder
    assert encoder.params.weights == "open_emoca_fit"
    assert ("lighting" in encoder.blocks) == (name == "open_emoca_fit")
