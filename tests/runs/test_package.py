"""``emoca package``, and packages as recipes: from a folder, and from the cache of the Hugging Face hub."""

import importlib.metadata
import json
import os
import shutil

import pytest
import torch
import toy_stage
import yaml
from full_disk import room_for
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file

from emoca_core.api import load_method
from emoca_core.cli import main
from emoca_core.errors import AssetFormatError, EmocaError, MissingAssetError
from emoca_core.files import sha256_of
from emoca_core.method import build_parts
from emoca_core.registry.catalogue import default_path, get_catalogue, load
from emoca_core.runs.hub import WANTED, is_repository
from emoca_core.runs.package import package_run
from emoca_core.train.run_stage import prepare_stage

LOSSES = {"losses": toy_stage.RECIPE["losses"]}
"""Which a package does without."""


@pytest.fixture(scope="module")
def package(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("packages") / "my-faces"
    assert main(["package", str(runs.detail), "--out", str(out)]) == 0
    return out


def test_a_package_is_complete_without_the_runs(runs, package, monkeypatch):
    hidden = runs.folder.with_name("hidden")
    expected = load_method(str(runs.detail), device="cpu").state_dict()
    os.rename(runs.folder, hidden)
    try:
        method = load_method(str(package), device="cpu")
    finally:
        os.rename(hidden, runs.folder)
    assert method.name == "my-faces" and method.landmarker is not None
    weights = load_file(package / "weights.safetensors")
    assert {name.partition(".")[0] for name in weights} == {"encoder", "detail"}, "no face model, no renderer"
    for name in weights:
        assert torch.equal(method.state_dict()[name], expected[name]), name
    trained = {name for name in expected if name.startswith(("encoder.", "detail."))}
    assert trained <= set(weights)


def test_its_card_says_what_it_is(runs, package):
    card = json.loads((package / "card.json").read_text())
    assert card["weights"]["sha256"] == sha256_of(package / "weights.safetensors")
    assert [run["run"] for run in card["trainings"]] == ["coarse", "frozen", "detail"]
    assert card["metrics"] == json.loads((runs.detail / "best.json").read_text())["metrics"]
    assert card["licenses"]["renderer zbuffer"]
    assert all(run["versions"]["torch"] == importlib.metadata.version("torch") for run in card["trainings"])
    assert str(runs.folder) not in (package / "card.json").read_text(), "folders of this machine are nobody's business"


def test_the_hub_understands_its_readme(package):
    card = ModelCard.load(package / "README.md")
    assert card.data.library_name == "emoca-core" and card.data.license == "other"
    assert card.data.to_dict()["license_link"] == "LICENSES.md" and (package / "LICENSES.md").is_file()
    assert "--recipe OWNER/my-faces" in card.text and "landmark_error" in card.text


def test_its_registry_is_a_catalogue(package):
    raw = yaml.safe_load((package / "registry.yaml").read_text())
    recipe = load([package / "registry.yaml"]).recipes["my-faces"]
    assert recipe.encoder.uses == "TinyRegressor" and "detail" in raw["recipes"]["my-faces"]


def test_a_changed_file_is_refused(package, tmp_path):
    copy = shutil.copytree(package, tmp_path / "copy")
    with open(copy / "weights.safetensors", "ab") as file:
        file.write(b" ")
    with pytest.raises(AssetFormatError, match="is not the file that its card describes"):
        load_method(str(copy))
    (copy / "weights.safetensors").unlink()
    with pytest.raises(AssetFormatError, match="has lost its weights"):
        load_method(str(copy))


def test_nothing_is_overwritten(runs, package, tmp_path, toys, capsys):
    assert main(["package", str(runs.detail), "--out", str(package)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["package", str(package), "--out", str(tmp_path / "again")]) == 2
    assert "is a package already" in capsys.readouterr().err


def test_a_full_disk_leaves_no_package(runs, toys, tmp_path, capsys):
    with room_for(20_000):
        assert main(["package", str(runs.detail), "--out", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"emoca: cannot write to {tmp_path / 'new'}: ") and error.count("\n") == 1, error
    assert list(tmp_path.iterdir()) == []
    assert main(["package", str(runs.detail), "--out", str(tmp_path / "new")]) == 0
    sizes = [path.stat().st_size for path in (tmp_path / "new").iterdir()]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(WANTED)
    assert max(sizes) > 20_000 > min(sizes), "one file had no room"


def test_published_weights_are_named_and_not_copied(runs, toys, tmp_path, monkeypatch):
    asset = tmp_path / "licensed.tar"
    asset.write_bytes(b"secret")
    monkeypatch.setattr(toys.resolve("encoder", "TinyRegressor"), "asset_paths", {"deca": asset}, raising=False)
    card = package_run(runs.coarse, tmp_path / "out", get_catalogue(registry=toys), toys)
    assert card.assets["deca"].sha256 == sha256_of(asset)
    readme = (tmp_path / "out/README.md").read_text()
    assert sha256_of(asset) in readme and card.assets["deca"].obtain in readme
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_files_of_this_machine_are_refused(runs, toys, tmp_path):
    from emoca_core.registry.catalogue import Recipe
    from emoca_core.runs.package import portable_recipe

    raw = json.loads((runs.coarse / "best.json").read_text())["recipe"]
    raw["face_model"]["params"] = {"file": "/home/me/head.npz"}
    with pytest.raises(EmocaError, match=r"face_model reads /home/me/head\.npz"):
        portable_recipe(Recipe.model_validate(raw), [], get_catalogue(registry=toys), toys)


@pytest.fixture
def copy(package, tmp_path):
    """A package that a test may damage."""
    return shutil.copytree(package, tmp_path / "copy")


def without(file, *path):
    """Take an entry out of a YAML or JSON file."""
    content = yaml.safe_load(file.read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("marked", [True, False], ids=["names its weights", "lies beside its weights"])
@pytest.mark.parametrize("recipe", ["my-faces", "mine"])
def test_the_recipe_of_a_package_brings_its_weights(toys, copy, tmp_path, marked, recipe):
    if not marked:
        without(copy / "registry.yaml", "recipes", "my-faces", "trained")
    file = copy / "registry.yaml"
    content = yaml.safe_load(file.read_text())
    content["recipes"]["mine"] = {"extends": "my-faces", "summary": "Mine."}
    file.write_text(json.dumps(content))
    weights = load_file(copy / "weights.safetensors")
    parts = build_parts(load([default_path(), file]).recipe(recipe), get_catalogue(registry=toys), toys)
    assert not torch.equal(parts["encoder"].state_dict()["base.0.weight"], weights["encoder.base.0.weight"])
    state = load_method(recipe, registry_file=file, device="cpu").state_dict()
    for name, tensor in weights.items():
        assert torch.equal(state[name], tensor), name


def test_the_recipe_of_a_package_without_its_weights_is_refused(toys, copy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = copy.joinpath("registry.yaml").rename(tmp_path / "elsewhere" / "registry.yaml")
    with pytest.raises(AssetFormatError, match="elsewhere holds no trained method"):
        load_method("my-faces", registry_file=file)


@pytest.mark.parametrize("path", [("weights",), ("weights", "sha256"), ("frozen",), ("recipe",), ("format",)])
def test_a_card_without_what_a_package_needs_is_refused(toys, copy, path):
    without(copy / "card.json", *path)
    with pytest.raises(AssetFormatError, match=rf"{path[-1]}: Field required|another version"):
        load_method(str(copy))


@pytest.mark.parametrize("name", ["weights.safetensors", "card.json", "registry.yaml", "more.txt"])
def test_a_link_that_leads_out_of_a_package_is_refused(toys, package, copy, name):
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to(package / name)
    with pytest.raises(AssetFormatError, match=f"{name} is a link that leads out of the folder"):
        load_method(str(copy))


def test_a_link_to_a_package_and_links_in_it_are_followed(toys, copy, tmp_path):
    (copy / "weights.safetensors").rename(copy / "blob")
    (copy / "weights.safetensors").symlink_to("blob")
    (tmp_path / "link").symlink_to(copy)
    assert load_method(str(tmp_path / "link"), device="cpu").detail is not None


@pytest.mark.parametrize("by", ["start", "recipe"])
def test_a_training_starts_from_a_package(runs, toys, package, tmp_path, by):
    """Given by --start, and by itself where the recipe is the package's."""
    toy = ("toy", {"start": package, "registry_file": runs.file})
    name, options = toy if by == "start" else ("my-faces", {"registry_file": package / "registry.yaml"})
    ready = prepare_stage("detail", name, "synthetic_faces", settings=toy_stage.COMMON, change=LOSSES, **options)
    state = ready.task.method.state_dict()
    weights = load_file(package / "weights.safetensors")
    assert any(name.startswith("detail.") for name in weights)
    for name, tensor in weights.items():
        assert torch.equal(state[name], tensor), name
    assert ready.task.card()["start"] == {
        "file": str(package / "weights.safetensors"),
        "sha256": sha256_of(package / "weights.safetensors"),
    }


def test_a_run_that_started_from_a_package_is_a_method_and_becomes_a_package(runs, toys, package, tmp_path):
    out, file = tmp_path / "run", package / "registry.yaml"
    options = {"settings": {**toy_stage.COMMON, "epochs": 1}, "change": LOSSES, "registry_file": file}
    prepare_stage("detail", "my-faces", "synthetic_faces", **options).train(out)
    trained = load_file(out / "best.safetensors")
    for name, tensor in load_method(str(out), device="cpu").state_dict().items():
        if name in trained:
            assert torch.equal(tensor, trained[name]), name
    assert main(["package", str(out), "--out", str(tmp_path / "again")]) == 0
    card = json.loads((tmp_path / "again" / "card.json").read_text())
    assert [run["run"] for run in card["trainings"]] == ["coarse", "frozen", "detail", "run"]


@pytest.fixture
def hub(package, tmp_path, monkeypatch):
    """A cache of the hub that holds the package as ``somebody/my-faces``; the hub itself is out of reach."""
    import huggingface_hub.constants as constants

    commit = "a" * 40
    repository = tmp_path / "hub" / "models--somebody--my-faces"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(package, repository / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository


@pytest.mark.parametrize("name", ["hf://somebody/my-faces", "somebody/my-faces", "somebody/my-faces@main"])
def test_a_repository_in_the_cache_is_a_recipe(toys, hub, name):
    method = load_method(name, device="cpu")
    assert method.name == name.removeprefix("hf://")
    assert method.detail is not None


def test_a_repository_that_cannot_be_had_is_one_clear_error(toys, hub, capsys):
    with pytest.raises(MissingAssetError, match=r"'somebody/else' is no recipe .* hub cannot be reached"):
        load_method("somebody/else")


def test_only_files_of_a_package_are_downloaded(toys, package, monkeypatch):
    asked = []

    def download(repository, file, **options):
        asked.append((repository, options["revision"], file))
        return str(package / file)

    there = [path.name for path in package.iterdir()]
    monkeypatch.setattr("emoca_core.runs.hub.has_file", lambda repository, file, revision: file in there)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert load_method("hf://somebody/thing@v2", device="cpu").detail is not None
    assert {(repository, revision) for repository, revision, _ in asked} == {("somebody/thing", "v2")}
    assert {"card.json", "weights.safetensors"} <= {name for _, _, name in asked} <= set(WANTED)
    there.clear()
    with pytest.raises(MissingAssetError, match=r"it holds none of card\.json, "):
        load_method("hf://somebody/thing")

    def missing(repository, **options):
        raise LocalEntryNotFoundError("nothing here")

    monkeypatch.setattr("emoca_core.runs.hub.has_file", lambda repository, file, revision: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", missing)
    with pytest.raises(MissingAssetError, match="not in the cache"):
        load_method("hf://somebody/thing")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hf://a/b", True), ("a/b", True), ("tests/b", False), ("a", False), ("a/b/c", False), ("/a/b", False)],
)
def test_what_means_a_repository(name, expected, tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_repository(name) is expected
