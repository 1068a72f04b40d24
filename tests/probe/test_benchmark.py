"""From methods and a manifest to numbers, and to the command line."""

import csv
import json

import pytest
from toy_benchmark import RECIPES, SMALL, Colour, ToyLandmarker, make_manifest, toy_registry

from emoca_core.cli import main
from emoca_core.datasets import Manifest
from emoca_core.errors import EmocaError, ParamsError, UnknownNameError
from emoca_core.probe import sources
from emoca_core.probe.benchmark import Protocol, collect_codes, compare_codes
from emoca_core.probe.sources import Unavailable

RED, BLUE = 0, 2


def run(manifest, *methods, **protocol):
    protocol = Protocol(**{"folds": 3, "settings": SMALL, "draws": 400} | protocol)
    gone = [Unavailable("deca", "missing asset 'deca'")]
    return compare_codes(collect_codes(methods, manifest, ToyLandmarker(), "toy", protocol, gone, "toys.csv"), protocol)


@pytest.fixture(scope="module")
def result(manifest_file):
    """Codes with the label, codes of chance, and the first ones once more."""
    methods = (Colour("red", (RED,)), Colour("blue", (BLUE,)), Colour("red again", (RED,)))
    return run(Manifest.open(manifest_file), *methods)


def test_a_code_with_the_label_beats_noise_and_equals_itself(result):
    red, blue, again = result.methods
    assert red.scores["accuracy"].value > 0.9
    assert 0.1 < blue.scores["accuracy"].value < 0.6
    for metric in ("accuracy", "balanced_accuracy", "valence_ccc", "valence_pcc"):
        assert blue.differences[metric].p_holm < 0.02, metric
        assert blue.differences[metric].high < 0, metric
        assert again.differences[metric].p_value == 1.0
        assert again.differences[metric].value == 0
    assert blue.differences["valence_rmse"].low > 0  # an error: lower is better
    assert blue.differences["arousal_ccc"].p_holm > 0.05  # chance for both


def test_every_number_has_an_interval_and_a_deviation(result):
    for method in result.methods:
        for name, score in method.scores.items():
            if score.value is not None:
                assert score.low <= score.value <= score.high, (method.name, name)
                assert score.fold_sd >= 0


def test_the_record_says_what_was_compared(result):
    assert result.data.model_dump(exclude={"images_hash"}) == {
        "manifest": "toys.csv",
        "images": 91,
        "labelled": 91,
        "unreadable": 0,
        "without_face": 1,
        "without_code": {"red": 0, "blue": 0, "red again": 0},
        "used": 90,
        "labels": ("neutral", "happy", "sad"),
        "class_counts": [30, 30, 30],
        "left_out": {},
        "valence_arousal": 90,
    }
    assert (result.split.group_by, result.split.groups, len(result.split.sizes)) == ("clip", 30, 3)
    assert result.tested == sum(size["test"] for size in result.split.sizes) == 90
    assert result.settings["standardise"] is True
    assert result.settings["width"] == SMALL["width"]
    assert result.provenance.hardware.cores and result.provenance.versions["torch"]
    assert [(m.name, m.reason) for m in result.missing] == [("deca", "missing asset 'deca'")]
    assert sum(map(sum, result.methods[0].confusion)) == 90
    assert len(result.examples) >= 8
    assert all(example.truth.split(",")[0] == example.prediction.split(",")[0] for example in result.examples[:8])


def test_the_manifests_own_split_and_other_seeds_are_other_tests(result, manifest):
    own = run(manifest, Colour("red", (RED,)), folds=0, draws=50, examples=False)
    assert own.split.kind == "manifest"
    assert own.split.sizes == [{"training": 54, "validation": 18, "test": 18}]
    assert own.tested == 18
    assert own.methods[0].scores["accuracy"].fold_sd is None
    assert own.split.hash != result.split.hash
    assert own.examples == []


def test_a_method_that_fails_does_not_stop_the_others(manifest):
    class Broken(Colour):
        def encode(self, crop):
            raise EmocaError("needs a GPU")

    class Blind(Colour):
        def encode(self, crop):
            return super().encode(crop) * float("nan")

    methods = (Broken("broken", (RED,), 7), Colour("red", (RED,)), Blind("blind", (RED,), 8))
    found = run(manifest, *methods, folds=0, draws=50, examples=False)
    assert [m.name for m in found.methods] == ["red"]
    assert {m.name: m.reason for m in found.missing} == {
        "deca": "missing asset 'deca'",
        "broken": "needs a GPU",
        "blind": "it has no code for any labelled face",
    }
    with pytest.raises(EmocaError, match="no method could run: deca: missing asset 'deca'; broken: needs a GPU"):
        run(manifest, methods[0])


def test_settings_are_checked_before_anything_is_computed(manifest):
    source = Colour("red", (RED,))
    for wrong, error in (
        ({"settings": {"widht": 3}}, ParamsError),
        ({"preset": "papper"}, UnknownNameError),
        ({"folds": 40}, ParamsError),
        ({"draws": 0}, ParamsError),
    ):
        with pytest.raises(error):
            run(manifest, source, **wrong)
    assert source.encoded == 0


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The command line with the toy components and recipes."""
    (tmp_path / "toys.yaml").write_text(RECIPES)
    registry = toy_registry()
    monkeypatch.setattr(sources, "get_registry", lambda: registry)
    monkeypatch.setattr("emoca_core.registry.get_registry", lambda: registry)
    return ["--catalogue", str(tmp_path / "toys.yaml"), "--landmarker", "ToyLandmarker", "--crop", "native"]


SETTINGS = [arg for name, value in SMALL.items() for arg in ("--set", f"{name}={value}")]


def test_the_command_line_writes_the_same_numbers_four_times(toys, tmp_path, capsys):
    file, out = make_manifest(tmp_path / "data", faces=45), tmp_path / "out"
    command = ["benchmark", "--methods", "colour,licensed", "--data", str(file), "--out", str(out), *toys, *SETTINGS]
    command += ["--folds", "3", "--resamples", "50", "--published"]
    assert main(command) == 1  # one method lacks its weights
    shown = capsys.readouterr().out
    value = json.loads((out / "result.json").read_text())["methods"][0]["scores"]["valence_ccc"]["value"]
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert float(next(r["value"] for r in rows if r["metric"] == "valence_ccc")) == value
    for text in (shown, (out / "table.md").read_text(), (out / "report.html").read_text()):
        assert f"{value:.3f}" in text
        assert "missing asset" in text
        assert "toy_weights" in text
    assert "EMOCA with detail [published]" in shown
    assert "45 of 46 labelled faces of faces.csv were used" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "colors"], "Did you mean 'colour'?"),
        (["--methods", ","], "no methods"),
        (["--methods", "colour,colour"], "named twice: colour"),
        (["--data", "nowhere.csv"], "there is no manifest nowhere.csv"),
        (["--set", "widht=3"], "Did you mean 'width'?"),
        (["--set", "width"], "'width' is not a setting: write name=value"),
        (["--folds", "2"], "2 folds: at least 3 are needed"),
        (["--landmarker", "mediapip"], "no landmarker named 'mediapip'"),
    ],
)
def test_mistakes_get_one_clear_message(toys, manifest_file, tmp_path, capsys, arguments, message):
    command = ["benchmark", "--methods", "colour", "--data", str(manifest_file), "--out", str(tmp_path / "out"), *toys]
    assert main([*command, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
