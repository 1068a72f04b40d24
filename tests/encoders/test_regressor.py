"""The open encoder: it starts at the neutral face, copies its trunk after loading, and keeps activations in range."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError, MissingAssetError, RecipeError, UnknownNameError
from emoca_core.interfaces import FaceCrop, FaceParameters, Parts
from emoca_core.registry.catalogue import changed, get_catalogue
from emoca_core.rendering.face import render_face
from emoca_plugins.encoders.regressor_output import clamp_activation

SMALL = {"model": "mobilenetv3_small_050", "weights": "random", "image_size": 64, "hidden": 32}
SECOND = {"expression_blocks": ["expression", "jaw_pose"]}


@pytest.fixture(scope="module")
def parts():
    head = get_registry().build("face_model", "open_head", {"texture_size": 64, "mediapipe_landmarks": False})
    return Parts(head, get_registry().build("renderer", "zbuffer"))


def regressor(parts, seed=0, **params):
    torch.manual_seed(seed)
    return get_registry().build("encoder", "regressor", SMALL | params, parts).eval()


def photos(count=3):
    return FaceCrop(torch.rand(count, 3, 80, 80, generator=torch.Generator().manual_seed(7)))


def trained(encoder):
    """The encoder with outputs that are anything but neutral, and moved statistics."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in encoder.named_buffers():
            if "running" in name:
                buffer.add_(0.1 * torch.rand_like(buffer))
    return encoder


def same(one: FaceParameters, other: FaceParameters):
    """To float32's rounding: the last layers of both networks are of different sizes."""
    return all(
        torch.allclose(a, b, atol=2e-5, rtol=1e-5)
        for a, b in zip(one.blocks().values(), other.blocks().values(), strict=True)
    )


def test_it_predicts_every_block_of_its_face_model(parts):
    head = parts.face_model
    encoder = regressor(parts, eye_pose=True)
    found = {name: block.shape[1] for name, block in encoder(photos()).blocks().items()}
    assert found == {
        **{name: size for name, size in head.blocks.items() if name != "neck_pose"},
        **{"camera": 3, "lighting": 27},
    }
    assert "eye_pose" not in regressor(parts).blocks


def test_an_untrained_network_sees_the_neutral_face_framed_by_its_crop(parts):
    head, renderer = parts.face_model, parts.renderer
    code = regressor(parts)(photos())
    for name in ("shape", "albedo", "expression", "global_pose", "jaw_pose"):
        assert code.blocks()[name].abs().max() < 0.1, name
    geometry = head(code)
    points = code.camera.project(geometry.landmarks["ibug68"])[..., :2].detach()
    low, high = points.amin(1), points.amax(1)
    assert ((low + high) / 2).abs().max() < 0.02
    # the native crop is 1.25 x 1.1 times the mean side of the landmarks' box
    assert (high - low).mean(1) == pytest.approx(2 / 1.375, abs=0.02)
    picture = render_face(renderer, head, geometry, code.camera, head.albedo(code), code.lighting, (64, 64))
    face = picture.shading.amax(1)[:, None][picture.mask > 0]
    assert 0.5 < face.median() < 1.1
    assert picture.image.max() < 1.2


def test_the_second_network_starts_as_a_copy_of_the_first(parts):
    encoder = regressor(parts, **SECOND)
    alone = regressor(parts)
    assert same(encoder(photos()), alone(photos()))
    first, second = encoder.coarse_network, encoder.expression_network
    for a, b in zip(first.trunk.state_dict().values(), second.trunk.state_dict().values(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()
    assert second.layers[-1].out_features == 52 + 3


def test_a_state_without_a_second_network_starts_both(parts):
    """The copy is made of what was loaded, not of what was there before."""
    source = trained(regressor(parts))
    encoder = regressor(parts, seed=1, **SECOND)
    encoder.load_state_dict(source.state_dict())
    assert same(encoder(photos()), source(photos()))
    changed = trained(regressor(parts, **SECOND))
    encoder.load_state_dict(changed.state_dict())
    assert same(encoder(photos()), changed(photos()))
    assert not same(encoder(photos()), source(photos()))


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_weights_from_a_file_are_copied_after_they_are_read(parts, tmp_path, prefix):
    source = trained(regressor(parts))
    file = tmp_path / "best.safetensors"
    save_file({prefix + name: tensor for name, tensor in source.state_dict().items()}, file)
    encoder = regressor(parts, seed=1, weights=str(file), **SECOND)
    assert same(encoder(photos()), source(photos()))
    assert encoder.asset_paths == {"regressor": Path(file)}
    both = trained(encoder)
    save_file({prefix + name: tensor for name, tensor in both.state_dict().items()}, file)
    assert same(regressor(parts, seed=1, weights=str(file), **SECOND)(photos()), both(photos()))


def test_a_file_of_another_network_is_refused(parts, tmp_path):
    save_file(regressor(parts, hidden=16).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(AssetFormatError, match=r"layers"):
        regressor(parts, weights=str(tmp_path / "other.safetensors"))


def test_the_first_network_is_frozen_beside_a_second(parts):
    encoder = regressor(parts, **SECOND).train()
    assert encoder.expression_network.training
    assert not any(module.training for module in encoder.coarse_network.modules())
    before = {name: tensor.clone() for name, tensor in encoder.coarse_network.state_dict().items()}
    code = encoder(photos())
    sum(block.square().sum() for block in code.blocks().values()).backward()
    assert all(parameter.grad is None for parameter in encoder.coarse_network.parameters())
    assert all(parameter.grad is not None for parameter in encoder.expression_network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.coarse_network.state_dict().items())
    assert not code.shape.requires_grad
    assert not code.global_pose.requires_grad
    assert code.jaw_pose.requires_grad


def test_alone_the_network_is_trained_as_a_whole(parts):
    encoder = regressor(parts).train()
    sum(block.square().sum() for block in encoder(photos()).blocks().values()).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_activations_stay_in_range_and_come_back_into_it():
    value = torch.tensor([-0.5, 0.0, 0.3, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    clamped = clamp_activation(value)
    assert clamped.tolist() == [0, 0, 0.3, 1, 1]
    (up,) = torch.autograd.grad(clamped, value, -torch.ones_like(value), retain_graph=True)
    assert up.tolist() == [-1, -1, -1, 0, 0]  # descent raises: at 1 and above that would lead out
    (down,) = torch.autograd.grad(clamped, value, torch.ones_like(value))
    assert down.tolist() == [0, 0, 1, 1, 1]
    inside = torch.linspace(0.1, 0.9, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(clamp_activation, inside)


def test_descent_reaches_any_activation_from_outside_the_range():
    value = torch.full((3,), -2.0, requires_grad=True)
    target = torch.tensor([0.0, 0.4, 1.0])
    optimizer = torch.optim.SGD([value], 0.2)
    for _ in range(200):
        optimizer.zero_grad()
        (clamp_activation(value) - target).square().sum().backward()
        optimizer.step()
    assert (clamp_activation(value) - target).abs().max() < 1e-3


def test_a_model_with_expressions_in_sigma_is_not_clamped(parts):
    encoder = trained(regressor(parts))
    assert encoder(photos()).unit_of("expression") == "activation"
    encoder.output.activations = False
    assert encoder(photos()).expression.min() < 0


def test_wrong_use_is_refused_with_one_line(parts):
    with pytest.raises(MissingAssetError, match=r"yours to train: run 'emoca train'"):
        get_registry().build("encoder", "regressor", {"model": SMALL["model"]}, parts)
    with pytest.raises(MissingAssetError):
        regressor(parts, weights="/nowhere/best.safetensors")
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenetv3_small_050'"):
        regressor(parts, model="mobilenet_v3_small_050")
    with pytest.raises(RecipeError, match="expression_blocks names eye_pose"):
        regressor(parts, expression_blocks=["eye_pose"])
    with pytest.raises(RecipeError, match="encoder 'regressor' is built for a face model"):
        get_registry().build("encoder", "regressor", SMALL)


def test_the_presets_build(parts):
    catalogue = get_catalogue()
    for recipe in ("open_deca", "open_emoca"):
        known = catalogue.recipe(recipe)
        use = changed(known, known.training["coarse"]["recipe"]).encoder  # that of emoca train
        assert use.uses == "regressor"
        params = catalogue.params("encoder", use) | {"weights": "random"}
        encoder = get_registry().build("encoder", use.uses, params, parts)
        assert json.loads(encoder.params.model_dump_json())["image_size"] == 112
        assert encoder.eval()(photos()).expression.shape == (3, 52)
