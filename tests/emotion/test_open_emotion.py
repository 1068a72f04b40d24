"""The backbone that comes with the project: the file is the one that its card describes, and sees what it saw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shipped_backbones import assert_it_sees_what_it_saw, images_of, synthetic_faces

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError
from emoca_core.files import sha256_of
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.runs.backbones import find_witness, load_emotion_backbone
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.emotion.open_emotion import WEIGHTS

GOLDEN = Path(__file__).parents[1] / "goldens" / "open_emotion.npz"


@pytest.fixture(autouse=True)
def no_assets(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))


def test_the_file_is_the_one_of_its_card():
    card = get_catalogue().card("emotion_backbone", "open_emotion")
    assert card.shipped.sha256 == sha256_of(WEIGHTS)
    assert WEIGHTS.stat().st_size < 7e6
    assert "research only" in card.license
    assert {t.dtype for t in load_file(WEIGHTS).values()} == {torch.float16, torch.int64}


def test_it_sees_what_it_saw_when_it_was_shipped():
    assert_it_sees_what_it_saw("open_emotion", GOLDEN)


def test_it_tells_synthetic_expressions():
    samples, backbone = synthetic_faces(28), load_emotion_backbone("open_emotion")
    seen = backbone(images_of(samples))
    assert backbone.labels == BASIC_EXPRESSIONS
    assert sum(s.expression == guess for s, guess in zip(samples, seen.logits.argmax(1), strict=True)) >= 14
    for level in ("valence", "arousal"):
        true = [getattr(sample, level) for sample in samples]
        assert np.corrcoef(true, getattr(seen, level))[0, 1] > 0.7, level
    assert seen.features["pooled"].shape == (28, 1024)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_a_file_that_lacks_something_is_refused(tmp_path):
    state = load_file(WEIGHTS)
    del state["head.bias"]
    write_tensors(tmp_path / "part.safetensors", state)
    with pytest.raises(AssetFormatError, match=r"head\.bias"):
        get_registry().build("emotion_backbone", "open_emotion", {"weights": str(tmp_path / "part.safetensors")})


def test_it_is_a_witness_for_others_and_never_for_itself():
    name, _ = find_witness("fer_mini_xception")
    assert name == "open_emotion"
    assert find_witness("open_emotion")[0] == "open_emotion_free"
    assert find_witness("open_emotion", "open_emotion_free") is None
