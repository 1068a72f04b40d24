"""``emoca package``, and packages as recipes: from a folder, and from the cache of the Hugging Face hub."""

import importlib.metadata
import json
import os

import pytest
import torch
import yaml
from full_disk import room_for
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file

from emoca_core.api import load_method
from emoca_core.cli import main
from emoca_core.errors import AssetFormatError, EmocaError, MissingAssetError
from emoca_core.files import sha256_of
from emoca_core.registry.catalogue import load
from emoca_core.runs.hub import WANTED, is_repository
from emoca_core.runs.package import package_run


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
    import shutil

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
    from emoca_core.registry.catalogue import get_catalogue

    asset = tmp_path / "licensed.tar"
    asset.write_bytes(b"secret")
    monkeypatch.setattr(toys.resolve("encoder", "TinyRegressor"), "asset_paths", {"deca": asset}, raising=False)
    card = package_run(runs.coarse, tmp_path / "out", get_catalogue(registry=toys), toys)
    assert card["assets"]["deca"]["sha256"] == sha256_of(asset)
    readme = (tmp_path / "out/README.md").read_text()
    assert sha256_of(asset) in readme and card["assets"]["deca"]["obtain"] in readme
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_files_of_this_machine_are_refused(runs, toys, tmp_path):
    from emoca_core.registry.catalogue import Recipe, get_catalogue
    from emoca_core.runs.package import portable_recipe

    raw = json.loads((runs.coarse / "best.json").read_text())["recipe"]
    raw["face_model"]["params"] = {"file": "/home/me/head.npz"}
    with pytest.raises(EmocaError, match=r"face_model reads /home/me/head\.npz"):
        portable_recipe(Recipe.model_validate(raw), [], get_catalogue(registry=toys), toys)


@pytest.fixture
def hub(package, tmp_path, monkeypatch):
    """A cache of the hub that holds the package as ``somebody/my-faces``; the hub itself is out of reach."""
    import shutil

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
    asked = {}

    def download(repository, **options):
        asked.update(repository=repository, **options)
        return str(package)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_method("hf://somebody/thing@v2", device="cpu").detail is not None
    assert asked["repository"] == "somebody/thing" and asked["revision"] == "v2"
    assert "*.bin" not in asked["allow_patterns"] and "weights.safetensors" in asked["allow_patterns"]

    def missing(repository, **options):
        raise LocalEntryNotFoundError("nothing here")

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
