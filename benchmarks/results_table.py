"""The tables of README.md and docs/emotion-term.md, from the result files of ``emoca benchmark`` and ``emoca sweep``.

    python benchmarks/results_table.py          # rewrite the tables

Each folder of ``benchmarks/results/probe`` is what ``emoca benchmark --no-faces`` wrote for one data set (without the
HTML page), each of ``benchmarks/results/sweeps`` what ``emoca sweep`` wrote (without its runs). What was measured, and
how, is said in docs/benchmark-results.md and docs/emotion-term.md.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emoca_core.files import write_text
from emoca_core.measures.tables import markdown_table
from emoca_core.probe.report import number, star
from emoca_core.probe.result import FILE, BenchmarkResult, MethodResult, read_result
from emoca_core.sweep.statistics import Mean, mean_of, paired_difference
from emoca_core.sweep.table import cell
from emoca_core.sweep.table import number as number_of
from emoca_core.sweep.table import star as sweep_star

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "probe"
SWEEPS = ROOT / "benchmarks" / "results" / "sweeps"
README = ROOT / "README.md"
SWEEP_PAGE = ROOT / "docs" / "emotion-term.md"
BEGIN, END = "<!-- measured methods: benchmarks/results_table.py -->", "<!-- end of measured methods -->"
COLUMNS = (
    ("fer", "accuracy", "FER2013, 7 classes"),
    ("fer_linear", "accuracy", "the same, linear probe"),
    ("fer_split", "accuracy", "the same, one split"),
    ("lfw", "accuracy", "LFW, 3 classes"),
    ("synthetic", "accuracy", "synthetic, 7 classes"),
    ("synthetic", "valence_ccc", "synthetic, valence CCC"),
    ("synthetic", "arousal_ccc", "synthetic, arousal CCC"),
)
"""Data set, metric, heading."""
SEED_METRICS = ("accuracy", "balanced_accuracy", "valence_ccc", "arousal_ccc")


def results() -> dict[str, BenchmarkResult]:
    """The committed results that the table shows, by data set."""
    return {data: read_result(RESULTS / data / FILE) for data in dict.fromkeys(data for data, _, _ in COLUMNS)}


def table(measured: Mapping[str, BenchmarkResult]) -> str:
    """One row for each method, one column for each question."""
    methods = dict.fromkeys(method.name for result in measured.values() for method in result.methods)
    rows = [["method", *(heading for _, _, heading in COLUMNS)], ["---", *["---:"] * len(COLUMNS)]]
    for name in methods:
        rows.append([name, *(_cell(measured[data], name, metric) for data, metric, _ in COLUMNS)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def sweep_table(result: Mapping[str, Any]) -> str:
    """One row for each variant: the mean over the seeds, then the difference to the first one with its interval."""
    metrics, variants = result["metrics"], result["variants"]
    rows = [["variant", *(f"`{metric}`" for metric in metrics)]]
    for variant in variants:
        sides = ({metric: _mean(values) for metric, values in variant[key].items()} for key in ("means", "differences"))
        rows.append([variant["name"], *sweep_cells(metrics, *sides)])
    return markdown_table(rows)


def seeds_table(result: BenchmarkResult) -> str:
    """What a probe reads from the codes of a sweep's runs: the mean over the seeds, and the difference to the first."""
    found: dict[str, dict[int, MethodResult]] = {}
    for method in result.methods:
        variant, _, seed = method.name.partition("/seed-")
        found.setdefault(variant, {})[int(seed)] = method
    first = next(iter(found))
    metrics = [metric for metric in SEED_METRICS if result.methods[0].scores[metric].value is not None]
    scores = {
        variant: {metric: {seed: m.scores[metric].value for seed, m in methods.items()} for metric in metrics}
        for variant, methods in found.items()
    }
    rows = [["variant", *(f"`{metric}`" for metric in metrics)]]
    for variant, values in scores.items():
        means = {metric: mean_of(list(values[metric].values())) for metric in metrics}
        differences = {metric: paired_difference(values[metric], scores[first][metric]) for metric in metrics}
        rows.append([variant, *sweep_cells(metrics, means, {} if variant == first else differences)])
    return markdown_table(rows)


def with_sweeps(page: str) -> str:
    """The page with the table of every committed sweep, and of every probe of its runs, between its markers."""
    for folder in sorted(SWEEPS.iterdir()):
        if (probe := RESULTS / folder.name / FILE).exists():
            begin, end = f"<!-- probe of {folder.name} -->", f"<!-- end of probe of {folder.name} -->"
            page = replaced(page, seeds_table(read_result(probe)), begin, end)
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        page = replaced(page, sweep_table(result), f"<!-- sweep {folder.name} -->", f"<!-- end of {folder.name} -->")
    return page


def replaced(page: str, content: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with new content between the markers.

    Raises:
        ValueError: The page has no markers.
    """
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no lines {begin!r} and {end!r}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def sweep_cells(metrics: Sequence[str], means: Mapping[str, Mean], differences: Mapping[str, Mean]) -> Iterator[str]:
    """The mean of each metric, and below it the difference to the first variant where there is one."""
    for metric in metrics:
        difference = differences.get(metric)
        change = "" if difference is None else f"<br>{cell(difference)}{sweep_star(difference)}"
        yield number_of(means[metric].value) + change


def main() -> None:
    """Rewrite the tables."""
    write_text(README, replaced(README.read_text(encoding="utf-8"), table(results())))
    write_text(SWEEP_PAGE, with_sweeps(SWEEP_PAGE.read_text(encoding="utf-8")))


def _mean(values: Mapping[str, Any]) -> Mean:
    """As written to JSON, where what is not finite is null."""
    return Mean(**{key: math.nan if value is None else value for key, value in values.items()})


def _cell(result: BenchmarkResult, name: str, metric: str) -> str:
    method: MethodResult | None = next((m for m in result.methods if m.name == name), None)
    if method is None:
        return ""
    score = method.scores[metric]
    return f"{number(score.value)}{star(method, metric)} [{number(score.low)}, {number(score.high)}]"


if __name__ == "__main__":
    main()
