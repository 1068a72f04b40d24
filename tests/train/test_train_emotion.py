"""``emoca train emotion`` from pictures on disk to a trained backbone."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from launch import run_workers
from local_plugins import component_registry
from PIL import Image

import emoca_plugins as builtin
from emoca_core.cli import main
from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.errors import ParamsError
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction, FaceSample
from emoca_core.train.run_emotion import augment_face, train_emotion

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


def test_augmentation_depends_on_its_generator_alone():
    sample = FaceSample(torch.rand(3, 32, 32), "a", expression=2, valence=0.1, arousal=0.2)
    first, again, other = (augment_face(sample, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert (first.expression, first.valence, first.arousal) == (2, 0.1, 0.2)
    assert first.image.shape == sample.image.shape
