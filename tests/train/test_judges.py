"""No training against noise: whoever judges must have been trained, or the recipe says that it was not."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from emoca_core import Objective, Registry, cli, load_method
from emoca_core.errors import RecipeError
from emoca_core.train.run_stage import prepare_stage

sys.path.insert(0, str(Path(__file__).parent))
import toy_stage

WITNESS = {"uses": "emotion_witness", "stage": "coarse", "as": "metric", "params": {"backbone": "TinyEmotion"}}
FACES = {"settings": {"data": {**toy_stage.COMMON["data"], "length": 6}}}
KNOWN = {"emotion_backbone": {"untrained": False}}


@pytest.fixture(autouse=True)
def toys(monkeypatch, tmp_path):
    """Everything installed, with the toy parts and their recipe."""
    everything = Registry()
    everything.load_entry_points()
    toy_stage.add_components(everything)
    for module in ("train.run_stage", "registry.catalogue", "method.objective", "api", "cli.check"):
        monkeypatch.setattr(f"emoca_core.{module}.get_registry", lambda: everything)
    return toy_stage.recipe_file(tmp_path)


def prepare(file, change, **options):
    return prepare_stage("coarse", "toy", "synthetic_faces", change=change, registry_file=file, **FACES, **options)


@pytest.fixture
def run(tmp_path):
    """A run of ``emoca train emotion`` whose backbone has no parameter for weights."""
    torch.manual_seed(2)
    backbone = toy_stage.TinyEmotion()
    folder = tmp_path / "emotion"
    folder.mkdir()
    save_file(backbone.state_dict(), folder / "best.safetensors")
    card = {"emotion_backbone": {"uses": "TinyEmotion", "params": {}}, "step": 1}
    (folder / "best.json").write_text(json.dumps(card))
    return folder


def test_a_backbone_of_random_weights_is_no_judge(toys):
    with pytest.raises(RecipeError, match=r"the terms emotion judge by random weights(.|\n)*untrained: true"):
        prepare(toys, KNOWN)


def test_a_recipe_may_say_that_its_backbone_is_untrained(toys):
    assert prepare(toys, {"emotion_backbone": {"untrained": True}}).task.method.emotion_backbone is not None


def test_a_trained_backbone_judges_though_it_has_no_parameter_for_weights(toys, run):
    method = prepare(toys, KNOWN, emotion=run).task.method
    torch.manual_seed(2)
    for name, tensor in toy_stage.TinyEmotion().state_dict().items():
        assert torch.equal(method.emotion_backbone.state_dict()[name], tensor)


def test_a_witness_of_random_weights_is_none(toys, run):
    with pytest.raises(RecipeError, match="the terms witness judge"):
        prepare(toys, KNOWN | {"losses": {"witness": WITNESS}}, emotion=run)
    prepare(toys, KNOWN | {"losses": {"witness": WITNESS | {"untrained": True}}}, emotion=run)


def test_a_network_inside_a_term_is_a_judge_too(toys, run):
    identity = {"uses": "identity", "stage": "coarse", "params": {"network": "resnet18", "weights": "random"}}
    with pytest.raises(RecipeError, match="the terms who judge"):
        prepare(toys, KNOWN | {"losses": {"who": identity}}, emotion=run)


def objective(file, change):
    """As somebody calls it who wants the terms for something else than training."""
    return Objective.of(load_method("toy", change=change, registry_file=file, device="cpu"))


def test_a_backbone_of_random_weights_is_no_judge_outside_training_either(toys, run):
    with pytest.raises(RecipeError, match="the terms emotion judge by random weights"):
        objective(toys, KNOWN)
    objective(toys, {})
    objective(toys, KNOWN | {"losses": {"emotion": None}})  # nobody looks through it
    trained = load_method("toy", change=KNOWN, registry_file=toys, emotion=run, device="cpu")
    Objective.of(trained)


def test_a_backbone_that_was_given_a_state_by_hand_is_trained(toys):
    method = load_method("toy", change=KNOWN, registry_file=toys, device="cpu")
    method.load_state_dict(method.state_dict())
    Objective.of(method)


def test_check_says_which_terms_judge_by_random_weights(toys, capsys):
    assert cli.main(["check", "toy", "--catalogue", str(toys)]) == cli.DONE, capsys.readouterr()
    toys.write_text(toys.read_text().replace("untrained: true", "untrained: false"))
    assert cli.main(["check", "toy", "--catalogue", str(toys)]) == cli.BAD_INPUT
    assert "the terms emotion judge by random weights" in capsys.readouterr().out


def test_the_look_at_the_judges_leaves_the_method_in_its_modes(toys):
    method = load_method("toy", registry_file=toys, device="cpu")
    method.encoder.train()
    before = {name: part.training for name, part in method.named_modules()}
    Objective.of(method)
    assert {name: part.training for name, part in method.named_modules()} == before


def test_the_look_at_the_judges_leaves_the_random_numbers_alone(toys):
    first = prepare(toys, {}).task.method.encoder.state_dict()
    after = torch.rand(3)
    second = prepare(toys, {}).task.method.encoder.state_dict()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert torch.equal(torch.rand(3), after)
