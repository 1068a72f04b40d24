"""ID-MRF against NumPy, its features against VGG-19 layer by layer; gradients, chunks, files, what is compared."""

import dataclasses

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

from emoca_core.errors import AssetFormatError, MissingAssetError, ParamsError
from emoca_plugins.losses.id_mrf import LAYERS, IdMrf, mrf_distance
from emoca_plugins.losses.uv_patches import masked_patch
from losses.scenes import build, capture, gradient_is_right, random

SMALL = {"weights": "random", "size": 32}
VGG19 = (2, 2, 4, 4, 4)
"""Convolutions of each block. Source: Simonyan and Zisserman, ICLR 2015, configuration E."""


def distance(seen, wanted):
    """One face, pixel by pixel."""
    pixels = seen.shape[1]
    mean = wanted.mean(0)
    seen, wanted = seen - mean, wanted - mean
    shares = np.zeros((pixels, pixels))
    for g in range(pixels):
        d = np.zeros(pixels)
        for t in range(pixels):
            norms = np.linalg.norm(seen[:, g]) * np.linalg.norm(wanted[:, t])
            d[t] = (1 - seen[:, g] @ wanted[:, t] / norms) / 2
        affinity = np.exp((1 - d / (d.min() + 1e-5)) / 0.5)
        shares[:, g] = affinity / affinity.sum()
    return -np.log(shares.max(1).mean())


@pytest.mark.parametrize("pixels_at_once", [1, 5, 12, 99])
def test_distance(pixels_at_once):
    seen, wanted = random(3, 4, 12), random(3, 4, 12, seed=1)
    expected = [distance(a.numpy(), b.numpy()) for a, b in zip(seen, wanted, strict=True)]
    np.testing.assert_allclose(mrf_distance(seen, wanted, pixels_at_once).numpy(), expected, rtol=1e-10)
    assert gradient_is_right(lambda x: mrf_distance(x, wanted, pixels_at_once), seen)


def test_a_picture_of_one_colour_is_worse_than_a_diverse_one_and_the_target_is_best():
    wanted = random(1, 8, 30)
    uniform = wanted[..., :1].expand_as(wanted)
    order = [mrf_distance(x, wanted, 7).item() for x in (wanted, wanted + 0.3 * random(1, 8, 30, seed=1), uniform)]
    assert order == sorted(order)
    # a match is complete but for the 1e-5 beside the nearest distance
    assert order[0] == pytest.approx(0.0, abs=1e-3)


def test_equal_and_empty_features_have_a_finite_gradient():
    for seen, wanted in ((random(1, 4, 9),) * 2, (torch.zeros(1, 4, 9).double(),) * 2):
        leaf = seen.clone().requires_grad_()
        value = mrf_distance(leaf, wanted, 4).sum()
        assert value.isfinite()
        assert torch.autograd.grad(value, leaf)[0].isfinite().all()


def test_layers_are_those_of_vgg19():
    loss = build("id_mrf", **SMALL, layers=dict.fromkeys(LAYERS, 1.0))
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = iter(loss.features.parameters())
    mean, deviation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # of ImageNet
    x = torch.stack([(image[:, i] - mean[i]) / deviation[i] for i in range(3)], dim=1)
    layers = loss.layers_of(image)
    for block, count in enumerate(VGG19, start=1):
        for number in range(1, count + 1):
            x = F.conv2d(x, next(weights), next(weights), padding=1).clamp(min=0)
            # the buffers of mean and deviation are float32 before .double()
            torch.testing.assert_close(layers[f"relu{block}_{number}"], x, rtol=1e-5, atol=1e-6 * x.max().item())
        x = F.max_pool2d(x, 2)
    assert next(weights, None) is None


def test_detail_is_compared_by_patches_where_seen():
    scene, loss = capture(), build("id_mrf", **SMALL, patches={"face": 2.0, "map": 0.5})
    expected = 0.0
    for patch, weight in (("face", 2.0), ("map", 0.5)):
        seen, wanted = (loss.layers_of(side) for side in masked_patch(scene.detail_maps, patch, 32))
        for layer, count in (("relu3_2", 1), ("relu4_2", 2)):
            pairs = zip(seen[layer].flatten(2).numpy(), wanted[layer].flatten(2).numpy(), strict=True)
            expected += weight * count * np.mean([distance(a, b) for a, b in pairs])
    assert loss(scene).item() == pytest.approx(expected, rel=1e-9)


def test_sum_is_published_and_memory_does_not_change_the_value():
    scene, state = capture(), IdMrf(IdMrf.Params(**SMALL)).double().state_dict()
    values = []
    for change in ({}, {"reduction": "sum"}, {"pixels_at_once": 3}):
        loss = build("id_mrf", **SMALL, **change)
        loss.load_state_dict(state)
        values.append(loss(scene).item())
    assert values[1] == pytest.approx(2 * values[0], rel=1e-12)
    assert values[2] == pytest.approx(values[0], rel=1e-12)


def test_gradient_reaches_the_picture_but_neither_photo_nor_network():
    loss = build("id_mrf", **SMALL, what="picture", layers={"relu2_1": 1.0})
    assert loss.requires == {"picture", "mask"}
    photo = capture().crop.image.clone().requires_grad_()
    scene = capture(crop=dataclasses.replace(capture().crop, image=photo))
    picture = capture().picture.clone().requires_grad_()
    value = loss(dataclasses.replace(scene, picture=picture))
    in_picture, in_photo = torch.autograd.grad(value, [picture, photo], allow_unused=True)
    assert in_photo is None
    assert in_picture.abs().sum() > 0
    assert (in_picture[(scene.mask == 0).expand_as(in_picture)] == 0).all()
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert gradient_is_right(lambda x: loss(capture(picture=x)), capture().picture)


def test_a_file_of_the_whole_network_is_read(tmp_path):
    state = timm.create_model("vgg19", num_classes=0, mlp_ratio=0.01).state_dict()
    whole = {f"module.{name}": value for name, value in state.items() if "pre_logits" not in name}
    torch.save(whole | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg19.pth")
    loss = build("id_mrf", weights=str(tmp_path / "vgg19.pth"))
    assert len(loss.features) == LAYERS["relu4_2"] + 1
    for name, value in loss.state_dict().items():
        assert torch.equal(value, state[name].double())
    torch.save({name: value for name, value in state.items() if "21" not in name}, tmp_path / "part.pth")
    with pytest.raises(AssetFormatError, match=r"missing: features\.21\.weight"):
        build("id_mrf", weights=str(tmp_path / "part.pth"))
    with pytest.raises(MissingAssetError):
        build("id_mrf", weights=str(tmp_path / "none.pth"))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ParamsError, match="relu9_9"):
        build("id_mrf", layers={"relu9_9": 1.0})
    with pytest.raises(ValueError, match="IdMrf needs detail maps"):
        build("id_mrf", **SMALL)(capture(detail_maps=None))
    with pytest.raises(ValueError, match="IdMrf needs a picture"):
        build("id_mrf", **SMALL, what="picture")(capture(picture=None))
