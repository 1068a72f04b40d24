"""What a study found, as one page and as tables in CSV, in which nobody can be recognised."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from emoca_core.files import write_text
from emoca_core.measures.tables import UNDEFINED
from emoca_core.pages import html_page
from emoca_core.study.design import read_study
from emoca_core.study.results import Estimate, StudyResults
from emoca_core.study.store import Store, completion_code

TARGETS = {"photo": "same label as the photo got", "truth": "the known expression"}


def write_report(results: StudyResults, out: Path) -> Path:
    """Write ``report.html``, and every table of ``tables`` as CSV.

    Returns:
        The page.

    Raises:
        OSError: The folder cannot be written.
    """
    for name, table in tables(results).items():
        write_text(out / f"{name}.csv", _csv(table))
    write_text(out / "report.html", report_page(results))
    return out / "report.html"


def write_codes(folder: Path, out: Path) -> None:
    """Write who finished, with the code that each was shown, so that they can be paid. This names people."""
    study = read_study(folder)
    with Store.open(folder, study) as store:
        done = [one.name for one in store.participants() if one.kind == "person" and one.is_finished]
    write_text(out, _csv([("participant", "code"), *((name, completion_code(study, name)) for name in done)]))


def report_page(results: StudyResults) -> str:
    """The whole page; it needs no other file."""
    people = len(results.labels)
    who, raters = ("machine", "machines") if results.kind == "machine" else ("person", "people")
    over = f"{raters} and faces" if people > 1 else f"faces: there is one {who}"
    return html_page(
        "results",
        package="emoca_core.study",
        title="What is seen in photos and in their reconstructions",
        results=results,
        summary=summary(results),
        targets=TARGETS,
        raters=raters,
        intervals_text=f"Intervals by resampling {over}.",
        rule=results.rule.text[0].upper() + results.rule.text[1:],
        left_out=Counter(rater.left_out for rater in results.raters if rater.left_out),
        undefined=UNDEFINED,
        number=_number,
        p_value=_p_value,
    )


def summary(results: StudyResults) -> str:
    """Who took part and what they saw, in one sentence."""
    counted, began = len(results.counted), len(results.raters)
    who = ("machine" if counted == 1 else "machines") if results.kind == "machine" else _people(counted)
    answers = int((results.labels >= 0).sum())
    known = results.milliseconds[results.milliseconds > 0]
    seconds = f", {np.median(known) / 1000:.1f} s each (median)" if len(known) else ""
    return (
        f"{counted} {who} of {began} who began; {len(results.study.faces)} faces; methods: "
        f"{', '.join(results.study.methods)}; {answers} answers{seconds}."
    )


def tables(results: StudyResults) -> dict[str, list[Sequence[object]]]:
    """Every table by its name, the first row of each is its head."""
    study = results.study
    answers = [
        (rater.alias, face, study.faces[face].label or "", shows, study.choices[label], milliseconds)
        for rater, rows, times in zip(results.counted, results.labels, results.milliseconds, strict=True)
        for face, (row, spent) in enumerate(zip(rows.tolist(), times.tolist(), strict=True))
        for shows, label, milliseconds in zip(study.conditions, row, spent, strict=True)
        if label >= 0
    ]
    cells = [
        (matrix.figure, matrix.shows, row, column, count, count / sum(counts))
        for matrix in results.matrices
        for row, counts in zip(matrix.rows, matrix.counts.tolist(), strict=True)
        for column, count in zip(study.choices, counts, strict=True)
    ]
    found = [(one.shows, one.target, *_three(one.share), one.count) for one in results.accuracies]
    alphas = [(shows, "agreement", *_three(alpha), "") for shows, alpha in results.agreement.items()]
    pairs = [
        (one.first, one.second, one.target, *_three(one.difference), one.over_people, one.over_pictures, one.p_value)
        for one in results.comparisons
    ]
    raters = [(one.alias, one.missed, one.seconds or "", one.left_out or "") for one in results.raters]
    interval = ("value", "low", "high")
    return {
        "answers": [("participant", "face", "known", "shows", "label", "milliseconds"), *answers],
        "matrices": [("figure", "shows", "row", "column", "count", "share_of_row"), *cells],
        "accuracies": [("shows", "right_is", *interval, "answers"), *found, *alphas],
        "comparisons": [("first", "second", "right_is", *interval, "p_people", "p_faces", "p_corrected"), *pairs],
        "raters": [("participant", "missed_catch_trials", "seconds", "left_out"), *raters],
    }


def _three(one: Estimate) -> tuple[float, float, float]:
    return one.value, one.low, one.high


def _csv(rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> object:
    """Undefined figures stay empty; a text that a spreadsheet would take for a formula does not begin like one."""
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, 6)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _number(value: float, digits: int = 2) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"


def _p_value(value: float) -> str:
    return UNDEFINED if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _people(count: int) -> str:
    return "person" if count == 1 else "people"
