"""Tables and the page: the numbers of the JSON, and nothing from elsewhere."""

import base64
import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from emoca_core.errors import AssetFormatError
from emoca_core.probe.examples import jpeg_base64
from emoca_core.probe.html import result_page, tick_values, write_report
from emoca_core.probe.published import AFEW_VA
from emoca_core.probe.report import COLUMNS, comma_separated, markdown, notes, published_rows, terminal_table
from emoca_core.probe.result import BenchmarkResult, read_result, write_result
from emoca_core.probe.scores import METRICS


def score(value, spread=0.05):
    known = value is not None
    return {
        "value": value,
        "low": value - spread if known else None,
        "high": value + spread if known else None,
        "fold_sd": 0.0123 if known else None,
    }


def make(**change):
    """Two methods on data without arousal."""
    values = dict(zip(METRICS, (0.61, 0.58, 0.31, 0.7, None, None, None, None, 0.55, 0.52), strict=True))
    method = {"crop": "emoca", "inputs": ["shape", "expression"], "dimensions": 50, "confusion": [[8, 2], [3, 0]]}
    difference = {"value": -0.2, "low": -0.3, "high": -0.1, "p_value": 0.01, "p_holm": 0.02}
    same = difference | {"value": 0.01, "p_value": 0.6, "p_holm": 0.6}
    differences = {m: same if m == "accuracy" else difference for m in METRICS}
    lower = {m: score(v and v - 0.2) for m, v in values.items()}
    result = {
        "data": {
            "manifest": "<b>faces</b>.csv", "images_hash": "0" * 64, "images": 15, "labelled": 14, "unreadable": 0,
            "without_face": 1, "without_code": {"one": 0, "two & <i>": 0}, "used": 13, "labels": ["sad", "happy"],
            "class_counts": [10, 3], "valence_arousal": 13,
        },
        "split": {
            "kind": "folds", "group_by": "clip", "groups": 6, "seed": 0, "hash": "abcdef" * 10, "sizes": [{}] * 5,
        },
        "preset": "paper", "settings": {"standardise": False, "width": 16, "hidden_layers": 4},
        "draws": 2000, "tested": 13,
        "methods": [
            method | {"name": "one", "scores": {m: score(v) for m, v in values.items()}, "differences": {}},
            method | {"name": "two & <i>", "scores": lower, "differences": differences},
        ],
        "missing": [{"name": "deca", "reason": "missing asset\n'deca'"}],
        "published": True, "provenance": {"commit": "c0ffee"},
        "examples": [{
            "path": "a.png", "truth": "sad", "prediction": "happy", "good": False,
            "thumbnail": jpeg_base64(np.full((20, 20, 3), 200, np.uint8)),
        }],
    }  # fmt: skip
    return BenchmarkResult.model_validate(result | change)


class Page(HTMLParser):
    """Tags that are still open, and everything that points anywhere."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "action", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page():
    text = result_page(make())
    parsed = Page()
    parsed.feed(text)
    parsed.close()
    return text, parsed


def test_the_page_is_whole_and_needs_no_other_file(page):
    text, parsed = page
    assert parsed.open == []
    assert all(link.startswith("data:image/jpeg;base64,") for link in parsed.links)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert not re.search(r"url\(|@import|https?://", text)
    picture = Image.open(io.BytesIO(base64.b64decode(parsed.links[0].partition(",")[2])))
    assert picture.size == (96, 96)


def test_names_are_text_and_not_markup(page):
    text, parsed = page
    assert "<b>faces</b>" not in text
    assert "two & <i>" in "".join(parsed.text)
    assert "i" not in parsed.tags


def test_confusion_is_headed_by_whole_words_and_counts(page):
    text, _ = page
    headings = re.findall(r"<th>(\w+) <small>\((\d+)\)</small></th>", text)
    # columns: 8 + 3 faces were called sad, 2 + 0 happy; rows: 8 + 2 are sad, 3 + 0 happy
    assert headings == 2 * [("sad", "11"), ("happy", "2"), ("sad", "10"), ("happy", "3")]
    assert 'style="--share:0.800" title="8 of 10">80</td>' in text


def test_methods_that_did_not_run_are_rows(page):
    text, _ = page
    row = text.partition("<th>deca<small>not run</small></th>")[2]
    assert row.strip().startswith('<td colspan="6">missing asset\n&#39;deca&#39;</td></tr>')
    result = make()
    assert "| deca | not run | – | – | – | – | – | – |" in markdown(result).splitlines()
    assert ["deca", "[not", "run]", *["–"] * 6] in [line.split() for line in terminal_table(result).splitlines()]
    assert "deca,not run" + "," * 10 in comma_separated(result).splitlines()


def test_folds_that_differ_by_more_than_chance_are_flagged():
    wild = make()
    assert "!" not in markdown(wild)
    first = wild.methods[0].scores["accuracy"]
    # by chance 5 folds spread by sqrt(5) 0.1 / 3.92 = 0.057, and in one table of 20 by more than 1.54 times that
    for spread, flagged in ((0.087, False), (0.089, True)):
        wild.methods[0].scores["accuracy"] = first.model_copy(update={"fold_sd": spread})
        assert (f"± {spread}!" in markdown(wild)) is flagged
        assert (f"± {spread}!" in result_page(wild)) is flagged
        assert (f"one accuracy ± {spread}" in "\n".join(notes(wild))) is flagged


def test_plots_show_the_numbers(page):
    text, _ = page
    tips = re.findall(r"<title>(.*?): (\S+) \[(\S+), (\S+)\]</title>", text)
    assert ("one", "0.610", "0.560", "0.660") in tips
    assert len(tips) == 2 * 6  # two methods, six defined metrics
    circles = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', text)]
    assert circles[0] > circles[1]  # the first method's V-PCC is higher


@pytest.mark.parametrize(("low", "high"), [(0.05, 0.23), (-0.4, 0.8), (0.3, 0.3), (0.0, 1.0), (12.0, 13.5)])
def test_ticks_are_round_and_enclose_the_range(low, high):
    ticks = tick_values(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert 2 <= len(ticks) <= 7
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert f"{steps[0]:.0e}"[0] in "125"


def test_all_tables_hold_the_numbers_of_the_json(tmp_path):
    result = make()
    write_report(result, tmp_path)
    again = read_result(tmp_path / "result.json")
    assert again.methods == result.methods
    assert again.examples[0].thumbnail is None  # pictures are in the page alone
    table = (tmp_path / "table.md").read_text()
    assert "| one | shape, expression (50) | 0.610 [0.560, 0.660] ± 0.012 |" in table
    assert "0.410* [0.360, 0.460]" in table
    assert "| EMOCA (published) |  | 0.650 | 0.630 | – | – | – | – |" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    rows = {(r["method"], r["metric"]): r for r in csv.DictReader(io.StringIO(comma_separated(again)))}
    for method in again.methods:
        for metric, value in method.scores.items():
            if value.value is not None:
                row = rows[method.name, metric]
                assert [float(row[k]) for k in ("value", "low", "high", "fold_sd")] == list(value.model_dump().values())
    assert rows["EMOCA", "valence_pcc"]["source"] == "published"
    assert ("one", "arousal_pcc") not in rows
    assert not list(tmp_path.glob(".*"))


def test_the_terminal_table_is_aligned_and_shows_intervals():
    lines = terminal_table(make()).splitlines()
    assert lines[0].split() == ["method", "V-PCC", "V-CCC", "V-RMSE", "V-SAGR", "accuracy", "bal.", "acc."]
    assert lines[2].split()[0] == "0.560..0.660"
    assert len(lines[1]) == len(lines[2])
    assert "0.410*" in lines[3]


def test_notes_name_a_linear_probe():
    settings = {"standardise": True, "width": 2048, "hidden_layers": 0}
    assert "Probe: preset paper, linear, codes standardised." in "\n".join(notes(make(settings=settings)))


def test_notes_say_what_is_significant_and_what_did_not_run():
    text = "\n".join(notes(make()))
    assert "13 of 14 labelled faces" in text
    assert "1 without a face" in text
    assert "codes not standardised" in text
    assert "two & <i> against one: significant: V-PCC -0.200 (p = 0.02)" in text
    assert "not significant: accuracy +0.010 (p = 0.6)" in text
    assert "Not run: deca: missing asset 'deca'" in text


def test_published_rows_are_shown_on_request_and_where_they_say_something():
    assert published_rows(make()) == AFEW_VA
    assert published_rows(make(published=False)) == {}
    only_classes = make()
    for method in only_classes.methods:
        for metric in METRICS[:8]:
            method.scores[metric] = method.scores["arousal_pcc"]
    assert published_rows(only_classes) == {}
    assert "no number in these columns" in markdown(only_classes)
    assert set(COLUMNS) == set(METRICS)


def test_files_that_are_not_results_are_refused(tmp_path):
    with pytest.raises(AssetFormatError, match="cannot read"):
        read_result(tmp_path / "none.json")
    write_result(make(), tmp_path / "result.json")
    broken = (tmp_path / "result.json").read_text().replace('"draws"', '"drawz"')
    (tmp_path / "result.json").write_text(broken)
    with pytest.raises(AssetFormatError, match="damaged, or of another kind: draws: Field required"):
        read_result(tmp_path / "result.json")
