"""EmoNet against the published network: predictions, features, strictness, no side effects."""

from pathlib import Path

import pytest
import torch
from published import deviation, golden, keyed_state
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.registry import get_registry
from emoca_plugins.emotion.emonet import EmoNet
from emoca_plugins.emotion.emonet_network import ConvBlock


@pytest.fixture(autouse=True)
def no_assets_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "no-assets"))


def write(folder: Path, classes: int, prefix: str = "") -> Path:
    name = f"emonet_{classes}"
    state = keyed_state(name, float(golden(name)["gain"]))
    torch.save({prefix + key: tensor for key, tensor in state.items()}, folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.mark.parametrize(("classes", "prefix"), [(8, "module."), (5, "")])
def test_predictions_and_features_equal_the_published_network(tmp_path: Path, classes: int, prefix: str) -> None:
    weights = str(write(tmp_path, classes, prefix))
    backbone = get_registry().build("emotion_backbone", "emonet", {"classes": classes, "weights": weights})
    expected = golden(f"emonet_{classes}")
    image = torch.from_numpy(expected["input"])
    heat = []
    backbone.network.l1.register_forward_hook(lambda _, __, out: heat.append(out))
    with torch.no_grad():
        prediction = backbone(image)
        stem = backbone.network.stem(image)
    # measured 1e-5 at worst
    assert deviation(prediction.logits, expected["f64.expression"]) < 1e-4
    assert deviation(prediction.valence, expected["f64.valence"]) < 1e-4
    assert deviation(prediction.arousal, expected["f64.arousal"]) < 1e-4
    assert deviation(prediction.features["pooled"], expected["f64.emo_net_2_out"]) < 1e-4
    assert deviation(prediction.features["map"].mean((2, 3)), expected["f64.conv1x1_in_mean_c"]) < 1e-4
    assert deviation(F.avg_pool2d(heat[0], 8), expected["f64.heatmap_lowres"]) < 1e-4
    assert deviation(stem.mean((2, 3)), expected["f64.conv4_mean_c"]) < 1e-4
    assert prediction.features["map"].shape == (2, 768, 64, 64)
    assert prediction.logits.shape[1] == len(backbone.labels) == classes
    assert len(backbone.load_report.renamed) == 682


def test_labels_follow_the_published_data_loader() -> None:
    eight, five = (EmoNet(EmoNet.Params(weights="random", classes=n)).labels for n in (8, 5))
    assert eight == ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
    assert five == ("neutral", "happy", "sad", "surprise", "anger")


def test_other_classes_keep_everything_but_the_last_layer(tmp_path: Path) -> None:
    """As a training with the paper's 7 classes starts, and as its result is read again."""
    path, labels = write(tmp_path, 8), BASIC_EXPRESSIONS
    published = EmoNet(EmoNet.Params(weights=str(path)))
    assert [added.problem for added in add_files([path], folder=tmp_path / "no-assets")] == [None]
    backbone = EmoNet(EmoNet.Params(labels=labels))
    assert backbone.labels == labels and backbone.network.emo_fc_2[3].out_features == 9
    differing = {
        name
        for name, tensor in backbone.state_dict().items()
        if tensor.shape != published.state_dict()[name].shape or not tensor.equal(published.state_dict()[name])
    }
    assert differing == {"network.emo_fc_2.3.weight", "network.emo_fc_2.3.bias"}
    save_file(backbone.state_dict(), tmp_path / "best.safetensors")
    again = EmoNet(EmoNet.Params(labels=labels, weights=str(tmp_path / "best.safetensors")))
    assert all(tensor.equal(backbone.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_strict_and_no_side_effects(tmp_path: Path) -> None:
    path = write(tmp_path, 8)
    with pytest.raises(AssetFormatError, match=r"network\.emo_fc_2\.3\.weight is 10x128, expected 7x128"):
        EmoNet(EmoNet.Params(weights=str(path), classes=5))
    state = torch.load(path, weights_only=True)
    del state["bl0.weight"]
    torch.save({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(AssetFormatError, match=r"missing: network\.bl0\.weight\n  unexpected: network\.extra"):
        EmoNet(EmoNet.Params(weights=str(path)))
    assert nn.InstanceNorm2d is not nn.BatchNorm2d
    assert issubclass(nn.InstanceNorm2d, nn.modules.instancenorm._InstanceNorm)


def test_missing_weights_are_named() -> None:
    with pytest.raises(MissingAssetError, match=r"emonet_8\.pth"):
        EmoNet()
    with pytest.raises(MissingAssetError, match=r"emonet_5\.pth"):
        EmoNet(EmoNet.Params(classes=5))


def test_eval_and_train_switch_modes_and_return_the_module() -> None:
    backbone = EmoNet(EmoNet.Params(weights="random"))
    assert backbone.eval() is backbone and not backbone.network.bn1.training
    assert backbone.train() is backbone and backbone.network.bn1.training


def test_input_is_not_changed_by_a_block() -> None:
    block, x = ConvBlock(8, 8).eval(), torch.randn(1, 8, 4, 4)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


def test_a_smaller_input_trains_the_same_layers() -> None:
    backbone = EmoNet(EmoNet.Params(weights="random", image_size=64, labels=BASIC_EXPRESSIONS))
    assert {name: tensor.shape for name, tensor in backbone.state_dict().items() if "emo_fc_2.3" not in name} == {
        name: tensor.shape
        for name, tensor in EmoNet(EmoNet.Params(weights="random")).state_dict().items()
        if "emo_fc_2.3" not in name
    }
    image = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)).requires_grad_()
    prediction = backbone(image)
    assert prediction.features["map"].shape == (2, 768, 16, 16)
    assert prediction.features["pooled"].shape == (2, 256)
    prediction.features["pooled"].sum().backward()
    assert image.grad is not None and torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in backbone.network.emo_net_2.parameters())


@pytest.mark.parametrize("size", [32, 100])
def test_hourglasses_need_a_size_that_they_can_halve(size: int) -> None:
    with pytest.raises(ValueError, match="image_size"):
        EmoNet.Params(weights="random", image_size=size)
