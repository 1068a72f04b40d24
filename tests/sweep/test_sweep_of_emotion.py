"""Emotion backbones in a sweep, as the command trains them."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from emoca_core.cli import main

COLOURS = {"Happiness": (230, 200, 40), "sad": (40, 60, 200), "confused": (220, 30, 30)}


@pytest.mark.slow
def test_class_sets_and_backbones_are_compared(tmp_path, capsys):
    rows, rng = [], np.random.default_rng(0)
    for i in range(36):
        name = list(COLOURS)[i % 3]
        pixels = np.clip(rng.normal(COLOURS[name], 25, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{'train' if i < 24 else 'validation'},{name}")
    (tmp_path / "faces.csv").write_text("path,split,expression\n" + "\n".join(rows) + "\n")
    plan = {
        "stage": "emotion",
        "backbone": "timm",
        "data": str(tmp_path / "faces.csv"),
        "seeds": [0],
        "backbone-set": {"model": "resnet18", "weights": "random"},
        "data-set": {"image_size": 32},
        "set": {"batch_size": 12, "epochs": 1, "tracker": "none"},
        "variants": {"two classes": {"classes": ["happy", "sad"]}, "all": {"classes": "data"}},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(plan))
    out = tmp_path / "out"
    assert main(["sweep", str(tmp_path / "sweep.yaml"), "--out", str(out)]) == 0
    assert "balanced accuracy" in capsys.readouterr().out
    best = {name: json.loads((out / name / "seed-0" / "best.json").read_text()) for name in ("two_classes", "all")}
    assert best["two_classes"]["labels"] == ["happy", "sad"]
    assert best["two_classes"]["labels_left_out"] == {"train": {"confused": 8}, "validation": {"confused": 4}}
    assert best["all"]["labels"] == ["happy", "sad", "confused"]
    assert (
        "8 rows have a class that is not among happy, sad: 'confused' 8" in (out / "two_classes/seed-0.log").read_text()
    )
    table = (out / "table.md").read_text()
    assert "highest score" in table and "valence" not in table, "what the data do not have is no column"
    assert not (out / "faces.png").exists()
