"""The terms of recipes outside training: one photo's expression is descended, as the example does it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from emoca_core import Objective, get_registry, load_method
from emoca_core.errors import RecipeError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "optimise_emotion.py"
SMALL = {"model": "mobilenetv3_small_050", "weights": "random", "image_size": 64}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """As ``emoca train emotion`` leaves it."""
    folder = tmp_path_factory.mktemp("emotion")
    torch.manual_seed(4)
    backbone = get_registry().build("emotion_backbone", "timm", SMALL)
    save_file(backbone.state_dict(), folder / "best.safetensors")
    card = {"emotion_backbone": {"uses": "timm", "params": backbone.params.model_dump(mode="json")}, "step": 1}
    (folder / "best.json").write_text(json.dumps(card))
    return folder


def test_the_example_descends_the_expression_of_a_photo(run, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    example = importlib.import_module("optimise_emotion")
    head = {"face_model": {"params": {"texture_size": 64}}, "landmarker": {"params": {"search": False}}}
    method = load_method("open_fit", emotion=run, change=head, device="cpu")
    crop = example.crop_of(method, ROOT / "examples" / "photos" / "astronaut.jpg")
    before = method.encode(crop)
    parameters, history = example.optimise(method, crop, steps=4)
    totals = [sum(example.TERMS[name].get("weight", 1.0) * value for name, value in step.items()) for step in history]
    assert totals[-1] < totals[0]
    assert history[-1]["emotion"] != history[0]["emotion"]
    assert not torch.equal(parameters.expression, before.expression)
    assert torch.equal(parameters.shape, before.shape)
    with pytest.raises(RecipeError, match="the coarse stage has no detail"):
        Objective.of(method, {"wrinkles": {"uses": "displacement_prior"}})


def test_the_example_is_short_enough_to_read():
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 60


def test_an_objective_needs_no_accelerate():
    code = "import sys, emoca_core; emoca_core.Objective; assert 'accelerate' not in sys.modules, 'imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
