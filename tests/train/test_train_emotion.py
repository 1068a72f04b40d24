"""``emoca train emotion`` from pictures on disk to a trained backbone."""

import json
from typing import ClassVar

import numpy as np
import pytest
from launch import run_workers
from local_plugins import component_registry
from PIL import Image
from safetensors.torch import load_file

import emoca_plugins as builtin
from emoca_core.cli import main
from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.errors import ParamsError
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction
from emoca_core.train.run_emotion import train_emotion
from emoca_core.weights.write_tensors import write_tensors

COLOURS = {"happy": (230, 200, 40), "sad": (40, 60, 200), "anger": (220, 30, 30)}
SMALL = [
    *("--backbone", "timm", "--backbone-set", "model=resnet18", "--backbone-set", "weights=random"),
    *("--data-set", "image_size=32", "--set", "batch_size=12", "--set", "tracker=none", "--set", "learning_rate=0.003"),
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """60 noisy pictures whose colour tells the class."""
    folder, rows, rng = tmp_path_factory.mktemp("faces"), [], np.random.default_rng(0)
    for i in range(60):
        name = list(COLOURS)[i % 3]
        pixels = np.clip(rng.normal(COLOURS[name], 25, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        valence = {"happy": 0.7, "sad": -0.6, "anger": -0.5}[name] + rng.uniform(-0.2, 0.2)
        split = "validation" if i >= 42 else "train"
        rows.append(ManifestRow(f"{i}.png", split, name, float(valence), float(rng.uniform(-1, 1))))
    write_manifest(rows, folder / "m.parquet")
    return folder / "m.parquet"


def test_a_backbone_learns_and_can_be_resumed(manifest, tmp_path, capsys):
    command = ["train", "emotion", "--data", str(manifest), "--out", str(tmp_path / "run"), *SMALL]
    assert main([*command, "--set", "epochs=6"]) == 0
    assert "18 steps, best score" in capsys.readouterr().out
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["metrics"]["accuracy"] > 0.9
    assert best["emotion_backbone"]["uses"] == "timm"
    assert main([*command, "--set", "epochs=6"]) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "epochz=3"], "epochz: Extra inputs are not permitted (got 3) Did you mean 'epochs'?"),
        (["--set", "epochs"], "'epochs' is not a setting: write name=value"),
        (["--data", "nowhere.csv"], "there is no manifest nowhere.csv"),
        (["--backbone", "resnet51"], "Did you mean 'resnet50'?"),
        (["--splits", "train", "valid"], "no split 'valid'"),
        (["--augment-set", "rotate=200"], "rotate"),
        (["--objective-set", "smoothing=0.1"], "label_smoothing"),
        (["--objective-set", "teacher_weight=1"], "a teacher and a teacher_weight above 0 belong together"),
        (["--teacher", "resnet51"], "resnet50"),
        (["--teacher", "small"], "'small' has random weights"),
        (["--set", "batch_size=100"], "42 training samples are fewer than one batch of 100"),
    ],
)
def test_mistakes_get_one_clear_message(manifest, tmp_path, capsys, arguments, message):
    command = ["train", "emotion", "--data", str(manifest), "--out", str(tmp_path / "run"), *SMALL, *arguments]
    assert main(command) == 2
    assert message in capsys.readouterr().err


class TwoClasses(EmotionBackbone):
    """Recognises what it recognises."""

    labels = ("yes", "no")
    feature_dims: ClassVar = {"pixels": 3}

    def forward(self, image):
        return EmotionPrediction({"pixels": image.mean((2, 3))})


def test_a_backbone_with_classes_of_its_own_is_refused(manifest, tmp_path, monkeypatch):
    with component_registry("emotion_backbone", TwoClasses=TwoClasses) as registry:
        registry.add_plugin(builtin, "builtin")
        monkeypatch.setattr("emoca_core.train.run_emotion.get_registry", lambda: registry)
        with pytest.raises(ParamsError, match=r"TwoClasses cannot learn the classes neutral.*: it recognises yes, no"):
            train_emotion("TwoClasses", manifest, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_say_once_what_they_did(manifest, tmp_path):
    task = ["train", "emotion", "--data", str(manifest), "--out", str(tmp_path / "run"), *SMALL, "--set", "epochs=1"]
    done = run_workers("emoca_core", *task)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 steps") == 1
    assert "Warning" not in done.stderr


def test_everything_that_helps_can_be_asked_for(manifest, tmp_path, monkeypatch):
    """From a trunk that was trained elsewhere, on kept cuts, mixed, with the run before as the teacher."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))
    command = ["train", "emotion", "--data", str(manifest), *SMALL, "--set", "epochs=4"]
    assert main([*command, "--out", str(tmp_path / "first")]) == 0
    state = load_file(tmp_path / "first" / "best.safetensors")
    trunk = {n.removeprefix("trunk."): t for n, t in state.items() if n.startswith("trunk.")}
    write_tensors(tmp_path / "trunk.safetensors", trunk)
    options = {
        "--backbone-set": [f"weights={tmp_path / 'trunk.safetensors'}"],
        "--data-set": ["keep=true"],
        "--set": ["warmup_steps=2", "schedule=cosine", "average=0.9", "channels_last=true"],
        "--objective-set": ["label_smoothing=0.1", "mixup=0.2", "temperature=2", "teacher_weight=0.5"],
        "--augment-set": ["rotate=15", "blur=0.3", "jpeg=0.3", "grey=0.2", "contrast=0.2", "erase=0.2", "fill=border"],
    }
    more = [word for option, values in options.items() for value in values for word in (option, value)]
    assert main([*command, "--out", str(tmp_path / "second"), "--teacher", str(tmp_path / "first"), *more]) == 0
    best = json.loads((tmp_path / "second" / "best.json").read_text())
    assert best["metrics"]["accuracy"] > 0.9
    assert best["augmentation"]["blur"] == 0.3 and best["objective"]["mixup"] == 0.2
    assert len(list((tmp_path / "cache" / "cuts").iterdir())) == 2
    assert len(list((tmp_path / "cache" / "teachers").iterdir())) == 1
    logged = (tmp_path / "second" / "metrics.jsonl").read_text()
    assert "train/teacher" in logged
