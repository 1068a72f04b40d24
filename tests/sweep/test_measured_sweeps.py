"""The committed sweeps: their tables follow from the runs, and the plans are those of the repository."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from emoca_core.sweep.plan import Plan, read_plan

ROOT = Path(__file__).parents[2]
FOLDERS = sorted((ROOT / "benchmarks" / "results" / "sweeps").iterdir())
names = [folder.name for folder in FOLDERS]


@pytest.fixture(params=FOLDERS, ids=names)
def folder(request) -> Path:
    return request.param


def test_means_and_intervals_follow_from_the_runs(folder):
    result = json.loads((folder / "result.json").read_text("utf-8"))
    runs = {variant["name"]: variant["runs"] for variant in result["variants"]}
    rows = list(csv.DictReader((folder / "table.csv").read_text("utf-8").splitlines()))
    assert {(row["variant"], row["metric"]) for row in rows} == {(v, m) for v in runs for m in result["metrics"]}
    for row in rows:
        values = np.array([run["metrics"][row["metric"]] for run in runs[row["variant"]]])
        assert int(row["seeds"]) == len(values)
        assert float(row["mean"]) == pytest.approx(values.mean(), rel=1e-9)
        if len(values) > 1:
            low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
            assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high), rel=1e-9)


def test_the_plan_is_in_the_repository(folder):
    result = json.loads((folder / "result.json").read_text("utf-8"))
    plan = read_plan(ROOT / "benchmarks" / "sweeps" / f"{folder.name}.yaml")
    assert Plan.model_validate(result["plan"]) == plan  # keys that came later have their defaults


def test_every_run_says_where_it_comes_from(folder):
    result = json.loads((folder / "result.json").read_text("utf-8"))
    for variant in result["variants"]:
        for run in variant["runs"]:
            assert len(run["provenance"]["commit"]) == 40  # no changes that are not in the repository
            assert run["provenance"]["hardware"]["cores"]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "benchmarks" / "results" / "runs").glob("*.json")), ids=lambda f: f.stem
)
def test_what_the_sweeps_start_from_says_where_it_comes_from(file):
    run = json.loads(file.read_text("utf-8"))
    assert len(run["commit"]) == 40 and len(run["weights_sha256"]) == 64
    assert run["hardware"]["cores"] and run["training"]["seed"] is not None
    assert 0 < run["best_step"] <= run["steps"] and run["metrics"]
