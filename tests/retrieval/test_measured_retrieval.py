"""The committed figures: the tables of the page are made from them, and they name nobody's files."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))  # it takes the look-alikes of FER2013 from tools
        spec = importlib.util.spec_from_file_location("retrieval_tables", ROOT / "benchmarks" / "retrieval.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_was_measured(script):
    page = script.PAGE.read_text("utf-8")
    assert script.with_tables(page) == page, "run python -m benchmarks.retrieval --tables"
    first = next(iter(script.read_results()["fer"].measured.values()))["l2"].precision[10]
    assert f"{first.value:.3f} [{first.low:.3f}, {first.high:.3f}]" in page


def test_results_hold_no_image_and_no_local_path(script):
    for file in sorted(script.RESULTS.glob("*.json")):
        assert not re.search(r"\.(?:jpg|png|parquet|csv)\b|\"/|\.\./", file.read_text("utf-8")), file.name


def test_every_source_has_every_metric_and_chance_is_that_of_its_faces(script):
    for result in script.read_results().values():
        chances = {f.precision[10].chance for found in result.measured.values() for f in found.values()}
        assert len(chances) == 1  # the same faces for all
        assert all(set(found) == set(script.METRICS) for found in result.measured.values())
