"""Tables of a benchmark's result: terminal, Markdown, CSV."""

import csv
import io
import math
from collections.abc import Iterator, Mapping

from emoca_core.datasets.labels import class_notes
from emoca_core.measures.tables import UNDEFINED, aligned, markdown_table
from emoca_core.probe.found_again import FOUND_AGAIN
from emoca_core.probe.published import AFEW_VA, SOURCE
from emoca_core.probe.result import BenchmarkResult, MethodResult, Score
from emoca_core.probe.visible import NOISE_MM, VISIBLE

COLUMNS = {
    "valence_pcc": "V-PCC",
    "valence_ccc": "V-CCC",
    "valence_rmse": "V-RMSE",
    "valence_sagr": "V-SAGR",
    "arousal_pcc": "A-PCC",
    "arousal_ccc": "A-CCC",
    "arousal_rmse": "A-RMSE",
    "arousal_sagr": "A-SAGR",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}
"""Metrics in the order and spelling of the paper's tables."""
SIGNIFICANT = 0.05
UNEVEN = 0.05
"""Probability that chance among the groups spreads folds so far that they are flagged."""
NOT_RUN = "not run"


def shown_metrics(result: BenchmarkResult) -> list[str]:
    """Metrics that are defined for some method: data without valence have no valence columns."""
    return [name for name in COLUMNS if any(method.scores[name].value is not None for method in result.methods)]


def published_rows(result: BenchmarkResult) -> Mapping[str, Mapping[str, float]]:
    """The paper's rows, if they were asked for and share a column with the measured ones."""
    shown = {metric for row in AFEW_VA.values() for metric in row} & set(shown_metrics(result))
    return AFEW_VA if result.published and shown else {}


def terminal_table(result: BenchmarkResult) -> str:
    """Values, their 95 % intervals below, ``*`` where a method differs significantly from the first."""
    metrics = shown_metrics(result)
    header = ["method", *(COLUMNS[m].replace("balanced accuracy", "bal. acc.") for m in metrics)]
    lines = [header]
    for method in result.methods:
        lines.append([method.name, *(number(method.scores[m].value) + star(method, m) for m in metrics)])
        lines.append(["", *(f"{number(method.scores[m].low)}..{number(method.scores[m].high)}" for m in metrics)])
    for missing in result.missing:
        lines.append([f"{missing.name} [{NOT_RUN}]", *[UNDEFINED] * len(metrics)])
    for name, row in published_rows(result).items():
        lines.append([f"{name} [published]", *(number(row.get(m)) for m in metrics)])
    return "\n".join([aligned(lines), "", *notes(result)])


def markdown(result: BenchmarkResult) -> str:
    """One table with intervals, and everything that is needed to read it."""
    metrics = shown_metrics(result)
    rows = [["method", "inputs", *(COLUMNS[m] for m in metrics)]]
    for method in result.methods:
        inputs = f"{', '.join(method.inputs)} ({method.dimensions})"
        rows.append([method.name, inputs, *(_cell(result, method, m) for m in metrics)])
    for missing in result.missing:
        rows.append([missing.name, NOT_RUN, *[UNDEFINED] * len(metrics)])
    for name, row in published_rows(result).items():
        rows.append([f"{name} (published)", "", *(number(row.get(m)) for m in metrics)])
    table = markdown_table(rows, texts=2)
    return "\n\n".join([f"# Emotion in face codes: {result.data.manifest}", table, *notes(result)]) + "\n"


def comma_separated(result: BenchmarkResult) -> str:
    """One line for every method and metric."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    compared_by = ("difference", "difference_low", "difference_high", "p_value", "p_holm")
    writer.writerow(("method", "source", "metric", "value", "low", "high", "fold_sd", *compared_by))
    for method in result.methods:
        for metric in shown_metrics(result):
            score, difference = method.scores[metric], method.differences.get(metric)
            compared = (
                (difference.value, difference.low, difference.high, difference.p_value, difference.p_holm)
                if difference
                else (None,) * 5
            )
            measured = (score.value, score.low, score.high, score.fold_sd)
            writer.writerow((method.name, "measured", metric, *measured, *compared))
    for missing in result.missing:
        writer.writerow((missing.name, NOT_RUN, *[None] * 10))
    for name, row in published_rows(result).items():
        for metric, value in row.items():
            writer.writerow((name, "published", metric, value, *(None,) * 8))
    return file.getvalue()


def notes(result: BenchmarkResult) -> Iterator[str]:
    """What a reader must know: counts, protocol, what differs from the first method, what did not run."""
    data, split = result.data, result.split
    lost = f"{data.unreadable} unreadable, {data.without_face} without a face"
    lost += "".join(f", {count} without a code of {name}" for name, count in data.without_code.items() if count)
    counted = f"{data.used} of {data.labelled} labelled faces of {data.manifest} were used ({lost})"
    yield f"{counted}; {result.tested} were tested."
    yield from (f"Labels: {note}." for note in class_notes(data.labels, data.left_out))
    if any(method.inputs == (VISIBLE,) for method in result.methods):
        yield (
            "(visible): the same probe on what the face model shows of the code: mean displacements of the regions "
            f"around the landmarks, head pose removed, {NOISE_MM} mm of noise added."
        )
    if any(method.name.endswith(FOUND_AGAIN) for method in result.methods):
        yield (
            f"{FOUND_AGAIN}: the same probe on the code that another method finds in portraits of the faces, all with "
            "one skin, one light and from the front; without shape."
        )
    how = f"{len(split.sizes)}-fold cross-validation" if split.kind == "folds" else "the manifest's own split"
    layers, width = result.settings["hidden_layers"], result.settings["width"]
    network = f"{layers} layers of {width}" if layers else "linear"
    yield (
        f"Split: {how} by {split.group_by} ({split.groups} groups), seed {split.seed}, hash {split.hash[:12]}. Probe: "
        f"preset {result.preset}, {network}, codes "
        f"{'standardised' if result.settings['standardise'] else 'not standardised'}."
    )
    yield (
        f"95 % intervals: bootstrap of {result.draws} resamples of whole groups of the tested faces; the probes are "
        "trained once, so chance in training is not in them."
    )
    yield from (line for method in result.methods[1:] if (line := significance(result, method)))
    if uneven := list(uneven_scores(result)):
        yield (
            f"! The folds differ by more than chance among the groups explains (p < {UNEVEN}): {', '.join(uneven)}. "
            "Which faces a probe is trained on matters there as much as the interval, or more."
        )
    if published_rows(result):
        yield f"Published: {SOURCE}. Facts of the paper on its own data; not comparable with other data."
    elif result.published:
        yield "Published: the paper has no number in these columns."
    for method in result.missing:
        yield f"Not run: {method.name}: {' '.join(method.reason.split())}"


def significance(result: BenchmarkResult, method: MethodResult) -> str:
    """In which metrics a method differs from the first one."""
    differing: list[str] = []
    same: list[str] = []
    for metric in shown_metrics(result):
        difference = method.differences[metric]
        if difference.p_holm is None or difference.value is None:
            continue
        p = f"{COLUMNS[metric]} {difference.value:+.3f} (p = {difference.p_holm:.2g})"
        (differing if difference.p_holm < SIGNIFICANT else same).append(p)
    name = f"{method.name} against {result.methods[0].name}"
    if not differing:
        return f"{name}: no significant difference." if same else ""
    rest = f"; not significant: {', '.join(same)}" if same else ""
    return f"{name}: significant: {', '.join(differing)}{rest}."


def star(method: MethodResult, metric: str) -> str:
    """``*`` where a method differs significantly from the first."""
    difference = method.differences.get(metric)
    return "*" if difference and difference.p_holm is not None and difference.p_holm < SIGNIFICANT else ""


def is_uneven(result: BenchmarkResult, score: Score) -> bool:
    """Whether the folds of a method differ by more than chance among the groups explains.

    Source: the chi-squared test of equal folds; a fold's variance is that of the whole, by the bootstrap, times the
    number of folds.
    """
    folds = len(result.split.sizes)
    if score.fold_sd is None or score.low is None or score.high is None or folds < 2:
        return False
    from scipy.special import chdtri

    by_chance = math.sqrt(folds) * (score.high - score.low) / (2 * 1.96)
    return score.fold_sd > by_chance * math.sqrt(float(chdtri(folds - 1, UNEVEN)) / (folds - 1))


def uneven_scores(result: BenchmarkResult) -> Iterator[str]:
    """Method, metric and spread of everything that ``is_uneven``."""
    for method in result.methods:
        for metric in shown_metrics(result):
            score = method.scores[metric]
            if is_uneven(result, score):
                yield f"{method.name} {COLUMNS[metric]} ± {number(score.fold_sd)}"


def spread(result: BenchmarkResult, score: Score) -> str:
    """Standard deviation over the folds, with ``!`` where they differ too much; empty without folds."""
    flag = "!" if is_uneven(result, score) else ""
    return "" if score.fold_sd is None else f" ± {number(score.fold_sd)}{flag}"


def number(value: float | None) -> str:
    """Two or three digits, as in the paper's tables but one more."""
    return UNDEFINED if value is None else f"{value:.3f}"


def _cell(result: BenchmarkResult, method: MethodResult, metric: str) -> str:
    score = method.scores[metric]
    if score.value is None:
        return UNDEFINED
    interval = f"[{number(score.low)}, {number(score.high)}]{spread(result, score)}"
    return f"{number(score.value)}{star(method, metric)} {interval}"
