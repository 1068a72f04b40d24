"""Run folders as methods: the weights that were trained, on top of what they were trained with."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from emoca_core.api import load_method
from emoca_core.cli import main
from emoca_core.cli.demo_run import example_photos
from emoca_core.errors import AssetFormatError, UnknownNameError
from emoca_core.files import sha256_of
from emoca_core.probe.sources import find_sources


def copied(run, folder):
    """A run that a test may damage."""
    return shutil.copytree(run, folder / run.name)


def test_a_run_is_a_method_with_its_weights_and_its_landmarker(runs):
    method = load_method(str(runs.coarse), device="cpu")
    state = method.state_dict()
    for name, tensor in load_file(runs.coarse / "best.safetensors").items():
        assert torch.equal(state[name], tensor), name
    assert method.landmarker is not None and not method.training
    assert method.name == "coarse"
    assert method.emotion_backbone is None and not method.recipe.losses, "only training needs them"
    assert sha256_of(runs.coarse / "best.safetensors") in {sha256_of(path) for path in method.asset_paths().values()}


def test_a_run_brings_the_weights_of_those_it_started_from(runs):
    method = load_method(str(runs.detail), device="cpu")
    first, second, third = (load_file(run / "best.safetensors") for run in (runs.coarse, runs.frozen, runs.detail))
    assert any(name.startswith("encoder.base") for name in first)
    assert not any(name.startswith("encoder.base") for name in second), "the second run trained the expression alone"
    for name, tensor in method.state_dict().items():
        expected = third.get(name, second.get(name, first.get(name)))
        if expected is not None:
            assert torch.equal(tensor, expected), name
    assert set(third) <= set(method.state_dict())


@pytest.mark.parametrize("run", ["coarse", "detail"])
def test_reconstruct_finds_faces_in_photos(runs, run, tmp_path, capsys):
    arguments = ["--recipe", str(getattr(runs, run)), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(["reconstruct", str(example_photos()[0]), *arguments]) == 0
    record = json.loads(next(tmp_path.glob("out/*/face_0/face.json")).read_text())
    assert record["recipe"]["name"] == run
    assert sha256_of(getattr(runs, run) / "best.safetensors") in {a["sha256"] for a in record["assets"].values()}
    assert next(tmp_path.glob("out/*/face_0/face.json")).with_name("face_detail.obj").exists() == (run == "detail")


def test_show_and_check_take_run_folders(runs, capsys):
    assert main(["show", str(runs.detail)]) == 0
    page = capsys.readouterr().out
    assert "trained method detail" in page and "TinyDetail" in page and "detail stage, step" in page
    assert main(["check", str(runs.detail)]) == 0
    assert "method" in capsys.readouterr().out.splitlines()[-1]


def test_the_benchmark_reads_the_trained_code(runs):
    recipe = json.loads((runs.coarse / "best.json").read_text())["recipe"]
    assert not recipe["probe"], "the toy recipe names no blocks"
    card = {**json.loads((runs.coarse / "best.json").read_text())}
    card["recipe"]["probe"] = ["shape", "expression"]
    probed = copied(runs.coarse, runs.folder / "probed")
    (probed / "best.json").write_text(json.dumps(card))
    [source], missing = find_sources([str(probed)])
    assert not missing and source.name == "coarse" and source.inputs == ("shape", "expression")
    expected = load_file(runs.coarse / "best.safetensors")["encoder.base.11.bias"]
    assert torch.equal(source.parts["encoder"].state_dict()["base.11.bias"], expected)
    assert sha256_of(probed / "best.safetensors") in source.description()["assets"].values()


def test_a_tensor_of_another_shape_is_named(runs, tmp_path):
    run = copied(runs.coarse, tmp_path)
    state = load_file(run / "best.safetensors")
    state["encoder.base.0.weight"] = torch.zeros(2, 3)
    save_file(state, run / "best.safetensors")
    with pytest.raises(AssetFormatError, match=r"encoder\.base\.0\.weight is \(2, 3\), expected \(8, 3, 3, 3\)$"):
        load_method(str(run), device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("encoder.base.0.weight"), r"encoder\.base\.0\.weight is missing$"),
        (lambda state: state.update({"encoder.more": torch.zeros(1)}), r"encoder\.more has no place$"),
    ],
)
def test_a_tensor_too_few_or_too_many_is_named(runs, tmp_path, change, message):
    run = copied(runs.coarse, tmp_path)
    state = load_file(run / "best.safetensors")
    change(state)
    save_file(state, run / "best.safetensors")
    with pytest.raises(AssetFormatError, match=message):
        load_method(str(run), device="cpu")


@pytest.mark.parametrize(("run", "part"), [("frozen", "encoder.base"), ("detail", "encoder")])
def test_other_frozen_weights_are_refused(runs, tmp_path, run, part):
    folder = copied(getattr(runs, run), tmp_path)
    card = json.loads((folder / "best.json").read_text())
    assert part in card["frozen"]
    card["frozen"][part] = "0" * 64
    (folder / "best.json").write_text(json.dumps(card))
    with pytest.raises(AssetFormatError, match=rf"was trained on top of other weights of {part} than are here"):
        load_method(str(folder), device="cpu")


def test_a_run_whose_start_has_changed_is_refused(runs, tmp_path):
    first, second = copied(runs.coarse, tmp_path), copied(runs.frozen, tmp_path)
    card = json.loads((second / "best.json").read_text())
    card["start"]["file"] = str(first / "best.safetensors")
    (second / "best.json").write_text(json.dumps(card))
    assert load_method(str(second), device="cpu").name == "frozen"
    with open(first / "best.safetensors", "ab") as file:
        file.write(b" ")
    with pytest.raises(AssetFormatError, match="gone or has changed since"):
        load_method(str(second), device="cpu")


def test_other_folders_and_names_are_refused(runs, tmp_path):
    with pytest.raises(AssetFormatError, match="holds no trained method"):
        load_method(str(tmp_path))
    (tmp_path / "best.json").write_text('{"emotion_backbone": {"uses": "timm"}, "step": 1}')
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(AssetFormatError, match="of 'emoca train emotion', which is a backbone"):
        load_method(str(tmp_path))
    with pytest.raises(UnknownNameError, match=r"no recipe or run folder named 'open_fitt'\. Did you mean 'open_fit'"):
        load_method("open_fitt")


def test_a_missing_folder_is_no_repository(runs, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="no recipe or run folder named 'runs/gone'"):
        load_method("runs/gone")


def test_faces_from_random_weights_are_refused_unless_asked_for(toys, tmp_path, capsys):
    params = {"model": "mobilenetv3_small_050", "weights": "random", "image_size": 64, "hidden": 8}
    recipe = {"extends": "open_pretrain", "encoder": {"uses": "regressor", "params": params}}
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"version": 1, "recipes": {"mine": recipe}}))
    command = [
        "reconstruct",
        str(tmp_path),
        "--recipe",
        "mine",
        "--registry",
        str(file),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--device", "cpu"]) == 2
    assert "the encoder of 'mine' has random weights" in capsys.readouterr().err
    assert main([*command, "--device", "cpu", "--set", "encoder.weights=random"]) == 2
    assert "random weights" not in capsys.readouterr().err, "it went on, and found no photo"
