"""``index.html`` of an optimisation: verdict, faces, film, curves and figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from emoca_core.files import write_text
from emoca_core.optimisation.record import JudgementRecord, ResultRecord
from emoca_core.pages import html_page

_WIDTH, _HEIGHT = 320, 150
"""Of a plot, pixels."""
_POINTS = 400
"""At most so many of a curve."""


@dataclass(frozen=True)
class Plot:
    """One term over the steps, of every start.

    Attributes:
        name: Of the term.
        least: Value at the bottom.
        most: Value at the top.
        last: Step at the right.
        curves: Name of the start, and the points of its polyline.
    """

    name: str
    least: float
    most: float
    last: int
    curves: Sequence[tuple[str, str]]


def write_page(
    path: Path,
    record: ResultRecord,
    histories: Sequence[tuple[str, Mapping[str, Float[Tensor, "S"]]]],
    files: Sequence[Path],
    *,
    film: bool,
) -> None:
    """Write the page of one optimisation.

    Args:
        path: Where it shall appear, beside what it shows.
        record: What it came to.
        histories: Start, and every term at every step.
        files: What is linked, relative to the page.
        film: Whether there is one.

    Raises:
        OSError: The file cannot be written.
    """
    plots, size = list(_plots(histories)), (_WIDTH, _HEIGHT)
    said = verdict(record)
    page = html_page("optimisation", record=record, verdict=said, plots=plots, size=size, files=files, film=film)
    write_text(path, page)


def write_comparison(path: Path, records: Mapping[str, ResultRecord]) -> None:
    """Write the page that compares optimisations in folders beside it, by their names.

    Raises:
        OSError: The file cannot be written.
    """
    first = next(iter(records.values()))
    title = f"{first.source} with the expression of {first.target}"
    verdicts = [verdict(record) for record in records.values()]
    write_text(path, html_page("optimisations", title=title, records=records, verdicts=verdicts))


def verdict(record: ResultRecord) -> str:
    """One line: who is pleased."""
    run = record.runs[record.best]
    parts = [
        f"energy {run.before.energy:.3f} → {run.after.energy:.3f}",
        f"judge {record.judge}: {_change(run.before, run.after, 'judge')}",
    ]
    if record.witness is not None:
        parts.append(f"witness {record.witness}: {_change(run.before, run.after, 'witness')}")
    else:
        parts.append("no witness at hand: whether anybody else agrees is not known")
    if run.adversarial:
        parts.append("adversarial: it pleases the judge alone")
    return "; ".join(parts)


def _change(before: JudgementRecord, after: JudgementRecord, who: str) -> str:
    a, b = getattr(before, who), getattr(after, who)
    names = "" if b.expression is None else f" ({a.expression} → {b.expression})"
    return f"{a.distance:.3f} → {b.distance:.3f}{names}"


def _plots(histories: Sequence[tuple[str, Mapping[str, Float[Tensor, "S"]]]]) -> Iterator[Plot]:
    for name in histories[0][1]:
        curves = [(start, history[name]) for start, history in histories]
        finite = [curve[curve.isfinite()] for _, curve in curves]
        least, most = (float(function) for function in (min(c.min() for c in finite), max(c.max() for c in finite)))
        last = max(len(curve) for _, curve in curves) - 1
        scaled = [(start, _polyline(curve, least, most, last)) for start, curve in curves]
        yield Plot(name, least, most, last, scaled)


def _polyline(curve: Float[Tensor, "S"], least: float, most: float, last: int) -> str:
    every = max(1, len(curve) // _POINTS)
    points = [
        (_WIDTH * step / max(last, 1), _HEIGHT * (1 - (value - least) / max(most - least, 1e-12)))
        for step, value in enumerate(curve.tolist())
        if step % every == 0 and value == value
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
