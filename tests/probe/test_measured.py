"""The committed measurements: the tables are made from the numbers, and name nobody's files."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from emoca_core.probe.report import comma_separated, markdown
from emoca_core.probe.result import FILE, read_result

ROOT = Path(__file__).parents[2]
FOLDERS = sorted((ROOT / "benchmarks" / "results" / "probe").glob("*"))
LOCAL = re.compile(r"(?:^|[\s\"'(=])(?:~|\.\.|[A-Za-z]:)?[/\\]\w")
"""An absolute path, or one that leaves the folder."""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("results_table", ROOT / "benchmarks" / "results_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_what_was_measured(script):
    page = (ROOT / "README.md").read_text("utf-8")
    assert script.replaced(page, script.table(script.results())) == page, "run python benchmarks/results_table.py"


def test_the_page_of_the_emotion_term_shows_what_was_measured(script):
    page = script.SWEEP_PAGE.read_text("utf-8")
    assert script.with_sweeps(page) == page, "run python benchmarks/results_table.py"


def test_every_column_of_the_readme_was_measured(script):
    assert {data for data, _, _ in script.COLUMNS} <= {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_tables_are_made_from_the_result(folder):
    result = read_result(folder / FILE)
    assert (folder / "table.md").read_text("utf-8") == markdown(result)
    assert (folder / "table.csv").read_text("utf-8") == comma_separated(result)
    assert sorted(file.name for file in folder.iterdir()) == [FILE, "table.csv", "table.md"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_results_hold_no_image_and_no_local_path(folder):
    text = (folder / FILE).read_text("utf-8")
    assert json.loads(text)["examples"] == []
    assert LOCAL.findall(text) == []
    assert not re.search(r"\.(?:jpg|png|parquet|csv)\b", text)


@pytest.mark.parametrize("path", ["/data/faces.csv", '"../shared/a.jpg"', "~/faces", "C:\\faces", "in /srv/x"])
def test_local_paths_are_recognised(path):
    assert LOCAL.search(path)


@pytest.mark.parametrize("text", ["github.com/yfeng95/DECA", "detail/checkpoints", "(MPI-IS) and/or"])
def test_addresses_are_not_local_paths(text):
    assert not LOCAL.search(text)
