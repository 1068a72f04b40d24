"""No label is dropped without a word: at every entrance what is not used is counted and named."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_benchmark import ToyLandmarker

from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.labels import choose_classes, count_labels, usable_labels
from emoca_core.errors import AssetFormatError, ParamsError
from emoca_core.vocabulary.emotions import BASIC_EXPRESSIONS


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def manifest(folder, names, per_split=12):
    """A small picture for every row; the names go round."""
    rows, rng = [], np.random.default_rng(0)
    for split in ("train", "validation"):
        for i in range(per_split):
            name = f"{split}{i}.png"
            Image.fromarray(rng.integers(1, 255, (40, 40, 3)).astype(np.uint8)).save(folder / name)
            rows.append(f"{name},{split},{names[i % len(names)]}")
    file = folder / "faces.csv"
    file.write_text("path,split,expression\n" + "\n".join(rows) + "\n")
    return file


def check(file, out, *classes):
    return main(["data", "check", str(file), *classes])


def train(file, out, *classes):
    small = ["--backbone", "timm", "--backbone-set", "model=resnet18", "--backbone-set", "weights=random"]
    small += ["--data-set", "image_size=32", "--set", "batch_size=4", "--set", "max_steps=1", "--set", "tracker=none"]
    return main(["train", "emotion", "--data", str(file), "--out", str(out), *small, *classes])


def benchmark(file, out, *classes):
    probe = [f"--set={s}" for s in ("width=4", "hidden_layers=0", "epochs=1", "batch_size=4")]
    names = ["--methods", "small", "--folds", "3", "--no-faces", "--resamples", "5", *probe]
    return main(["benchmark", "--data", str(file), "--out", str(out), *names, *classes])


ENTRANCES = {"data check": check, "train emotion": train, "benchmark": benchmark}


@pytest.fixture
def toy_landmarker(monkeypatch):
    """Random colours are no faces to MediaPipe."""
    from emoca_core.registry import Registry

    build = Registry.build
    monkeypatch.setattr(
        Registry,
        "build",
        lambda self, kind, *rest: ToyLandmarker() if kind == "landmarker" else build(self, kind, *rest),
    )


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_what_is_not_used_is_counted_and_named(tmp_path, capsys, entrance, toy_landmarker):
    file = manifest(tmp_path, ["Happiness", "sadness", "angri", "3.0"])
    code = ENTRANCES[entrance](file, tmp_path / "out", "--classes", "happy,sad,anger")
    said = capsys.readouterr()
    text = said.out + said.err
    assert "rows have a class that is not among happy, sad, anger: " in text
    share = 3 if entrance == "train emotion" else 6  # training speaks of each split
    assert f"'angri' {share} Did you mean 'anger'?" in text and f"'3' {share}" in text
    assert "a number does not say which expression it is" in text
    assert code == (1 if entrance == "data check" else 0)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_synonyms_are_classes_and_nothing_is_left_out(tmp_path, capsys, entrance, toy_landmarker):
    file = manifest(tmp_path, ["Happiness", "SAD", "angry"])
    assert ENTRANCES[entrance](file, tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "not among" not in said.out + said.err


@pytest.mark.parametrize("entrance", ["data check", "train emotion"])
def test_contempt_is_named_alike_where_no_classes_are_given(tmp_path, capsys, entrance):
    file = manifest(tmp_path, ["happy", "sad", "contempt"])
    assert ENTRANCES[entrance](file, tmp_path / "out") == (1 if entrance == "data check" else 0)
    share, seven = (4 if entrance == "train emotion" else 8), ", ".join(BASIC_EXPRESSIONS)
    assert f": {share} rows have a class that is not among {seven}: 'contempt' {share}\n" in capsys.readouterr().err


@pytest.mark.parametrize("entrance", ["train emotion", "benchmark"])
def test_no_usable_row_is_an_error(tmp_path, capsys, entrance, toy_landmarker):
    file = manifest(tmp_path, ["0.0", "3.0"])
    assert ENTRANCES[entrance](file, tmp_path / "out", "--classes", "happy,sad") == 2
    error = capsys.readouterr().err
    assert "no row has an expression of the task, or valence and arousal" in error
    assert "'0' " in error and "data import table" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_class_set_may_come_from_the_data(tmp_path, capsys, entrance, toy_landmarker):
    file = manifest(tmp_path, ["happy", "confused"])
    out = tmp_path / "out"
    assert ENTRANCES[entrance](file, out, "--classes", "data") == 0
    said = capsys.readouterr()
    assert "classes that only these data have: confused" in said.out + said.err
    if entrance == "train emotion":
        best = json.loads((out / "best.json").read_text())
        assert best["labels"] == ["happy", "confused"] == best["emotion_backbone"]["params"]["labels"]
        assert best["labels_left_out"] == {"train": {}, "validation": {}}
    if entrance == "benchmark":
        assert json.loads((out / "result.json").read_text())["data"]["labels"] == ["happy", "confused"]


def test_named_numbers_become_classes(tmp_path, capsys):
    """The way that the message names, from a hand-written list to a manifest whose rows are all used."""
    file, out = manifest(tmp_path, ["0.0", "3.0"]), tmp_path / "named.csv"
    words = ["--root", str(tmp_path), "--csv", str(file), "--classes", "neutral,happy,sad,surprise"]
    assert main(["data", "import", "table", *words, "--out", str(out)]) == 0
    assert set(Manifest.open(out).texts("expression")) == {"neutral", "surprise"}


def test_counts(tmp_path):
    rows = [
        ManifestRow("a", None, "Happy", 0.5, 0.5),
        ManifestRow("b", None, "odd", 0.5),
        ManifestRow("c", None, "contempt", arousal=0.5),
        ManifestRow("d"),
    ]
    write_manifest(rows, tmp_path / "m.parquet")
    opened = Manifest.open(tmp_path / "m.parquet")
    counts = count_labels(opened, ("happy", "sad"))
    assert counts.used == {"happy": 1, "sad": 0} and counts.left_out == {"odd": 1, "contempt": 1}
    assert (counts.valence_arousal, counts.one_level, counts.usable) == (1, 2, 1)
    assert "2 rows have only one of valence and arousal" in counts.notes()[-1]
    assert opened.classes(("Happiness",)).tolist() == [0, -1, -1, -1], "classes may be named by synonyms, too"
    assert choose_classes("data", opened) == ("happy", "contempt", "odd")
    assert choose_classes(["Joy", "sadness"], opened) == ("happy", "sad")
    for odd in (["happy", "joy"], [], ["happy", " "]):
        with pytest.raises(ParamsError, match="every class once"):
            choose_classes(odd, opened)
    write_manifest(rows[1:], tmp_path / "none.csv")
    with pytest.raises(AssetFormatError, match=r"my rows: no row has .*'odd' 1"):
        usable_labels(Manifest.open(tmp_path / "none.csv"), ("happy",), "my rows")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--no-balanced", "--classes", "data"], "names no expression: leave --classes out"),
        ([], "--no-balanced does without"),
    ],
)
def test_valence_and_arousal_alone_say_how(tmp_path, capsys, words, message):
    file = manifest(tmp_path, [""])
    lines = file.read_text().splitlines()
    file.write_text(
        "\n".join(["path,split,valence,arousal", *(f"{line}0.5,{n / 30}" for n, line in enumerate(lines[1:]))])
    )
    assert train(file, tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err


def test_the_classes_of_data_and_network_cannot_differ(tmp_path, capsys):
    file = manifest(tmp_path, ["happy", "sad"])
    assert train(file, tmp_path / "out", "--data-set", "labels=[sad, happy]") == 2
    assert "name them by `classes`" in capsys.readouterr().err
