"""From answers to figures: every number by hand, who counts, and what is published."""

import csv
import math
import re

import numpy as np
import pytest
from square_study import answer_all, make_squares

from emoca_core.cli import main
from emoca_core.errors import EmocaError
from emoca_core.study.report import report_page, tables, write_report
from emoca_core.study.results import Rule, _judged, study_results
from emoca_core.study.store import Store, completion_code

QUICK = {"draws": 200}


@pytest.fixture
def answered(folder):
    """Four people who know photos, mistake ``open_fit`` of one face, and take every ``other`` for sad."""
    study = make_squares(folder, faces=6, faces_each=6)
    pictures = study.pictures()

    def choose(trial):
        if trial.picture is None:
            return None
        one = pictures[trial.picture]
        if one.face is None:
            return "happy"
        if one.shows == "other":
            return "sad"
        return "anger" if (one.shows, one.face) == ("open_fit", 0) else study.faces[one.face].label

    with Store.open(folder, study) as store:
        for name in ("anna", "bert", "carl", "dora"):
            answer_all(store, name, choose)
    return study


def test_matrices_and_accuracies(folder, answered):
    results = study_results(folder, Rule(**QUICK))
    assert results.kind == "person"
    assert [(m.figure, m.shows) for m in results.matrices] == [
        (5, "open_fit"), (5, "other"), (6, "open_fit"), (6, "other"), (7, "photo"),
    ]  # fmt: skip
    five, _, six, _, seven = results.matrices
    # faces 0 and 4 are neutral, 1 and 5 happy, 2 sad, 3 anger; four people each
    assert five.rows == answered.choices == ("neutral", "happy", "sad", "anger")
    assert five.counts.tolist() == [[4, 0, 0, 4], [0, 8, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4]]
    assert six.counts.tolist() == five.counts.tolist()
    assert seven.counts.tolist() == [[8, 0, 0, 0], [0, 8, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4]]
    shares = {(one.shows, one.target): one.share.value for one in results.accuracies}
    assert shares == pytest.approx(
        {
            ("open_fit", "photo"): 20 / 24,
            ("other", "photo"): 4 / 24,
            ("photo", "truth"): 1.0,
            ("open_fit", "truth"): 20 / 24,
            ("other", "truth"): 4 / 24,
        }
    )
    for one in results.accuracies:
        assert one.count == 24
        assert one.share.low <= one.share.value <= one.share.high


def test_methods_are_compared_in_pairs(folder, answered):
    results = study_results(folder, Rule(**QUICK))
    (photo, truth) = results.comparisons
    assert (photo.first, photo.second, photo.target, truth.target) == ("open_fit", "other", "photo", "truth")
    assert photo.difference.value == pytest.approx(16 / 24)
    assert photo.over_people == 2 / 2**4  # all four people prefer the first: the two extremes of 16 sign patterns
    assert photo.over_pictures == 2 / 2**4  # faces 1, 3, 4, 5; on 0 and 2 both do the same
    assert photo.p_value == 2 / 2**4


def test_agreement(folder, answered):
    agreement = study_results(folder, Rule(**QUICK)).agreement
    assert agreement["photo"].value == agreement["open_fit"].value == 1
    assert math.isnan(agreement["other"].value)  # everybody said the same of everything


def test_who_misses_catch_trials_or_does_not_finish_is_left_out_by_the_rule(folder, answered):
    with Store.open(folder, answered) as store:
        answer_all(store, "sloppy", lambda trial: next(c for c in answered.choices if c != trial.expected))
        answer_all(store, "test", lambda trial: None)
        store.begin("gone")
        for place in range(9):
            store.answer("gone", place, "happy", 10)
    results = study_results(folder, Rule(**QUICK))
    assert len(results.counted) == 4 and len(results.raters) == 7
    assert sorted(r.left_out for r in results.raters if r.left_out) == [
        "a try of the experimenter",
        "missed too many catch trials",
        "not finished",
    ]
    assert [r.missed for r in results.raters if r.left_out == "missed too many catch trials"] == [2]
    assert len(study_results(folder, Rule(missed_catch=2, **QUICK)).counted) == 5
    lenient = study_results(folder, Rule(missed_catch=2, unfinished=True, **QUICK))
    assert len(lenient.counted) == 6
    assert (lenient.labels >= 0).sum() < 6 * 18


def test_machines_and_people_are_never_mixed(folder, answered):
    with Store.open(folder, answered) as store:
        answer_all(store, "machine:x", lambda trial: "happy", kind="machine")
    assert study_results(folder, Rule(**QUICK)).kind == "person"
    machines = study_results(folder, Rule(kind="machine", **QUICK))
    assert "p over machines" in report_page(machines) and "p over people" not in report_page(machines)
    assert [one.alias for one in machines.counted] == ["machine:x"]
    assert machines.accuracies[2].share.value == pytest.approx(2 / 6)
    assert math.isnan(machines.agreement["photo"].value)  # one rater agrees with nobody
    assert math.isnan(machines.comparisons[0].over_people)


def test_published_tables_hold_no_names(folder, answered, tmp_path):
    results = study_results(folder, Rule(**QUICK))
    page = write_report(results, tmp_path / "report")
    for file in page.parent.iterdir():
        text = file.read_text()
        for name in ("anna", "bert", "carl", "dora", *(completion_code(answered, n) for n in ("anna", "dora"))):
            assert name not in text, file
    rows = list(csv.DictReader((page.parent / "answers.csv").read_text().splitlines()))
    assert len(rows) == 4 * 18
    assert {row["participant"] for row in rows} == {"p0001", "p0002", "p0003", "p0004"}
    assert {row["label"] for row in rows if row["shows"] == "other"} == {"sad"}
    assert sum(int(r[4]) for r in tables(results)["matrices"][1:] if r[0] == 7) == 24


def test_aliases_do_not_follow_the_order_of_coming(folder):
    study = make_squares(folder)
    with Store.open(folder, study) as store:
        for number in range(12):
            store.begin(f"p{number}")
    with Store.open(folder, study) as store:
        people = store.participants()
    aliases = [_judged(study, people, [], Rule())[one.number].alias for one in people]
    assert len(set(aliases)) == 12
    assert aliases != sorted(aliases)  # one order of 479,001,600


def test_without_known_expressions_there_is_figure_five_alone(folder):
    study = make_squares(folder)
    bare = study.model_copy(update={"faces": tuple(f.model_copy(update={"label": None}) for f in study.faces)})
    (folder / "study.json").write_text(bare.model_dump_json())
    with Store.open(folder, bare) as store:
        answer_all(store, "anna", lambda trial: "happy" if trial.picture else None)
    results = study_results(folder, Rule(**QUICK))
    assert {m.figure for m in results.matrices} == {5}
    assert {one.target for one in results.accuracies} == {"photo"}


def test_the_command_writes_page_tables_and_codes(folder, answered, tmp_path, capsys):
    out, codes = tmp_path / "report", tmp_path / "codes.csv"
    assert main(["study", "results", str(folder), "--out", str(out), "--codes", str(codes)]) == 0
    assert capsys.readouterr().out == f"{out / 'report.html'}\n"
    names = {file.name for file in out.iterdir()}
    tables = ("answers.csv", "matrices.csv", "accuracies.csv", "comparisons.csv", "raters.csv")
    assert names == {"report.html", *tables}
    assert f"anna,{completion_code(answered, 'anna')}\n" in codes.read_text()
    page = (out / "report.html").read_text()
    assert "4 people of 4 who began" in page and "No person took part" not in page
    assert re.search(r"<td style=\"--share:1.000\" title=\"8 of 8\">100 <small>8</small></td>", page)


def test_the_command_forgets(folder, answered, tmp_path, capsys):
    assert main(["study", "forget", str(folder), "anna"]) == 0
    assert len(study_results(folder, Rule(**QUICK)).counted) == 3
    assert main(["study", "forget", str(folder), "anna"]) == 2
    assert "there is no participant 'anna'" in capsys.readouterr().err


def test_nobody_has_taken_part(folder, study, tmp_path, capsys):
    arguments = ["study", "results", str(folder), "--out", str(tmp_path / "report")]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "nobody has taken part yet" in err and len(err.splitlines()) == 1
    with Store.open(folder, study) as store:
        store.begin("anna")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "no participant counts yet (1 not finished)" in err and len(err.splitlines()) == 1
    assert main([*arguments, "--of", "machines"]) == 2
    assert not (tmp_path / "report").exists()


def test_somebody_who_saw_nothing_yet_breaks_nothing(folder, study):
    with Store.open(folder, study) as store:
        store.begin("anna")
    results = study_results(folder, Rule(unfinished=True, **QUICK))
    assert all(math.isnan(one.share.value) for one in results.accuracies)
    assert not np.isfinite([a.value for a in results.agreement.values()]).any()
    with pytest.raises(EmocaError):
        study_results(folder, Rule(**QUICK))
