"""The table of measured methods in README.md, from the result files of ``emoca benchmark``.

    python benchmarks/results_table.py          # rewrite the table in README.md

Each folder of ``benchmarks/results/probe`` is what ``emoca benchmark --no-faces`` wrote for one data set (without the
HTML page). docs/benchmark-results.md says what was measured and how.
"""

from collections.abc import Mapping
from pathlib import Path

from emoca_core.files import write_text
from emoca_core.probe.report import number, star
from emoca_core.probe.result import FILE, BenchmarkResult, MethodResult, read_result

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "probe"
README = ROOT / "README.md"
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


def replaced(page: str, content: str) -> str:
    """The page with new content between the markers.

    Raises:
        ValueError: The page has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    """Rewrite the table."""
    write_text(README, replaced(README.read_text(encoding="utf-8"), table(results())))


def _cell(result: BenchmarkResult, name: str, metric: str) -> str:
    method: MethodResult | None = next((m for m in result.methods if m.name == name), None)
    if method is None:
        return ""
    score = method.scores[metric]
    return f"{number(score.value)}{star(method, metric)} [{number(score.low)}, {number(score.high)}]"


if __name__ == "__main__":
    main()
