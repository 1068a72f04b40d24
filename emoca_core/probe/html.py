"""A benchmark's result as one page that needs no other file: table, intervals, confusion matrices, faces."""

import math
from pathlib import Path

from emoca_core.files import json_text, write_text
from emoca_core.measures.metrics import HIGHER_IS_BETTER
from emoca_core.measures.tables import UNDEFINED
from emoca_core.pages import html_page
from emoca_core.probe import report
from emoca_core.probe.result import FILE, BenchmarkResult, write_result

TICKS = 4
"""About so many on the axis of a plot."""


def result_page(result: BenchmarkResult) -> str:
    """The whole page."""
    return html_page(
        "report",
        title=f"Emotion in face codes: {result.data.manifest}",
        result=result,
        metrics=report.shown_metrics(result),
        columns=report.COLUMNS,
        notes=list(report.notes(result)),
        how=_how(result),
        undefined=UNDEFINED,
        published_rows=report.published_rows,
        number=report.number,
        star=report.star,
        spread=report.spread,
        better=_better,
        ticks_of=_ticks,
    )


def write_report(result: BenchmarkResult, out: Path) -> None:
    """Write ``result.json``, ``table.md``, ``table.csv`` and ``report.html``, each atomically.

    Raises:
        OSError: The folder cannot be written.
    """
    write_result(result, out / FILE)
    write_text(out / "table.md", report.markdown(result))
    write_text(out / "table.csv", report.comma_separated(result))
    write_text(out / "report.html", result_page(result))


def tick_values(low: float, high: float) -> list[float]:
    """Round numbers around a range, at least two of them."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * TICKS >= span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _ticks(result: BenchmarkResult, metric: str) -> list[float]:
    scores = [method.scores[metric] for method in result.methods]
    numbers = [v for s in scores for v in (s.value, s.low, s.high) if v is not None]
    return tick_values(min(numbers), max(numbers))


def _better(metric: str) -> str:
    name = metric.removeprefix("valence_").removeprefix("arousal_")
    return "higher" if HIGHER_IS_BETTER[name] else "lower"


def _how(result: BenchmarkResult) -> str:
    chosen = {"settings": result.settings, "split": result.split.model_dump(), "data": result.data.model_dump()}
    return json_text({**chosen, "provenance": result.provenance.model_dump()}, indent=1)
