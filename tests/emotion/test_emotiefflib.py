"""EmotiEffLib's AffectNet network: a whole pickled network, read without its classes, as a preset of ``timm``."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import EXPRESSIONS
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.weights.checkpoints import read_checkpoint

MEAN, DEVIATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def published(outputs: int = 10) -> nn.Module:
    """As published: the package pickles the network itself, with a classifier that is a list of one layer."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_b0", pretrained=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    network.classifier = nn.Sequential(nn.Linear(1280, outputs))
    return network.eval()


@pytest.mark.parametrize("zipped", [True, False])
def test_the_published_file_becomes_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    with pytest.raises(MissingAssetError, match=r"(?s)enet_b0_8_va_mtl\.pt.*Apache-2\.0"):
        load_emotion_backbone("emotiefflib_b0")
    network = published()
    torch.save(network, tmp_path / "enet_b0_8_va_mtl.pt", _use_new_zipfile_serialization=zipped)
    (added,) = add_files([tmp_path / "enet_b0_8_va_mtl.pt"])
    assert (added.problem, added.record.name) == (None, "emotiefflib_b0")
    backbone = load_emotion_backbone("emotiefflib_b0")
    faces = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    mean, deviation = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, DEVIATION))
    with torch.no_grad():
        expected, seen = network((faces - mean) / deviation), backbone(faces)
    assert sorted(backbone.labels) == sorted(EXPRESSIONS)
    # the package numbers its classes by the alphabet: Anger, Contempt, Disgust, Fear, Happiness, Neutral, ...
    assert backbone.labels == ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert expected.std() > 0
    torch.testing.assert_close(seen.logits, expected[:, :8], rtol=0, atol=1e-5 * float(expected.std()))
    torch.testing.assert_close(seen.valence, expected[:, 8], rtol=0, atol=1e-5 * float(expected.std()))
    torch.testing.assert_close(seen.arousal, expected[:, 9], rtol=0, atol=1e-5 * float(expected.std()))


def test_a_pickled_network_has_the_names_of_its_state(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    )
    torch.save(network, tmp_path / "network.pt")
    read = read_checkpoint(tmp_path / "network.pt")
    assert set(read) == set(network.state_dict())
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)


def test_the_network_without_valence_is_another_one(tmp_path: Path) -> None:
    torch.save(published(outputs=8), tmp_path / "enet_b0_8_best_vgaf.pt")
    (added,) = add_files([tmp_path / "enet_b0_8_best_vgaf.pt"], folder=tmp_path / "assets")
    assert "[8 1280], expected [10 1280]" in added.problem


class Evil:
    def __reduce__(self):
        return eval, ("print('run')",)


def test_code_beside_the_network_is_still_refused(tmp_path: Path) -> None:
    network = published()
    network.extra = Evil()
    torch.save(network, tmp_path / "evil.pt")
    with pytest.raises(AssetFormatError, match="could run code"):
        read_checkpoint(tmp_path / "evil.pt")
