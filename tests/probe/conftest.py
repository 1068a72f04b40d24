"""A cache of its own for every test, and the toy data."""

import pytest
from toy_benchmark import make_manifest

from emoca_core.datasets import Manifest


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory):
    """For fixtures that live longer than a test: never the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def manifest_file(tmp_path_factory):
    return make_manifest(tmp_path_factory.mktemp("toys"))


@pytest.fixture
def manifest(manifest_file):
    return Manifest.open(manifest_file)
