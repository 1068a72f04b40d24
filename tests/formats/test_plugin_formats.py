"""A plugin teaches ``emoca assets add`` its files, and cannot hurt the others."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from emoca_core import Registry, hookimpl
from emoca_core.errors import AssetFormatError
from emoca_core.formats import Arrays, Bundle, Content, Format, open_asset, open_content
from emoca_core.formats.add import add_files
from emoca_core.formats.known import known_formats
from emoca_core.registry.assets import find_asset


def _convert(content: Content) -> Arrays:
    return {"mean": content.array("mean_face").reshape(-1, 3), "faces": content.array("tri").astype(np.int64) - 1}


def _join(parts: dict[str, Content]) -> Arrays:
    return {"mean": parts["left"].array("left_half"), "faces": parts["right"].array("right_half")}


MODEL = Format("my_model", ("my_asset",), {"mean_face": "N", "tri": "_ 3"}, _convert, indices={"faces": "mean"})
PAIR = Bundle("my_asset", "my_model", {"left": "left.pkl", "right": "right.pkl"}, _join)
LEFT = Format("left", ("my_asset",), {"left_half": "_ 3"}, part_of=PAIR)
RIGHT = Format("right", ("my_asset",), {"right_half": "_ 3"}, part_of=PAIR)
FORMATS = (MODEL, LEFT, RIGHT)


def plugin(*targets: object) -> type:
    class Plugin:
        @staticmethod
        @hookimpl
        def emoca_formats() -> object:
            return targets

    return Plugin


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    module = types.ModuleType("my_formats")
    vars(module).update(FORMATS=FORMATS, WRONG=(3,), CLASH=(Format("my_model", ("other",), {}),))
    monkeypatch.setitem(sys.modules, "my_formats", module)
    made = Registry()
    made.add_plugin(plugin("my_formats:FORMATS"), "mine")
    return made


def published(path: Path, faces: list[list[int]], mean: object = 0.0) -> Path:
    path.write_bytes(pickle.dumps({"mean_face": np.full(12, mean), "tri": np.array(faces)}))
    return path


def test_a_file_that_only_the_plugin_knows(registry: Registry, tmp_path: Path) -> None:
    path = published(tmp_path / "x.bin", [[1, 2, 4]])
    (added,) = add_files([path], registry=registry)
    assert added.record is not None and (added.record.name, added.record.format) == ("my_asset", "my_model")
    for given in (find_asset("my_asset"), path):
        assert open_asset(given, MODEL).array("faces").tolist() == [[0, 1, 3]]


@pytest.mark.parametrize(
    ("faces", "mean", "message"),
    [
        ([[1, 2, 5]], 0.0, "faces refers to 4, and mean has 4 rows"),
        ([[0, 1, 2]], 0.0, "faces refers to -1"),
        ([[1, 2, 3]], np.nan, "NaN or infinity: mean"),
        ([[1, 2, 3]], -np.inf, "NaN or infinity: mean"),
    ],
)
def test_numbers_that_no_model_can_have_are_refused_when_added_and_when_opened(
    registry: Registry, tmp_path: Path, faces: list[list[int]], mean: float, message: str
) -> None:
    path = published(tmp_path / "x.bin", faces, mean)
    (added,) = add_files([path], registry=registry)
    assert added.record is None and message in str(added.problem)
    assert not (tmp_path / "assets" / "my_asset.npz").exists()
    with pytest.raises(AssetFormatError, match=message):
        open_asset(path, MODEL)


def test_a_bundle_is_built_from_its_parts_and_checked_as_the_whole(registry: Registry, tmp_path: Path) -> None:
    left, right = tmp_path / "left.pkl", tmp_path / "right.pkl"
    left.write_bytes(pickle.dumps({"left_half": np.zeros((4, 3))}))
    right.write_bytes(pickle.dumps({"right_half": np.array([[0, 1, 4]])}))
    (alone,) = add_files([left], registry=registry)
    assert "add it together with: right (right.pkl)" in str(alone.problem)
    (wrong,) = add_files([left, right], registry=registry)
    assert "do not fit together" in str(wrong.problem) and "faces refers to 4" in str(wrong.problem)
    right.write_bytes(pickle.dumps({"right_half": np.array([[0, 1, 3]])}))
    (added,) = add_files([left, right], registry=registry)
    assert added.record is not None and added.record.origin == "left.pkl+right.pkl"


@pytest.mark.parametrize("target", ["nowhere:FORMATS", "my_formats:NOTHING", "my_formats:WRONG", "my_formats:CLASH"])
def test_a_broken_table_costs_its_plugin_alone(registry: Registry, target: str) -> None:
    registry.add_plugin(plugin(target), "theirs")
    assert known_formats(registry) == FORMATS
    assert {problem.origin.plugin for problem in registry.problems} == {"theirs"}


def test_without_plugins_nothing_is_known(tmp_path: Path) -> None:
    path = published(tmp_path / "x.bin", [[1, 2, 3]])
    assert open_content(path).shapes == {"mean_face": (12,), "tri": (1, 3)}
    (added,) = add_files([path], registry=Registry())
    assert "not a published model this project knows" in str(added.problem)
