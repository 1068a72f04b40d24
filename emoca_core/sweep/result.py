"""What a sweep found: the metrics of every run, means over seeds, and paired differences to the first variant."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emoca_core.errors import EmocaError, unknown_name
from emoca_core.parsing import read_record
from emoca_core.runs.cards import RUN_CARD, Card
from emoca_core.runs.run_folder import Provenance, RunFolder
from emoca_core.sweep.plan import Plan, Run
from emoca_core.sweep.running import is_done, read_outcome
from emoca_core.sweep.statistics import Mean, mean_of, paired_difference

MEASURES = (
    *("emotion_distance", "expression_error", "landmark_error", "photometric_error", "detail_photometric_error"),
    *(f"vertex_error_{region}_mm" for region in ("face", "lips", "eyes", "brows")),
    *("score", "accuracy", "balanced_accuracy"),
    *(f"{level}_{measure}" for level in ("valence", "arousal") for measure in ("pcc", "ccc", "rmse", "sagr")),
)
"""What validation measures whatever the objective is, in the order of the columns."""


@dataclass(frozen=True)
class RunResult:
    """One training.

    Attributes:
        seed: Its seed.
        step: Of the validation that is reported.
        seconds: Of training; less than all of it where it was stopped between.
        metrics: By name.
        provenance: Versions, commit and machine.
    """

    seed: int
    step: int
    seconds: float
    metrics: Mapping[str, float]
    provenance: Provenance


@dataclass(frozen=True)
class VariantResult:
    """One variant.

    Attributes:
        name: Of the variant.
        changes: How it differs.
        runs: Its finished trainings.
        failures: Reasons by seed.
        means: Over the seeds, by metric.
        differences: To the first variant, by metric; empty for the first.
    """

    name: str
    changes: Mapping[str, object]
    runs: Sequence[RunResult]
    failures: Mapping[int, str]
    means: Mapping[str, Mean]
    differences: Mapping[str, Mean]


@dataclass(frozen=True)
class SweepResult:
    """All variants.

    Attributes:
        plan: The file.
        metrics: Columns of the table.
        variants: The first is the one that the others are compared with.
    """

    plan: Plan
    metrics: tuple[str, ...]
    variants: Sequence[VariantResult]

    @property
    def failures(self) -> list[str]:
        """One line for each training that is not there."""
        return [f"{v.name}, seed {seed}: {reason}" for v in self.variants for seed, reason in v.failures.items()]


def read_results(plan: Plan, runs: Sequence[Run]) -> SweepResult:
    """Gather what lies in the run folders.

    Raises:
        EmocaError: No run is finished.
        UnknownNameError: The file asks for a metric that no run has.
    """
    found: dict[str, list[RunResult]] = {name: [] for name in plan.variants}
    failures: dict[str, dict[int, str]] = {name: {} for name in plan.variants}
    for run in sorted(runs, key=lambda run: plan.seeds.index(run.seed)):
        outcome = read_outcome(run)
        if is_done(run, outcome):
            found[run.variant].append(read_run(run, plan.report))
        elif outcome is not None and outcome.arguments != run.arguments:
            failures[run.variant][run.seed] = "was trained with other settings"
        else:
            failures[run.variant][run.seed] = outcome.reason if outcome else "has not been trained"
    known = {name for results in found.values() for result in results for name in result.metrics}
    if not known:
        reasons = {reason for seeds in failures.values() for reason in seeds.values()}
        raise EmocaError(f"no run of the sweep is finished: {'; '.join(sorted(reasons))}")
    for name in plan.metrics:
        if name not in known:
            raise unknown_name("metric of these runs", name, known)
    results = [result for found_of in found.values() for result in found_of]
    finite = {name for name in known if any(math.isfinite(result.metrics.get(name, math.nan)) for result in results)}
    metrics = plan.metrics or tuple(name for name in MEASURES if name in finite) or tuple(sorted(known))
    reference = found[next(iter(plan.variants))]
    variants = [
        VariantResult(
            name=name,
            changes=variant.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            runs=found[name],
            failures=failures[name],
            means={m: mean_of(list(_by_seed(found[name], m).values())) for m in metrics},
            differences={m: paired_difference(_by_seed(found[name], m), _by_seed(reference, m)) for m in metrics}
            if number
            else {},
        )
        for number, (name, variant) in enumerate(plan.variants.items())
    ]
    return SweepResult(plan, metrics, variants)


def read_run(run: Run, report: str) -> RunResult:
    """The metrics of a finished training."""
    best = read_record(run.folder / RUN_CARD, Card)
    step, metrics = best.step, best.metrics
    if report == "last":
        step, metrics = last_validation(run.folder)
    provenance = Provenance.model_validate(RunFolder(run.folder).record().model_dump(exclude={"settings"}))
    outcome = read_outcome(run)
    known = {name: math.nan if value is None else value for name, value in metrics.items()}
    return RunResult(run.seed, step, outcome.seconds if outcome else math.nan, known, provenance)


def last_validation(folder: Path) -> tuple[int, dict[str, float | None]]:
    """Step and metrics of the last validation of a run; ``None`` for what was not finite.

    Raises:
        EmocaError: The run has none.
    """
    for line in reversed(RunFolder(folder).logged()):
        if found := {k.removeprefix("validation/"): v for k, v in line.values.items() if k.startswith("validation/")}:
            return line.step, found
    raise EmocaError(f"{folder} has got as far as no validation")


def _by_seed(results: Sequence[RunResult], metric: str) -> dict[int, float]:
    return {result.seed: result.metrics[metric] for result in results if metric in result.metrics}
