"""The table of a sweep: terminal, Markdown, CSV."""

import csv
import io
import math
from collections.abc import Iterator

from emoca_core.measures.tables import UNDEFINED, aligned, markdown_table
from emoca_core.sweep.result import SweepResult, VariantResult
from emoca_core.sweep.statistics import Mean


def terminal(result: SweepResult) -> str:
    """Means, their 95 % intervals below, then the differences to the first variant."""
    lines = [["variant", "seeds", *map(short, result.metrics)]]
    for variant in result.variants:
        lines.append([variant.name, str(len(variant.runs)), *(number(variant.means[m].value) for m in result.metrics)])
        lines.append(["", "", *(interval(variant.means[m]) for m in result.metrics)])
    for variant in compared(result):
        lines.append([f"{variant.name} - {result.variants[0].name}", pairs(variant), *differences(variant)])
        lines.append(["", "", *(interval(d) for d in variant.differences.values())])
    return "\n".join([aligned(lines), "", *notes(result)])


def markdown(result: SweepResult) -> str:
    """Means with deviation and interval, differences, and what is needed to read them."""
    first = result.variants[0].name
    rows = [["variant", "seeds", *result.metrics]]
    rows += [
        [v.name, str(len(v.runs)), *(cell(v.means[m], with_deviation=True) for m in result.metrics)]
        for v in result.variants
    ]
    text = [markdown_table(rows)]
    if others := compared(result):
        rows = [[f"difference to {first}", "pairs", *result.metrics]]
        rows += [[v.name, pairs(v), *(cell(d) + star(d) for d in v.differences.values())] for v in others]
        text += ["", markdown_table(rows)]
    return "\n".join([*text, "", *(f"- {note}" for note in notes(result))]) + "\n"


def comma_separated(result: SweepResult) -> str:
    """One line for each variant and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sides = ("mean", "deviation", "low", "high", "seeds")
    writer.writerow(["variant", "metric", *sides, *(f"difference_{side}" for side in sides)])
    for variant in result.variants:
        for metric in result.metrics:
            difference = variant.differences.get(metric)
            writer.writerow([variant.name, metric, *_five(variant.means[metric]), *_five(difference)])
    return text.getvalue()


def notes(result: SweepResult) -> Iterator[str]:
    """How to read the table, where it comes from, and what is missing in it."""
    best = "highest score" if result.plan.stage == "emotion" else "lowest loss"
    which = {"best": f"the validation with the {best}", "last": "the last validation"}[result.plan.report]
    yield f"Metrics of {which}; mean over seeds with its 95 % t interval (in Markdown: ± standard deviation)."
    if compared(result):
        yield "Differences are paired by seed; * marks an interval without zero, not corrected for several questions."
    runs = [run for variant in result.variants for run in variant.runs]
    commits = sorted({str(run.provenance.commit) for run in runs})
    yield f"Commit {', '.join(commits)}; {', '.join(sorted({str(run.provenance.hardware) for run in runs}))}."
    yield from (f"Missing: {line}" for line in result.failures)


def compared(result: SweepResult) -> list[VariantResult]:
    """The variants that have something to be compared with."""
    return [variant for variant in result.variants[1:] if any(d.count for d in variant.differences.values())]


def differences(variant: VariantResult) -> list[str]:
    """Paired differences with their stars."""
    return [signed(d.value) + star(d) for d in variant.differences.values()]


def pairs(variant: VariantResult) -> str:
    """How many seeds were compared."""
    return str(max(d.count for d in variant.differences.values()))


def star(difference: Mean) -> str:
    """``*`` where the interval excludes zero."""
    return "*" if difference.excludes_zero else ""


def cell(mean: Mean, with_deviation: bool = False) -> str:
    """``0.123 ± 0.004 [0.113, 0.133]``."""
    if not math.isfinite(mean.low):
        return number(mean.value)
    deviation = f" ± {number(mean.deviation)}" if with_deviation else ""
    return f"{number(mean.value)}{deviation} [{number(mean.low)}, {number(mean.high)}]"


def interval(mean: Mean) -> str:
    """``0.113..0.133``."""
    return f"{number(mean.low)}..{number(mean.high)}" if math.isfinite(mean.low) else UNDEFINED


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else UNDEFINED


def signed(value: float) -> str:
    """With its sign."""
    return f"{value:+.4g}" if math.isfinite(value) else UNDEFINED


def short(metric: str) -> str:
    """A metric's name for narrow columns."""
    return metric.replace("_error", "").replace("vertex_", "").replace("photometric", "photo").replace("_", " ")


def _five(mean: Mean | None) -> list[str]:
    if mean is None:
        return [""] * 5
    values = (mean.value, mean.deviation, mean.low, mean.high)
    return [*(repr(value) if math.isfinite(value) else "" for value in values), str(mean.count)]
