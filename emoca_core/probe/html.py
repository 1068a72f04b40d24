"""A benchmark's result as one page that needs no other file: table, intervals, confusion matrices, faces."""

import math
from collections.abc import Sequence
from html import escape

from emoca_core.files import json_text
from emoca_core.measures.metrics import HIGHER_IS_BETTER
from emoca_core.probe.report import COLUMNS, UNDEFINED, notes, number, published_rows, shown_metrics, star
from emoca_core.probe.result import BenchmarkResult, Example, MethodResult

LABEL, PLOT, ROW, TICKS = 190, 300, 24, 4
"""Width of the names and of the plot, height of a row, pixels; number of ticks."""


def html_page(result: BenchmarkResult) -> str:
    """The whole page."""
    metrics = shown_metrics(result)
    plots = "".join(interval_plot(result, metric) for metric in metrics)
    classes = result.data.labels
    matrices = "".join(_confusion(method, classes) for method in result.methods) if classes else ""
    compared = f'<div class="grid">{matrices}</div>' if matrices else ""
    sections = [
        _section("Table", _table(result, metrics) + "".join(f"<p>{escape(note)}</p>" for note in notes(result))),
        _section("95 % intervals", f'<div class="grid">{plots}</div>'),
        _section("Confusion, row = true class, share of the row", compared),
        _section(f"Faces as {result.methods[0].name} sees them", _faces(result.examples)),
        _section("How this was made", f"<pre>{escape(_how(result))}</pre>"),
    ]
    title = escape(f"Emotion in face codes: {result.data.manifest}")
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(section for section in sections if section))


def interval_plot(result: BenchmarkResult, metric: str) -> str:
    """Value and interval of every method in one metric, as inline SVG."""
    scores = [(method.name, method.scores[metric]) for method in result.methods]
    numbers = [v for _, s in scores for v in (s.value, s.low, s.high) if v is not None]
    ticks = tick_values(min(numbers), max(numbers))
    low, high = ticks[0], ticks[-1]

    def across(value: float) -> float:
        return LABEL + PLOT * (value - low) / (high - low)

    bottom = ROW * len(scores) + 8
    parts = [
        f'<line x1="{across(t):.1f}" x2="{across(t):.1f}" y1="4" y2="{bottom}" class="tick"/>'
        f'<text x="{across(t):.1f}" y="{bottom + 16}" text-anchor="middle">{t:g}</text>'
        for t in ticks
    ]
    for index, (name, score) in enumerate(scores):
        middle = ROW * index + ROW / 2 + 4
        parts.append(f'<text x="{LABEL - 10}" y="{middle + 4}" text-anchor="end">{escape(_short(name))}</text>')
        if score.value is None:
            continue
        if score.low is not None and score.high is not None:
            ends = f'x1="{across(score.low):.1f}" x2="{across(score.high):.1f}"'
            parts.append(f'<line {ends} y1="{middle}" y2="{middle}" class="interval"/>')
        tip = f"<title>{escape(name)}: {number(score.value)} [{number(score.low)}, {number(score.high)}]</title>"
        parts.append(f'<circle cx="{across(score.value):.1f}" cy="{middle}" r="4.5">{tip}</circle>')
    better = "higher" if HIGHER_IS_BETTER[metric.removeprefix("valence_").removeprefix("arousal_")] else "lower"
    size = f'viewBox="0 0 {LABEL + PLOT + 20} {bottom + 24}"'
    caption = f"<figcaption>{escape(COLUMNS[metric])} <small>({better} is better)</small></figcaption>"
    return f'<figure>{caption}<svg {size} role="img">{"".join(parts)}</svg></figure>'


def tick_values(low: float, high: float) -> list[float]:
    """Round numbers around a range, at least two of them."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * TICKS >= span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _table(result: BenchmarkResult, metrics: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(COLUMNS[m])}</th>" for m in metrics)
    rows = []
    for method in result.methods:
        inputs = escape(f"{', '.join(method.inputs)} ({method.dimensions})")
        cells = "".join(_cell(method, m) for m in metrics)
        rows.append(f"<tr><th>{escape(method.name)}<small>{inputs}</small></th>{cells}</tr>")
    for name, row in published_rows(result).items():
        cells = "".join(f"<td>{number(row.get(m))}</td>" for m in metrics)
        rows.append(f'<tr class="published"><th>{escape(name)}<small>published</small></th>{cells}</tr>')
    return f'<div class="wide"><table><tr><th>method</th>{head}</tr>{"".join(rows)}</table></div>'


def _cell(method: MethodResult, metric: str) -> str:
    score = method.scores[metric]
    if score.value is None:
        return f"<td>{UNDEFINED}</td>"
    sd = "" if score.fold_sd is None else f" ± {number(score.fold_sd)}"
    interval = f"<small>{number(score.low)} to {number(score.high)}{sd}</small>"
    return f"<td>{number(score.value)}{star(method, metric)}{interval}</td>"


def _confusion(method: MethodResult, names: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name[:4])}</th>" for name in names)
    rows = []
    for name, counts in zip(names, method.confusion, strict=True):
        total = sum(counts)
        cells = "".join(
            f'<td style="--share:{count / total if total else 0:.3f}" title="{count} of {total}">'
            f"{round(100 * count / total) if total else 0}</td>"
            for count in counts
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    table = f'<table class="confusion"><tr><td></td>{head}</tr>{"".join(rows)}</table>'
    return f"<figure><figcaption>{escape(method.name)}</figcaption>{table}</figure>"


def _faces(examples: Sequence[Example]) -> str:
    rows = [("read well", True), ("read badly", False)]
    return "".join(
        f'<h3>{title}</h3><div class="faces">{"".join(_face(e) for e in examples if e.good is good)}</div>'
        for title, good in rows
        if any(e.good is good for e in examples)
    )


def _face(example: Example) -> str:
    picture = ""
    if example.thumbnail:
        picture = f'<img src="data:image/jpeg;base64,{example.thumbnail}" alt="{escape(example.path)}">'
    caption = f"<b>{escape(example.truth)}</b> seen as {escape(example.prediction)}"
    return f'<figure title="{escape(example.path)}">{picture}<figcaption>{caption}</figcaption></figure>'


def _how(result: BenchmarkResult) -> str:
    chosen = {"settings": result.settings, "split": result.split.model_dump(), "data": result.data.model_dump()}
    return json_text({**chosen, "provenance": result.provenance})


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _short(name: str) -> str:
    return name if len(name) <= 26 else name[:25] + "…"


_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d21; --soft: #6b6b75; --line: #e3e3e8; --paper: #fff; --mark: #2459c4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --soft: #a0a0aa; --line: #34343c; --paper: #17171b; --mark: #8db2ff; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 76rem; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; color: var(--soft); }
p { max-width: 60rem; margin: .5rem 0; }
small { color: var(--soft); font-weight: 400; }
td > small, th > small { display: block; font-size: .75rem; white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child { text-align: left; }
.published { color: var(--soft); font-style: italic; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1.4rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; max-width: 34rem; font-size: 13px; fill: var(--ink); }
.tick { stroke: var(--line); } .interval { stroke: var(--mark); stroke-width: 3; stroke-linecap: round; opacity: .55; }
circle { fill: var(--mark); }
.confusion td, .confusion th { padding: .2rem .45rem; font-size: .8rem; text-align: center; }
.confusion td[style] { background: color-mix(in srgb, var(--mark) calc(var(--share) * 75%), transparent); }
.faces { display: flex; flex-wrap: wrap; gap: 1rem; }
.faces figure { width: 8.5rem; } .faces figcaption { font-size: .8rem; font-weight: 400; }
.faces img { width: 96px; height: 96px; border-radius: 6px; display: block; }
pre { font-size: .78rem; overflow-x: auto; color: var(--soft); max-height: 24rem; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
