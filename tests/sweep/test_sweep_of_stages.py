"""A sweep of the real training with tiny parts, to its picture."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from emoca_core import Registry
from emoca_core.cli.demo_run import example_photos
from emoca_core.sweep import faces
from emoca_core.sweep.plan import read_plan
from emoca_core.sweep.sweep import draw_faces, run_sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import toy_stage

pytestmark = pytest.mark.slow
TRAIN = (sys.executable, toy_stage.__file__)


@pytest.fixture
def toys(monkeypatch):
    everything = Registry()
    everything.load_entry_points()
    toy_stage.add_components(everything)
    for module in ("registry", "api", "train.run_stage"):
        monkeypatch.setattr(f"emoca_core.{module}.get_registry", lambda: everything)


def read(file):
    with Image.open(file) as image:
        return np.asarray(image)


def test_a_killed_sweep_goes_on_to_table_and_picture(toys, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOCA_CATALOGUE", str(toy_stage.recipe_file(tmp_path)))
    whole = {"encoder.params.frozen": False, "landmarker": {"uses": "mediapipe"}}
    plan = {
        **{"stage": "coarse", "recipe": "toy", "data": "synthetic_faces", "seeds": [1], "recipe-set": whole},
        "variants": {"with emotion": {}, "without": {"recipe-set": {"losses.emotion.weight": 0}}},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(plan))
    plan = read_plan(tmp_path / "sweep.yaml")
    with monkeypatch.context() as patch:
        patch.setenv("TOY_KILL_AT", "5")
        with pytest.raises(Exception, match="killed by signal 9"):
            run_sweep(plan, tmp_path / "out", say=lambda line: None, command=TRAIN)
    result = run_sweep(plan, tmp_path / "out", say=lambda line: None, command=TRAIN)
    assert result.failures == []
    fresh = run_sweep(plan, tmp_path / "fresh", say=lambda line: None, command=TRAIN)
    for resumed, uninterrupted in zip(result.variants, fresh.variants, strict=True):
        assert resumed.runs[0].metrics == pytest.approx(uninterrupted.runs[0].metrics)
    a, b = (variant.means["expression_error"].value for variant in result.variants)
    assert a != b, "the variants differ"

    picture = read(draw_faces(plan, result, tmp_path / "out", faces=3, device="cpu"))
    step = faces.SIDE + faces._GAP
    assert picture.shape == (3 * step, faces._LABEL + 3 * step, 3)
    rows = [picture[row * step : row * step + faces.SIDE, faces._LABEL :].astype(int) for row in range(3)]
    assert all((row.std(axis=(0, 1)) > 5).all() for row in rows)
    assert abs(rows[0] - rows[1]).mean() > 5, "a mesh over the photo"

    photos = [str(photo) for photo in example_photos()[:1]]
    picture = read(draw_faces(plan, result, tmp_path / "out", photos=photos, device="cpu"))
    assert picture.shape == (3 * step, faces._LABEL + step, 3)
