"""The backbone for commercial use: the file is the one of its card, and sees what it saw when it was shipped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shipped_backbones import assert_it_sees_what_it_saw, images_of, synthetic_faces

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.files import sha256_of
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.runs.backbones import find_witness, load_emotion_backbone
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.emotion.open_emotion_free import WEIGHTS

GOLDEN = Path(__file__).parents[1] / "goldens" / "open_emotion_free.npz"


@pytest.fixture(autouse=True)
def no_assets(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))


def build(**params):
    return get_registry().build("emotion_backbone", "open_emotion_free", params)


def test_the_file_is_the_one_of_its_card_and_free():
    card = get_catalogue().card("emotion_backbone", "open_emotion_free")
    assert card.shipped.sha256 == sha256_of(WEIGHTS)
    assert WEIGHTS.stat().st_size < 1.0e6
    assert "MIT" in card.license and "research" not in card.license
    assert {t.dtype for t in load_file(WEIGHTS).values()} == {torch.float16}


def test_it_sees_what_it_saw_when_it_was_shipped():
    assert_it_sees_what_it_saw("open_emotion_free", GOLDEN)


def test_it_tells_synthetic_expressions():
    """12 of 28 when it was shipped; chance is 4."""
    samples, backbone = synthetic_faces(28), load_emotion_backbone("open_emotion_free")
    seen = backbone(images_of(samples))
    assert backbone.labels == BASIC_EXPRESSIONS
    assert sum(s.expression == guess for s, guess in zip(samples, seen.logits.argmax(1), strict=True)) >= 10
    for level in ("valence", "arousal"):
        true = [getattr(sample, level) for sample in samples]
        assert np.corrcoef(true, getattr(seen, level))[0, 1] > 0.6, level
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_classes_and_features_are_those_of_the_network_and_levels_are_linear_in_them():
    backbone = build(weights="random").double()
    image = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0)).double()
    seen, inside = backbone(image), backbone.network(image)
    assert torch.equal(seen.logits, inside.logits)
    assert torch.equal(seen.features["pooled"], inside.features["pooled"])
    weight, bias = backbone.levels.weight, backbone.levels.bias
    found = torch.stack([seen.valence, seen.arousal], 1)
    expected = np.einsum("bd,ld->bl", inside.features["pooled"].detach().numpy(), weight.detach().numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected + bias.detach().numpy(), rtol=1e-9)


def test_what_learns_is_what_was_said():
    trained = {name for name, p in build(weights="random", trunk="frozen").named_parameters() if p.requires_grad}
    assert trained == {"levels.weight", "levels.bias"}
    assert all(p.requires_grad for p in build(weights="random").parameters())


def test_a_start_that_is_not_here_and_a_file_that_lacks_something_are_refused(tmp_path):
    with pytest.raises(MissingAssetError, match="face-api"):
        build(weights="face_api_expression")
    state = load_file(WEIGHTS)
    del state["levels.bias"]
    write_tensors(tmp_path / "part.safetensors", state)
    with pytest.raises(AssetFormatError, match=r"levels\.bias"):
        build(weights=str(tmp_path / "part.safetensors"))


def test_it_is_a_witness_for_others_and_never_for_its_kin():
    assert find_witness("open_emotion")[0] == "open_emotion_free"
    assert find_witness("open_emotion", "face_api_expression") is None
    assert find_witness("open_emotion_free")[0] == "open_emotion"
