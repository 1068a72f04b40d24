"""``emoca sweep``: what is run, what goes on after failures and kills, and what the table says."""

import csv
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from emoca_core.cli import main
from emoca_core.cli.cli_settings import settings_from
from emoca_core.errors import EmocaError, ParamsError, UnknownNameError
from emoca_core.sweep import running, table
from emoca_core.sweep.plan import read_plan, runs_of
from emoca_core.sweep.statistics import mean_of, paired_difference
from emoca_core.sweep.sweep import run_sweep

FAKE = (sys.executable, str(Path(__file__).parent / "fake_train.py"))
PLAN = {
    "stage": "coarse",
    "recipe": "open_deca",
    "data": "synthetic_faces",
    "seeds": [0, 1, 2],
    "set": {"learning_rate": 0.1, "validation_data.length": 8},
    "variants": {"base": None, "fast one": {"set": {"learning_rate": 0.2}}},
}

EMOTION = {"stage": "emotion", "recipe": None, "backbone": "small"}


def written(folder, **changes):
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump({**PLAN, **changes}, sort_keys=False))
    return file


def sweep(folder, say=lambda line: None, *, table_only=False, jobs=1, **changes):
    plan = read_plan(written(folder, **changes))
    return run_sweep(plan, folder / "out", say=say, command=FAKE, table_only=table_only, jobs=jobs)


def attempts(folder):
    return {str(p.parent.relative_to(folder / "out")): p.read_text().split() for p in folder.rglob("attempts.txt")}


# the plan


def test_arguments_are_those_of_the_training_command(tmp_path):
    file = written(
        tmp_path,
        start="runs/a",
        variants={
            "first": {},
            "second": {
                "start": "runs/b",
                "emotion": "runs/swin",
                "set": {"learning_rate": 1e-5, "exchange": {"shape": "same"}},
                "recipe-set": {"losses.emotion.weight": 0, "losses": {"detail.photometric": {"weight": 2.5}}},
                "data-set": {"image_size": 112},
            },
        },
    )
    first, second = runs_of(read_plan(file), tmp_path / "out")[:2]
    assert (first.variant, first.seed, second.variant) == ("first", 0, "second"), "every variant before the next seed"
    given = list(second.arguments)
    assert given[:3] == ["coarse", "--out", str(tmp_path / "out/second/seed-0")]
    options = {o: [v for k, v in zip(given[1::2], given[2::2], strict=True) if k == o] for o in given[1::2]}
    assert options["--start"] == ["runs/b"] and options["--emotion"] == ["runs/swin"]
    assert settings_from(options["--set"]) == {
        "learning_rate": 1e-5,
        "validation_data": {"length": 8},
        "exchange": {"shape": "same"},
        "seed": 0,
    }
    # a loss may have a dot in its name
    assert settings_from(options["--recipe-set"]) == {
        "losses": {"emotion": {"weight": 0}, "detail.photometric": {"weight": 2.5}}
    }
    assert settings_from(options["--data-set"]) == {"image_size": 112}
    assert "runs/a" in first.arguments


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": {}}, r"variant: Extra inputs .* Did you mean 'variants'"),
        ({"variants": {}}, "variants: Dictionary should have at least 1 item"),
        ({"variants": {"a/b": {}}}, "'a/b' cannot be the name of a folder"),
        ({"variants": {"a b": {}, "A_b": {}}}, "'A_b' would share a folder with 'a b'"),
        ({"variants": {"table.md": {}}}, "'table.md' would share a folder with a file of the sweep"),
        ({"variants": {"a\x1b[2J": {}}}, "cannot be the name of a folder"),
        ({"variants": [1]}, "variants: Input should be a valid dictionary"),
        ({"variants": {"a": 3}}, "variants.a: Input should be a valid dictionary"),
        ({"set": [1]}, "set: Input should be a valid dictionary"),
        ({"seeds": [1, 1]}, "every seed once"),
        ({"seeds": [-1]}, "seeds.0: Input should be greater than or equal to 0"),
        ({"seeds": [2**32]}, "seeds.0: Input should be less than or equal to 4294967295"),
        ({"recipe": None}, "variant 'base' has no recipe"),
        ({"set": {"seed": 3}}, "'seed' under 'set' is set by 'seeds'"),
        ({"stage": "both"}, "Input should be 'coarse', 'detail' or 'emotion'"),
        ({"backbone": "small"}, "'backbone' is not of the stage coarse, which has recipe, data, start, emotion"),
        ({"stage": "emotion"}, "'recipe' is not of the stage emotion, which has backbone, data, preset, classes"),
        ({"stage": "emotion", "recipe": None}, "variant 'base' has no backbone"),
        (
            {"stage": "emotion", "recipe": None, "backbone": "small", "variants": {"a": {"start": "r"}}},
            "'start' is not",
        ),
        (
            {"stage": "emotion", "recipe": None, "backbone": "small", "backbone-set": {"seed": 1}},
            "under 'backbone-set'",
        ),
        ({"set": {".a": 3}}, "'.a' is not the name of a setting"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, change, message):
    with pytest.raises(ParamsError, match=message):
        read_plan(written(tmp_path, **change))


def test_a_file_that_is_no_sweep(tmp_path):
    with pytest.raises(EmocaError, match=r"cannot read .*gone.yaml"):
        read_plan(tmp_path / "gone.yaml")
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(EmocaError, match="is not valid YAML"):
        read_plan(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(EmocaError, match="must hold stage, recipe"):
        read_plan(tmp_path / "b.yaml")


def test_arguments_of_an_emotion_backbone(tmp_path):
    changes = {
        "recipe": None,
        "stage": "emotion",
        "data": "faces.csv",
        "backbone": "small",
        "classes": ["sad", "happy"],
    }
    variants = {"a": {}, "b": {"backbone": "resnet50", "classes": "data", "backbone-set": {"weights": "random"}}}
    runs = runs_of(read_plan(written(tmp_path, **changes, set={}, seeds=[4], variants=variants)), tmp_path / "out")
    assert [list(run.arguments[3:]) for run in runs] == [
        ["--backbone", "small", "--data", "faces.csv", "--classes", "sad,happy", "--set", "seed=4"],
        [
            *("--backbone", "resnet50", "--data", "faces.csv", "--classes", "data", "--set", "seed=4"),
            *("--backbone-set", "weights=random"),
        ],
    ]


# running


def test_finished_runs_are_skipped_and_new_ones_added(tmp_path):
    sweep(tmp_path, seeds=[0])
    lines = []
    sweep(tmp_path, lines.append)
    assert lines[0] == "2 of 6 runs finished before" and lines[-1].startswith("[6/6] fast one, seed 2: ")
    assert len(attempts(tmp_path)) == 6 and all(done == ["begun"] for done in attempts(tmp_path).values())


def test_failures_are_listed_and_the_others_go_on(tmp_path):
    lines = []
    variants = {"base": {}, "broken": {"recipe-set": {"model": "broken"}}, "last": {}}
    result = sweep(tmp_path, lines.append, variants=variants, seeds=[0])
    assert [len(variant.runs) for variant in result.variants] == [1, 0, 1]
    assert result.failures == ["broken, seed 0: it cannot be trained: the model is broken"]
    assert "Missing: broken, seed 0: it cannot be trained" in (tmp_path / "out/table.md").read_text()
    assert any("FAILED: it cannot be trained" in line for line in lines)
    sweep(tmp_path, variants=variants, seeds=[0])
    assert attempts(tmp_path)["broken/seed-0"] == ["begun", "resumed"], "nothing is deleted: it goes on from the start"
    assert attempts(tmp_path)["base/seed-0"] == ["begun"], "not again"


def test_killed_runs_are_resumed(tmp_path):
    killed = {"base": {"recipe-set": {"model": "killed"}}}
    with pytest.raises(EmocaError, match="no run of the sweep is finished: killed by signal 9"):
        sweep(tmp_path, variants=killed, seeds=[0])
    assert sweep(tmp_path, variants=killed, seeds=[0]).failures == []
    assert attempts(tmp_path) == {"base/seed-0": ["begun", "resumed"]}


def test_runs_with_other_settings_are_not_mixed(tmp_path):
    sweep(tmp_path, seeds=[0])
    changed = {"base": {}, "fast one": {"set": {"learning_rate": 0.9}}}
    lines = []
    result = sweep(tmp_path, lines.append, seeds=[0], variants=changed)
    assert result.failures == ["fast one, seed 0: was trained with other settings"]
    assert "remove it, or choose another --out" in lines[-1]
    assert attempts(tmp_path)["fast_one/seed-0"] == ["begun"]


def test_several_at_a_time_give_the_same(tmp_path):
    one, many = (tmp_path / name for name in ("one", "many"))
    for folder in (one, many):
        folder.mkdir()
    alone, together = sweep(one), sweep(many, jobs=3)
    assert [v.means for v in alone.variants] == [v.means for v in together.variants]


def test_the_table_alone_trains_nothing(tmp_path):
    with pytest.raises(EmocaError, match="no run of the sweep is finished: has not been trained"):
        sweep(tmp_path, table_only=True)
    sweep(tmp_path, seeds=[0, 1])
    result = sweep(tmp_path, table_only=True)
    assert len(attempts(tmp_path)) == 4
    assert result.failures == ["base, seed 2: has not been trained", "fast one, seed 2: has not been trained"]


# reading


def test_means_intervals_and_paired_differences(tmp_path):
    base, fast = sweep(tmp_path).variants
    values = np.array([1.0, 2.0, 5.0])  # learning rate 0.1 times ten, plus the square of the seed
    mean = base.means["landmark_error"]
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (mean.value, mean.deviation, mean.count) == pytest.approx((values.mean(), values.std(ddof=1), 3))
    assert (mean.low, mean.high) == pytest.approx((low, high))
    difference = fast.differences["landmark_error"]
    assert (difference.value, difference.low, difference.high) == pytest.approx((1, 1, 1)), "the seeds cancel"
    assert difference.excludes_zero and not base.differences


def test_statistics_of_little():
    assert math.isnan(mean_of([]).value) and mean_of([math.nan, 2.0]).count == 1
    one = mean_of([3.0])
    assert one.value == 3 and math.isnan(one.low) and not one.excludes_zero
    assert paired_difference({0: 1.0, 2: 5.0}, {1: 1.0, 2: 4.0}).count == 1, "only seeds that both have"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = [mean.low < 0 < mean.high for mean in (mean_of(list(random.normal(size=3))) for _ in range(4000))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.011)  # three standard errors of 4000 trials


def test_best_or_last_validation(tmp_path):
    assert sweep(tmp_path, seeds=[0]).variants[0].runs[0].step == 7
    last = sweep(tmp_path, seeds=[0], report="last").variants[0].runs[0]
    assert (last.step, last.metrics["landmark_error"]) == (9, 101.0)


def test_files_say_the_same_as_the_result(tmp_path):
    result = sweep(tmp_path, metrics=["landmark_error"])
    rows = list(csv.DictReader((tmp_path / "out/table.csv").read_text().splitlines()))
    assert [(row["variant"], row["metric"], row["seeds"]) for row in rows] == [
        ("base", "landmark_error", "3"),
        ("fast one", "landmark_error", "3"),
    ]
    assert float(rows[1]["difference_mean"]) == pytest.approx(1)
    data = json.loads((tmp_path / "out/result.json").read_text())
    assert data["variants"][0]["means"]["landmark_error"]["value"] == pytest.approx(8 / 3)
    assert data["variants"][1]["changes"] == {"set": {"learning_rate": 0.2}}
    text = (tmp_path / "out/table.md").read_text()
    assert "2.667 ± 2.082 [-2.504, 7.838]" in text and "1 [1, 1]*" in text and "Commit abc; 2 cores, x86_64" in text
    lines = table.terminal(result).splitlines()
    assert "fast one - base" in lines[5] and lines[5].endswith("+1*")
    assert "expression_error" not in text


def test_an_unknown_metric_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=r"no metric of these runs named 'landmark_eror'\. Did you mean"):
        sweep(tmp_path, seeds=[0], metrics=["landmark_eror"])


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "TRAIN", FAKE)
    file, out = written(tmp_path, seeds=[0, 1]), tmp_path / "out"
    assert main(["sweep", str(file), "--out", str(out), "--no-faces"]) == 0
    printed = capsys.readouterr()
    assert str(out / "table.md") in printed.out and "[4/4]" in printed.err
    assert main(["sweep", str(written(tmp_path)), "--out", str(out), "--no-faces", "--table-only"]) == 1
    assert main(["sweep", str(tmp_path / "gone.yaml"), "--out", str(out)]) == 2


def test_a_sweep_that_is_terminated_ends_its_trainings(tmp_path):
    """SIGTERM reaches the sweep alone; a training that went on would write into the next one's folder."""
    training = "import os, pathlib, sys, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    program = (
        "import sys; from emoca_core.cli import main\n"
        f"import emoca_core.sweep.running as running; running.TRAIN = (sys.executable, '-c', {training!r})\n"
        "sys.exit(main(['sweep', 'plan.yaml', '--out', 'out']))"
    )
    plan = {"recipe": "open_fit", "data": "synthetic_faces", "seeds": [0], "variants": {"a": None, "b": None}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143 and err.endswith("emoca: stopped\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_plan_says_no_by_its_name_and_trainings_are_told_so(tmp_path):
    text = "{stage: coarse, recipe: open_fit, data: faces.csv, seeds: [0], set: {precision: no, progress: false}}"
    file = tmp_path / "plan.yaml"
    file.write_text(text.replace("seeds", "variants: {a: null, b: {set: {channels_last: on}}}, seeds"))
    runs = runs_of(read_plan(file), tmp_path / "out")
    told = [settings_from(v for k, v in zip(r.arguments, r.arguments[1:], strict=False) if k == "--set") for r in runs]
    assert told[0] == {"precision": "no", "progress": False, "seed": 0}
    assert told[1] == {"precision": "no", "progress": False, "channels_last": "on", "seed": 0}
