"""The identity loss against NumPy, its network against one written with plain operations, its file, its gradients."""

import dataclasses
import pickle

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

from emoca_core.errors import AssetFormatError, MissingAssetError, ParamsError, UnknownNameError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters
from emoca_core.registry.assets import find_asset
from emoca_plugins.losses.identity import overlay
from emoca_plugins.losses.recognition import VGGFACE2, recognition, vggface2_resnet50
from losses.scenes import build, capture, gradient_is_right, random

SMALL = {"network": "test_resnet", "weights": "random"}


@pytest.fixture(scope="module")
def state():
    """Weights of a ResNet-50 with statistics that no two layers share; convolutions keep the size of their input."""
    generator = torch.Generator().manual_seed(0)
    values = {}
    for name, value in vggface2_resnet50().state_dict().items():
        if value.ndim == 4:
            values[name] = torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
        elif name.endswith(("running_var", "weight")):
            values[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.is_floating_point():
            values[name] = 0.1 * torch.randn(value.shape, generator=generator)
    return values


@pytest.fixture(scope="module")
def published(state, tmp_path_factory):
    """The file as it is published: a pickle of arrays, with the classifier."""
    path = tmp_path_factory.mktemp("vggface2") / "resnet50_ft_weight.pkl"
    classifier = {"fc.weight": np.zeros((8631, 2048), np.float32), "fc.bias": np.zeros(8631, np.float32)}
    path.write_bytes(pickle.dumps({n: v.numpy() for n, v in state.items()} | classifier, protocol=2))
    return path


def resnet50(state, x):
    """Layer by layer."""
    state = {name: value.double() for name, value in state.items()}

    def layer(x, conv, norm, stride=1, padding=0):
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        mean, variance, weight, bias = (
            state[f"{norm}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = F.pad(layer(x, "conv1", "bn1", 2, 3).relu(), (0, 1, 0, 1), value=-torch.inf)  # right and below only
    x = F.max_pool2d(x, 3, 2)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = layer(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            inner = layer(inner, f"{name}.conv2", f"{name}.bn2", padding=1).relu()
            inner = layer(inner, f"{name}.conv3", f"{name}.bn3")
            shortcut = x if block else layer(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (inner + shortcut).relu()
    return x.mean((2, 3))


def cosine_distance(a, b):
    return 1 - np.mean([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("upstream", [False, True])
def test_published_network_sees_what_it_was_trained_with(state, published, upstream):
    image = torch.rand(2, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mean = torch.tensor([91.4953, 103.8827, 131.0912], dtype=torch.float64).view(3, 1, 1)
    x = 255 * image[:, [2, 1, 0]] - mean
    if upstream:
        x = F.interpolate(2 * x[..., 10:214, 10:214] - 1, (224, 224), mode="bilinear")
    loss = build("identity", weights=str(published), **({"margin": 10, "stretched": True} if upstream else {}))
    # the buffers of mean and deviation are float32 before .double()
    torch.testing.assert_close(loss._vectors(image), resnet50(state, x), rtol=1e-5, atol=1e-5)
    assert loss.asset_paths == {VGGFACE2: published}


def test_distance_is_one_minus_cosine_of_the_overlay():
    scene, loss = capture(), build("identity", **SMALL)
    band = scene.parameters.lighting.numpy()
    x, y, z = np.moveaxis(scene.rendering.normals.numpy(), 1, 0)
    # Ramamoorthi and Hanrahan's constants times pi, 2 pi / 3, pi / 4; the first without pi
    bands = [np.full_like(x, 0.28209479), *(1.02332671 * v for v in (x, y, z))]
    bands += [
        *(0.85808553 * v for v in (x * y, x * z, y * z)),
        0.42904277 * (x * x - y * y),
        0.24770796 * (3 * z * z - 1),
    ]
    light = np.einsum("kbhw,bkc->bchw", np.stack(bands), band)
    mask = scene.mask.numpy()
    expected = mask * scene.rendering.albedo_image.numpy() * light + (1 - mask) * scene.crop.image.numpy()
    np.testing.assert_allclose(overlay(scene).numpy(), expected, rtol=1e-5, atol=1e-6)
    seen, wanted = (loss.recognition(image).numpy() for image in (overlay(scene), scene.crop.image))
    assert loss(scene).item() == pytest.approx(cosine_distance(seen, wanted), rel=1e-9)


def test_the_photo_itself_has_distance_zero():
    loss = build("identity", **SMALL)
    assert loss(capture(mask=torch.zeros(2, 1, 32, 32).double())).item() == pytest.approx(0.0, abs=1e-12)


def test_only_the_normals_have_a_gradient():
    loss, scene = build("identity", **SMALL), capture()
    leaves = {name: getattr(scene.rendering, name).clone().requires_grad_() for name in ("normals", "albedo_image")}
    light, photo = (t.clone().requires_grad_() for t in (scene.parameters.lighting, scene.crop.image))
    made = capture(
        rendering=dataclasses.replace(scene.rendering, **leaves),
        parameters=scene.parameters.replace(lighting=light),
        crop=dataclasses.replace(scene.crop, image=photo * 1),
    )
    inputs = [leaves["normals"], leaves["albedo_image"], light]
    normals, albedo, lighting = torch.autograd.grad(loss(made), inputs, allow_unused=True)
    assert albedo is None
    assert lighting is None
    assert normals.isfinite().all()
    assert normals.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())

    def value(normals):
        return loss(capture(rendering=dataclasses.replace(scene.rendering, normals=normals)))

    assert gradient_is_right(value, scene.rendering.normals + 0.1 * random(2, 3, 32, 32))


def test_the_network_stays_in_evaluation_mode():
    loss = build("identity", **SMALL)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.train()
    loss(capture())
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_the_published_file_becomes_an_asset(published, state, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(MissingAssetError, match=r"resnet50_ft_weight\.pkl(.|\n)*cydonia999/VGGFace2-pytorch"):
        build("identity")
    (added,) = add_files([published])
    assert added.record.name == VGGFACE2
    network = recognition(VGGFACE2, None)
    assert network.files == {VGGFACE2: find_asset(VGGFACE2)}
    for name, value in state.items():
        assert torch.equal(network.network.state_dict()[name], value)


def test_a_network_of_timm_reads_its_file(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    torch.save(state, tmp_path / "faces.pth")
    loss = build("identity", network="test_resnet", weights=str(tmp_path / "faces.pth"))
    loaded = loss.recognition.network.state_dict()
    assert all(torch.equal(value, state[name].to(value.dtype)) for name, value in loaded.items())
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    config = timm.get_pretrained_cfg("test_resnet")
    normalize = [torch.tensor(values).view(3, 1, 1) for values in (config.mean, config.std)]
    resized = F.interpolate(image, config.input_size[1:], mode="bilinear")
    expected = loss.recognition.network.float()((resized - normalize[0]) / normalize[1])
    torch.testing.assert_close(loss.float().recognition(image), expected)


def test_other_files_networks_and_scenes_are_refused(published, tmp_path):
    squeezed = pickle.loads(published.read_bytes()) | {"layer1.0.conv4.weight": np.zeros((16, 256, 1, 1))}
    path = tmp_path / "senet50_ft_weight.pkl"
    path.write_bytes(pickle.dumps(squeezed, protocol=2))
    with pytest.raises(AssetFormatError):
        build("identity", weights=str(path))
    with pytest.raises(UnknownNameError, match="no timm network named 'vggface3'"):
        build("identity", network="vggface3")
    with pytest.raises(ParamsError, match="margin"):
        build("identity", **SMALL, margin=112)
    loss = build("identity", **SMALL)
    with pytest.raises(ValueError, match="an encoder that estimates lighting"):
        loss(capture(parameters=FaceParameters(shape=random(2, 3))))
    with pytest.raises(ValueError, match="a rendering with albedo and normals"):
        loss(capture(rendering=None))
