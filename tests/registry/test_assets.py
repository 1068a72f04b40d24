"""The asset folder: finding, missing, adding, recording, and the command line on top."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_flame
from full_disk import room_for

from emoca_core.cli import main
from emoca_core.errors import AssetFormatError, MissingAssetError, OutputError, UnknownNameError
from emoca_core.formats.add import add_files
from emoca_core.formats.known import known_formats, names_of
from emoca_core.registry import get_registry
from emoca_core.registry.assets import asset_folder, find_asset, find_assets, has_asset, read_index
from emoca_core.registry.catalogue import get_catalogue


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "published"
    tiny_flame.write_all(path)
    return path


def statistics(path: Path, value: float = 1.0) -> Path:
    path.write_bytes(pickle.dumps({"mean": np.zeros(62), "std": np.full(62, value)}))
    return path


# ------------------------------------------------------------------------------------------ finding


def test_folder_is_named_by_the_environment_or_the_platform(folder, monkeypatch):
    assert asset_folder() == folder
    monkeypatch.setenv("EMOCA_ASSETS", "~/faces")
    assert asset_folder() == Path.home() / "faces"
    monkeypatch.delenv("EMOCA_ASSETS")
    assert asset_folder().is_absolute() and "emoca" in asset_folder().parts


def test_given_path_wins(folder, published):
    list(add_files([published / "generic_model.pkl"]))
    assert find_asset("flame") == folder / "flame.npz"
    assert find_asset("flame", published / "generic_model.pkl") == published / "generic_model.pkl"
    assert find_asset("flame", str(published / "head_template.obj")) == published / "head_template.obj"


def test_a_full_disk_names_the_asset_folder(folder, published):
    with room_for(1000), pytest.raises(OutputError, match=f"^cannot write to {folder}: "):
        list(add_files([published / "generic_model.pkl"]))
    assert [path.name for path in folder.iterdir()] == []


def test_missing_says_all_a_user_needs(folder):
    with pytest.raises(MissingAssetError) as caught:
        find_asset("flame")
    text = str(caught.value)
    card = get_catalogue().assets["flame"]
    for part in ("'flame'", "generic_model.pkl", str(folder), "EMOCA_ASSETS", card.license, card.obtain):
        assert part in text
    assert "emoca assets add generic_model.pkl" in text


def test_missing_given_path_is_named(folder, tmp_path):
    with pytest.raises(MissingAssetError, match="the given path does not exist"):
        find_asset("flame", tmp_path / "nowhere.pkl")


def test_missing_lists_everything(folder):
    with pytest.raises(MissingAssetError) as caught:
        find_assets({"flame": None, "bfm09": None, "gnm_head": None})
    assert all(f"missing asset '{name}'" in str(caught.value) for name in ("flame", "bfm09", "gnm_head"))


def test_file_that_lies_there_but_was_not_added(folder, published):
    folder.mkdir()
    (folder / "generic_model.pkl").write_bytes((published / "generic_model.pkl").read_bytes())
    with pytest.raises(MissingAssetError, match=r"not added yet: .*generic_model\.pkl"):
        find_asset("flame")


def test_converted_file_that_is_gone(folder, tmp_path):
    list(add_files([statistics(tmp_path / "s.pkl")]))
    assert has_asset("tddfa_statistics")
    (folder / "tddfa_statistics.npz").unlink()
    assert not has_asset("tddfa_statistics")
    with pytest.raises(MissingAssetError, match=r"lists it, but .*tddfa_statistics\.npz is gone"):
        find_asset("tddfa_statistics")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 9, "assets": {}}', '{"version":1,"assets":{"a":{}}}']
)
def test_damaged_index_is_one_clear_error(folder, text):
    folder.mkdir()
    (folder / "assets.json").write_text(text)
    with pytest.raises(AssetFormatError, match=r"assets\.json"):
        find_asset("flame")


def test_every_recognisable_asset_has_a_card_and_the_other_way_round():
    assert set(names_of(known_formats(get_registry()))) == set(get_catalogue().assets)


def test_every_card_of_a_component_names_existing_assets():
    catalogue = get_catalogue()
    for cards in catalogue.components.values():
        for card in cards.values():
            assert set(card.assets) <= set(catalogue.assets)


def test_importing_is_light():
    code = "import sys, emoca_core.registry.assets; print({'torch', 'numpy', 'scipy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# ------------------------------------------------------------------------------------------ adding


def test_a_folder_of_published_files(folder, published):
    (published / "notes.txt").write_text("something else")
    (published / "empty.bin").touch()
    renamed = published / "model.dat"
    (published / "generic_model.pkl").rename(renamed)
    results = list(add_files([published]))
    assert [added.problem for added in results] == [None] * len(results)
    names = {added.record.name for added in results}
    wanted = {"flame", "flame_landmarks", "flame_template", "flame_mediapipe_landmarks", "flame_masks"}
    assert names == wanted | {f"flame_{n}" for n in ("eyelid_left", "eyelid_right", "texture", "albedo_from_bfm")}
    record = read_index()["flame"]
    assert (record.origin, record.format) == ("model.dat", "flame_model")
    assert record.origin_sha256 == hashlib.sha256(renamed.read_bytes()).hexdigest()
    assert record.sha256 == hashlib.sha256((folder / "flame.npz").read_bytes()).hexdigest()
    assert all(find_asset(name).is_file() for name in names)
    with np.load(folder / "flame.npz", allow_pickle=False) as converted:  # nothing in it needs pickle any more
        assert all(converted[name].dtype != object for name in converted.files)


def test_adding_again_changes_nothing(folder, tmp_path):
    path = statistics(tmp_path / "s.pkl")
    list(add_files([path]))
    before = (folder / "assets.json").read_bytes(), (folder / "tddfa_statistics.npz").stat().st_mtime_ns
    (again,) = add_files([path])
    assert again.unchanged
    assert before == ((folder / "assets.json").read_bytes(), (folder / "tddfa_statistics.npz").stat().st_mtime_ns)


def test_another_file_replaces_and_others_stay(folder, published, tmp_path):
    list(add_files([statistics(tmp_path / "s.pkl"), published / "head_template.obj"]))
    (added,) = add_files([statistics(tmp_path / "s.pkl", 2.0)])
    assert not added.unchanged and added.replaced == "s.pkl"
    assert set(read_index()) == {"tddfa_statistics", "flame_template"}
    assert np.load(find_asset("tddfa_statistics"))["std"][0] == 2.0


def test_of_two_files_that_are_the_same_asset_the_first_is_taken_and_the_second_named(folder, tmp_path):
    (tmp_path / "in").mkdir()
    first, second = statistics(tmp_path / "in" / "a.pkl"), statistics(tmp_path / "in" / "b.pkl", 2.0)
    for given in ([first, second], [tmp_path / "in"]):
        taken, refused = add_files(given)
        assert taken.record.origin == "a.pkl"
        assert refused.record is None and "b.pkl is 'tddfa_statistics', as" in refused.problem


def test_name_decides_between_editions(folder, published):
    (added,) = add_files([published / "generic_model.pkl"], name="flame_2023")
    assert added.record.name == "flame_2023" and not has_asset("flame")
    (refused,) = add_files([published / "generic_model.pkl"], name="bfm09")
    assert "cannot be 'bfm09'" in refused.problem
    with pytest.raises(UnknownNameError, match="Did you mean 'flame'"):
        list(add_files([published / "generic_model.pkl"], name="flam"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("v_template", np.nan, "holds NaN or infinity: v_template"),
        ("posedirs", np.inf, "holds NaN or infinity: posedirs"),
        ("f", 10**6, "faces refers to 1000000, and v_template has"),
    ],
)
def test_a_model_with_impossible_numbers_is_refused_when_it_is_added(folder, tmp_path, name, value, message):
    arrays = {key: np.array(array) for key, array in tiny_flame.tiny_arrays().items()}
    arrays[name][0, 0] = value
    (refused,) = add_files([tiny_flame.write_model(tmp_path / "generic_model.pkl", arrays)])
    assert message in refused.problem and not has_asset("flame")


def test_failed_write_leaves_nothing(folder, tmp_path, monkeypatch):
    path = statistics(tmp_path / "s.pkl")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        list(add_files([path]))
    assert list(folder.iterdir()) == []


def test_an_incomplete_network_is_refused_when_it_is_added(folder, tmp_path):
    published = pytest.importorskip("published")
    published.write_tf_bundle(
        tmp_path / "model-400000", {"resnet_v1_50/logits/weights": np.ones((1, 1, 2048, 257), "f4")}
    )
    (added,) = add_files([tmp_path / "model-400000.index"])
    assert "does not fit the network" in added.problem and "missing: network.conv1.weight" in added.problem
    assert not has_asset("mgcnet")


# ------------------------------------------------------------------------------------------ command line


def test_add_and_list(folder, published, capsys):
    assert main(["assets", "add", str(published / "generic_model.pkl")]) == 0
    assert "flame added as flame.npz (licence: non-commercial" in capsys.readouterr().out
    assert main(["assets", "--verify"]) == 0
    out = capsys.readouterr().out
    assert f"+ flame  {folder / 'flame.npz'}" in out and "from     generic_model.pkl (sha256 " in out
    assert "- bfm09  missing" in out and "faces.dmi.unibas.ch" in out
    assert all(name in out for name in get_catalogue().assets)


def test_verify_finds_damage(folder, tmp_path, capsys):
    list(add_files([statistics(tmp_path / "s.pkl")]))
    with open(folder / "tddfa_statistics.npz", "ab") as file:
        file.write(b"x")
    assert main(["assets"]) == 0
    assert main(["assets", "--verify"]) == 2
    assert "DAMAGED" in capsys.readouterr().out


def test_recipe_limits_the_list(folder, tmp_path, capsys):
    mine = tmp_path / "registry.yaml"
    parts = "encoder: {uses: landmark_fit}\n    face_model: {uses: ict_facekit}\n    renderer: {uses: zbuffer}"
    mine.write_text(f"version: 1\nrecipes:\n  mine:\n    summary: mine\n    {parts}\n")
    assert main(["--catalogue", str(mine), "assets", "--recipe", "mine"]) == 0
    out = capsys.readouterr().out
    assert "- ict_facekit  missing" in out and "used by  mine" in out and "bfm09" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "nowhere.pkl"], "there is no file nowhere.pkl"),
        (["add", "{tmp}/words.txt"], "is not a published model this project knows"),
        (["add", "{tmp}/words.txt", "--name", "flmae"], "Did you mean 'flame'"),
        (["add", "{tmp}/folder"], "none of these files is a published model"),
        (["add"], "the following arguments are required: FILE"),
        (["--recipe", "nonsense"], "no recipe named 'nonsense'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, tmp_path, capsys, arguments, message):
    (tmp_path / "words.txt").write_text("just words")
    (tmp_path / "folder").mkdir()
    assert main(["assets", *(argument.format(tmp=tmp_path) for argument in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_good_files_are_taken_beside_bad_ones(folder, tmp_path, capsys):
    (tmp_path / "words.txt").write_text("just words")
    good = statistics(tmp_path / "s.pkl")
    assert main(["assets", "add", str(tmp_path / "words.txt"), str(good)]) == 2
    assert has_asset("tddfa_statistics")
    assert "words.txt" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_unwritable_folder_is_one_line(folder, tmp_path, capsys):
    folder.mkdir(mode=0o500)
    assert main(["assets", "add", str(statistics(tmp_path / "s.pkl"))]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_index_is_readable_json(folder, tmp_path):
    list(add_files([statistics(tmp_path / "s.pkl")]))
    index = json.loads((folder / "assets.json").read_text())
    assert index["version"] == 1
    assert set(index["assets"]["tddfa_statistics"]) == {
        *("file", "sha256", "format", "origin", "origin_sha256", "added"),
    }


def test_two_that_add_at_once_lose_nothing(folder, published, tmp_path, monkeypatch):
    from emoca_core.formats import add

    read = add.read_index

    def slowly(folder):
        index = read(folder)
        time.sleep(0.2)  # the other one writes its entry meanwhile
        return index

    monkeypatch.setattr(add, "read_index", slowly)
    files = published / "generic_model.pkl", statistics(tmp_path / "param_mean_std_62d_120x120.pkl")
    threads = [threading.Thread(target=lambda file=file: list(add_files([file]))) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(read(folder)) == 2 and not list(folder.glob(".*"))
