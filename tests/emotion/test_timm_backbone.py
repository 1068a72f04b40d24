"""timm networks as emotion backbones."""

import pytest
import torch

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError, MissingAssetError, ParamsError, UnknownNameError
from emoca_core.weights.write_tensors import write_tensors


def build(**params):
    return get_registry().build("emotion_backbone", "timm", {"weights": "random"} | params)


@pytest.mark.parametrize(
    ("model", "size", "shape"), [("resnet18", 64, (512, 2, 2)), ("swin_tiny_patch4_window7_224", 224, (768, 7, 7))]
)
def test_convolutional_and_transformer_trunks_give_the_same_fields(model, size, shape):
    backbone = build(model=model).eval()
    seen = backbone(torch.rand(2, 3, size, size))
    assert seen.features["map"].shape == (2, *shape)
    assert seen.features["pooled"].shape == (2, shape[0]) == (2, backbone.feature_dims["pooled"])
    assert seen.logits.shape == (2, 7)
    assert seen.valence.shape == seen.arousal.shape == (2,)
    torch.testing.assert_close(seen.features["map"].mean((2, 3)), seen.features["pooled"], atol=1e-5, rtol=1e-4)


def test_images_are_resized_and_normalised_by_the_backbone():
    backbone = build(model="resnet18", image_size=32).eval()
    image = torch.rand(1, 3, 32, 32)
    seen = backbone(image)
    trunk = backbone.trunk((image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / backbone.normalise.deviation)
    torch.testing.assert_close(seen.features["pooled"], trunk)
    assert backbone(torch.rand(1, 3, 100, 90)).logits.shape == (1, 7)


def test_a_frozen_trunk_keeps_its_statistics_and_the_head_still_learns():
    backbone = build(model="resnet18", trunk="frozen").train()
    before = backbone.trunk.bn1.running_mean.clone()
    backbone(torch.rand(4, 3, 32, 32)).logits.sum().backward()
    assert torch.equal(before, backbone.trunk.bn1.running_mean)
    assert backbone.head.weight.grad is not None
    assert all(p.grad is None for p in backbone.trunk.parameters())


def test_frozen_batch_norm_keeps_its_statistics_while_weights_learn():
    backbone = build(model="resnet18", batch_norm="frozen").train()
    before = backbone.trunk.bn1.running_mean.clone()
    backbone(torch.rand(4, 3, 32, 32)).logits.sum().backward()
    assert torch.equal(before, backbone.trunk.bn1.running_mean)
    assert backbone.trunk.conv1.weight.grad is not None


def test_statistics_that_were_folded_away_are_measured_and_change_nothing():
    """A file with random scales, no means and deviations of 1: what remains of a network in a format for browsers."""
    backbone, random = build(model="resnet18", batch_norm="measured").double(), torch.Generator().manual_seed(0)
    for name, tensor in backbone.trunk.state_dict().items():
        if "bn" in name and name.endswith(("weight", "bias")):
            tensor.copy_(0.2 + 0.2 * torch.rand(tensor.shape, generator=random))
    image = torch.rand(8, 3, 64, 64, generator=random).double()
    before = backbone.eval()(image)
    backbone.train()(image)
    assert backbone.trunk.bn1.running_mean.abs().min() > 0 and (backbone.trunk.bn1.running_var - 1).abs().min() > 1e-3
    state = {name: tensor.clone() for name, tensor in backbone.trunk.state_dict().items()}
    backbone.train()(image.flip(0))
    assert torch.equal(backbone.trunk.bn1.weight, state["bn1.weight"]), "measured a second time"
    backbone.trunk.load_state_dict(state)  # without the running averages of the second batch
    after = backbone.eval()(image)
    torch.testing.assert_close(after.features["pooled"], before.features["pooled"], rtol=0.02, atol=1e-3)


def test_weights_of_a_trunk_alone_leave_the_head_untrained(tmp_path):
    """And the backbone is not taken for a trained one."""
    trunk = {name: torch.rand_like(t) if t.is_floating_point() else t for name, t in build().trunk.state_dict().items()}
    write_tensors(tmp_path / "trunk.safetensors", trunk)
    backbone = build(weights=str(tmp_path / "trunk.safetensors"))
    assert torch.equal(backbone.trunk.conv1.weight, trunk["conv1.weight"])
    assert not backbone.is_loaded and not backbone.asset_paths
    with pytest.raises(AssetFormatError, match="missing"):
        write_tensors(tmp_path / "part.safetensors", {"conv1.weight": trunk["conv1.weight"]})
        build(weights=str(tmp_path / "part.safetensors"))


SMALL_SWIN = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4]}


def test_a_network_can_be_made_smaller_than_published():
    backbone = build(model="swin_tiny_patch4_window7_224", options=SMALL_SWIN).eval()
    assert backbone(torch.rand(2, 3, 32, 32)).features["map"].shape == (2, 32, 8, 8)
    assert sum(p.numel() for p in backbone.parameters()) < 50_000
    with pytest.raises(ParamsError, match=r"'resnet18' cannot be built with the options .*img_sise"):
        build(model="resnet18", options={"img_sise": 32})


def test_an_unknown_network_suggests_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50'"):
        build(model="resnet-50")


def test_weights_that_cannot_be_had_are_named(monkeypatch):
    def offline(*args, pretrained, **kwargs):
        raise OSError("offline")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(MissingAssetError, match=r"weights of 'resnet18'(.|\n)*weights: random"):
        build(model="resnet18", weights="pretrained")
