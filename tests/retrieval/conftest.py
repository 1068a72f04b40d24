"""Toy faces whose colour is their label, and an index of them."""

import shutil

import pytest
from toy_benchmark import RECIPES, make_manifest, toy_registry

from emoca_core.probe import sources
from emoca_core.registry.catalogue import load
from emoca_core.retrieval import build, build_index, open_index, query


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def toys(tmp_path_factory):
    """The toy components and recipes in place of the project's."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "toys.yaml").write_text(RECIPES)
    catalogue, registry = load([folder / "toys.yaml"]), toy_registry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(sources, "get_catalogue", lambda: catalogue)
        for module in (sources, build, query):
            patch.setattr(module, "get_registry", lambda: registry)
        yield


@pytest.fixture(scope="session")
def manifest_file(tmp_path_factory):
    return make_manifest(tmp_path_factory.mktemp("indexes") / "toys")


@pytest.fixture(scope="session")
def made(manifest_file, toys):
    out = manifest_file.parents[1] / "made"
    return build_index(manifest_file, "emotion:ColourBackbone", out, landmarker="ToyLandmarker").index.folder


@pytest.fixture
def index(made, request):
    """By the colour, which is the label; a copy for every test, beside the first so that it finds the photos."""
    own = made.with_name(f"index-{abs(hash(request.node.nodeid))}")
    yield open_index(shutil.copytree(made, own))
    shutil.rmtree(own)


@pytest.fixture
def few(tmp_path):
    """A manifest of twelve faces."""
    return make_manifest(tmp_path / "few", faces=12)
