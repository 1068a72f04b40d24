"""The objective: weights, roles, and refusals that name every reason before anything runs."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

from emoca_core import Registry
from emoca_core.cli import main
from emoca_core.errors import EmocaError, RecipeError
from emoca_core.interfaces import Capture, FaceCrop, FaceParameters, Loss
from emoca_core.method import Method, build_parts
from emoca_core.method.objective import Objective, build_objective
from emoca_core.registry.catalogue import Recipe, Term, get_catalogue
from emoca_core.registry.terms import check_terms, terms_of
from emoca_core.train.run_stage import prepare_stage

sys.path.insert(0, str(Path(__file__).parent))
import toy_stage


@pytest.fixture
def registry(monkeypatch):
    """The project's components and the toys, in place of the one registry."""
    everything = Registry()
    everything.load_entry_points()
    toy_stage.add_components(everything)
    monkeypatch.setattr("emoca_core.train.run_stage.get_registry", lambda: everything)
    monkeypatch.setattr("emoca_core.cli.check.get_registry", lambda: everything)
    return everything


class Value(Loss):
    requires = frozenset({"parameters"})

    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor)))

    def forward(self, capture):
        assert not self.training
        return self.factor * capture.parameters.shape.square().sum()


def capture(requires_grad=True):
    shape = torch.tensor([[1.0, 2.0]], requires_grad=requires_grad)
    return Capture(crop=FaceCrop(torch.zeros(1, 3, 4, 4)), parameters=FaceParameters(shape=shape))


def objective(**terms):
    return Objective({name: (Term.model_validate({"uses": "x", **term}), Value(3)) for name, term in terms.items()})


def test_it_is_the_weighted_sum_of_the_driving_terms():
    terms = objective(a={"weight": 2.0}, b={"weight": 0.5}, c={"as": "metric", "weight": 9.0}, d={"weight": 0.0})
    faces = capture()
    losses = terms(faces)
    assert losses.total.item() == pytest.approx((2 + 0.5) * 15)
    assert {name: value.item() for name, value in losses.parts.items()} == {"a": 15, "b": 15}
    assert {name: value.item() for name, value in terms.measure(faces).items()} == {"c": 15, "d": 15}
    losses.total.backward()
    assert faces.parameters.shape.grad.tolist() == [[2.5 * 3 * 2 * 1, 2.5 * 3 * 2 * 2]]


def test_its_networks_are_frozen_and_stay_in_evaluation_mode():
    terms = objective(**{"with.dots": {}}).train()
    assert not any(module.training for module in terms.modules())
    assert not any(parameter.requires_grad for parameter in terms.parameters())
    terms(capture())  # Value asserts its own mode


def test_metrics_alone_drive_nothing():
    with pytest.raises(RecipeError, match="no term drives the training: a, b"):
        objective(a={"as": "metric"}, b={"weight": 0.0})


def test_terms_of_a_stage():
    recipe = Recipe.model_validate(toy_stage.RECIPE | {"losses": {
        "one": {"uses": "x", "stage": "coarse"}, "two": {"uses": "x", "stage": "detail"}, "both": {"uses": "x"},
    }})  # fmt: skip
    assert list(terms_of(recipe, "coarse")) == ["one", "both"]
    assert list(terms_of(recipe, "detail")) == ["two", "both"]


BROKEN = {
    "losses": {
        "emotion": {"uses": "TinyConsistency"},
        "wrinkles": {"uses": "TinyDetailPhotometric", "stage": "coarse"},
        "typo": {"uses": "TinyPhotometrik", "stage": "coarse"},
        "parameter": {"uses": "TinyLandmarks", "stage": "coarse", "params": {"sigma": 1}},
    },
    "emotion_backbone": None,
}


def prepare(tmp_path, change, stage="coarse", **settings):
    file = toy_stage.recipe_file(tmp_path)
    return prepare_stage(stage, "toy", "synthetic_faces", change=change, settings=settings, registry_file=file)


def test_a_run_is_refused_with_all_reasons_before_it_starts(registry, tmp_path):
    with pytest.raises(RecipeError) as refusal:
        prepare(tmp_path, BROKEN)
    message = str(refusal.value)
    assert "term 'emotion' reads emotion_of_input, emotion_of_rendering: the recipe has no emotion_backbone" in message
    assert "term 'wrinkles' reads detail_maps: the coarse stage has no detail" in message
    assert "term 'typo' cannot be built" in message
    assert "TinyPhotometric" in message
    assert "term 'parameter' cannot be built" in message
    assert "sigma" in message


def test_data_without_truth_cannot_be_compared_with_it(registry, tmp_path):
    recipe = Recipe.model_validate(toy_stage.RECIPE | {"losses": {"truth": {"uses": "TinyTruth"}}})
    options = {"catalogue": get_catalogue(), "registry": registry}
    method = Method("toy", recipe, build_parts(recipe, **options))
    with pytest.raises(RecipeError, match="term 'truth' reads truth: the data do not know the true code"):
        build_objective(method, recipe, "coarse", **options, truth=False)
    assert build_objective(method, recipe, "coarse", **options, truth=True).losses.keys() == {"truth"}


def test_what_fails_on_the_first_faces_is_one_line(registry, tmp_path, monkeypatch):
    def fail(self, capture):
        raise KeyError("mediapipe478")

    monkeypatch.setattr(toy_stage.TinyLandmarks, "forward", fail)
    with pytest.raises(EmocaError, match="coarse stage fails on the first faces: 'mediapipe478'"):
        prepare(tmp_path, {})


def test_a_stage_that_trains_nothing_is_refused(registry, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="has no detail model to train"):
        coarse = {"detail.photometric": None, "displacement": None, "both": {"uses": "TinyPhotometric"}}
        prepare(tmp_path, {"detail": None, "losses": coarse}, "detail")
    monkeypatch.setattr(toy_stage.TinyRegressor, "network", lambda self, outputs: torch.nn.Identity())
    with pytest.raises(RecipeError, match=r"nothing to train: every weight of TinyRegressor \(encoder\) is frozen"):
        prepare(tmp_path, {})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"images_per_identity": 1, "exchange": {"shape": "exchange"}}, "needs images_per_identity of 2 or more"),
        ({"images_per_identity": 3, "batch_size": 4}, "batch_size 4 must be a multiple of images_per_identity 3"),
        ({"images_per_identity": 2, "exchange": {"detail": "exchange"}}, "does not train the detail code"),
        ({"background": "grey"}, "background"),
        ({"batchsize": 3}, "Did you mean 'batch_size'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(registry, tmp_path, settings, reason):
    with pytest.raises(EmocaError, match=reason):
        prepare(tmp_path, {}, **settings)


def test_emoca_check_reads_what_the_terms_read(registry, tmp_path, capsys):
    file = toy_stage.recipe_file(tmp_path)
    assert main(["--catalogue", str(file), "check", "toy"]) == 0
    blind = tmp_path / "blind.yaml"
    content = yaml.safe_load(file.read_text())
    content["recipes"]["toy"].pop("emotion_backbone")
    blind.write_text(yaml.safe_dump(content))
    assert main(["--catalogue", str(blind), "check", "toy"]) == 2
    assert (
        "term 'emotion' reads emotion_of_input, emotion_of_rendering: the recipe has no emotion_backbone"
        in capsys.readouterr().out
    )


def test_check_terms_looks_at_every_stage(registry):
    recipe = Recipe.model_validate(toy_stage.RECIPE | {"detail": None})
    parts = {"encoder": toy_stage.TinyRegressor(), "emotion_backbone": toy_stage.TinyEmotion()}
    with pytest.raises(RecipeError) as refusal:
        check_terms("toy", recipe, parts, registry)
    assert "term 'detail.photometric' reads detail_maps: the recipe has no detail model" in str(refusal.value)
    assert "term 'displacement' reads displacement: the recipe has no detail model" in str(refusal.value)
