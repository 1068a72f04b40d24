"""From a list of methods and a manifest to a table: the same faces, folds and probe for all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from emoca_core.datasets import Manifest
from emoca_core.datasets.folds import GroupBy, Split, cross_validation, groups_of, manifest_split, split_hash
from emoca_core.datasets.labels import Classes, count_labels
from emoca_core.errors import EmocaError, ParamsError, unknown_name
from emoca_core.interfaces import Landmarker
from emoca_core.measures.intervals import holm, interval_of, p_value_of
from emoca_core.measures.metrics import expression_metrics
from emoca_core.probe.codes import CodeSource, extract_codes
from emoca_core.probe.detections import Detections, detect_faces, manifest_hash
from emoca_core.probe.evaluate import PRESETS, Labels, Predictions, ProbeSettings, labels_of, probe_predictions
from emoca_core.probe.examples import example_faces
from emoca_core.probe.result import BenchmarkResult, Data, Difference, MethodResult, MissingMethod, Score, SplitRecord
from emoca_core.probe.scores import METRICS, Rows, metric_values, resampled_metrics
from emoca_core.probe.sources import Unavailable
from emoca_core.registry.spec import validated
from emoca_core.runs.run_folder import provenance

_ROUNDING = 1e-10
"""Far below one sample's share of a metric, far above the rounding of float64 sums."""


@dataclass(frozen=True)
class Protocol:
    """How methods are compared.

    Attributes:
        folds: Number of folds; 0 takes the manifest's own splits.
        group_by: What folds never split; by default clips, else people, else images.
        classes: Expression classes: those that occur in the data, or names.
        preset: ``paper`` or ``upstream``.
        settings: Fields of ``ProbeSettings`` that differ from the preset.
        draws: Bootstrap resamples.
        published: Show the paper's numbers beside.
        examples: Name example faces in the result, and show them in the report.
        batch_size: Faces encoded at once.
    """

    folds: int = 5
    group_by: GroupBy | None = None
    classes: Classes = "data"
    preset: str = "paper"
    settings: dict[str, object] = field(default_factory=dict)
    draws: int = 2000
    published: bool = False
    examples: bool = True
    batch_size: int = 32

    def probe_settings(self) -> ProbeSettings:
        """The preset with the changes on top.

        Raises:
            UnknownNameError: No such preset.
            ParamsError: A setting that does not exist, or is out of range.
        """
        if self.draws < 1 or self.batch_size < 1:
            raise ParamsError(f"resamples ({self.draws}) and batch size ({self.batch_size}) must be at least 1")
        if self.preset not in PRESETS:
            raise unknown_name("preset of the probe", self.preset, PRESETS)
        return validated(ProbeSettings, {**PRESETS[self.preset], **self.settings}, "probe")


@dataclass(frozen=True)
class Collected:
    """What the probes will read.

    Attributes:
        title: Name of the data set.
        manifest: Labelled images.
        detections: Their faces.
        sources: The methods that have codes.
        codes: Of all rows, by method; NaN where there is none.
        missing: Methods without codes.
    """

    title: str
    manifest: Manifest
    detections: Detections
    sources: tuple[CodeSource, ...]
    codes: dict[str, Float[ndarray, "N D"]]
    missing: tuple[Unavailable, ...]


def collect_codes(
    sources: Sequence[CodeSource],
    manifest: Manifest,
    landmarker: Landmarker,
    landmarker_name: str,
    protocol: Protocol,
    unavailable: Sequence[Unavailable] = (),
    title: str = "",
) -> Collected:
    """Find the faces and encode them, on as many processes as there are.

    Args:
        sources: The methods; the others are compared with the first.
        manifest: Labelled images.
        landmarker: Finds the faces.
        landmarker_name: For the cache's key.
        protocol: How methods are compared.
        unavailable: Methods to list without numbers.
        title: Name of the data set.

    Raises:
        AssetFormatError: No labels, or no usable split.
        ParamsError: Settings or folds that do not fit the data.
        EmocaError: No method has a code.
    """
    protocol.probe_settings()
    labels = labels_of(manifest, protocol.classes)
    _, groups = groups_of(manifest, protocol.group_by)
    _splits(protocol, manifest, groups, np.flatnonzero(labels.known), 0)  # refuses folds that cannot be made
    detections = detect_faces(manifest, landmarker, landmarker_name)
    codes, failed = _all_codes(sources, manifest, detections, labels, protocol.batch_size)
    missing = (*unavailable, *failed)
    if not codes:
        reasons = "; ".join(f"{m.name}: {m.reason.splitlines()[0]}" for m in missing)
        raise EmocaError(f"no method could run: {reasons}")
    with_codes = tuple(source for source in sources if source.name in codes)
    return Collected(title, manifest, detections, with_codes, codes, missing)


def compare_codes(collected: Collected, protocol: Protocol) -> BenchmarkResult:
    """Probe every method on the faces that all of them have a code for, in one process.

    Raises:
        ParamsError: A training set smaller than one batch.
        TrainingDivergedError: The loss of a probe is not finite.
    """
    manifest, codes = collected.manifest, collected.codes
    settings, labels = protocol.probe_settings(), labels_of(manifest, protocol.classes)
    finite = np.stack([np.isfinite(of_method).all(1) for of_method in codes.values()])
    rows = np.flatnonzero(labels.known & finite.all(0))
    group_by, groups = groups_of(manifest, protocol.group_by)
    splits = _splits(protocol, manifest, groups, rows, settings.seed)
    used = labels[rows]
    predictions = {name: probe_predictions(c[rows], used, splits, settings, name) for name, c in codes.items()}
    methods = _method_results(collected.sources, predictions, used, [groups[r] for r in rows], codes, protocol)
    first = next(iter(predictions.values()))
    return BenchmarkResult(
        data=_data(collected.title, manifest, labels, collected.detections, codes, rows),
        split=_split_record(protocol, group_by, manifest, groups, rows, splits, settings.seed),
        preset=protocol.preset,
        settings=settings.model_dump(mode="json"),
        draws=protocol.draws,
        tested=len(first.rows),
        methods=methods,
        missing=[MissingMethod(name=m.name, reason=m.reason) for m in collected.missing],
        published=protocol.published,
        provenance=provenance(),
        examples=example_faces(first, used, rows, manifest, collected.detections) if protocol.examples else [],
    )


def _all_codes(
    sources: Sequence[CodeSource], manifest: Manifest, detections: Detections, labels: Labels, batch_size: int
) -> tuple[dict[str, Float[ndarray, "N D"]], list[Unavailable]]:
    """Codes by method; a method that fails, or has no code at all, does not stop the others."""
    codes, failed = {}, []
    for source in sources:
        try:
            found = source.as_seen(extract_codes(source, manifest, detections, batch_size))
        except EmocaError as error:
            failed.append(Unavailable(source.name, str(error)))
            continue
        if found.shape[1] and np.isfinite(found[labels.known]).all(1).any():
            codes[source.name] = found
        else:
            failed.append(Unavailable(source.name, "it has no code for any labelled face"))
    return codes, failed


def _splits(
    protocol: Protocol, manifest: Manifest, groups: Sequence[str], rows: Int[ndarray, "K"], seed: int
) -> list[Split]:
    inside = [groups[r] for r in rows]
    if protocol.folds:
        return cross_validation(inside, protocol.folds, seed)
    names = manifest.texts("split")
    return manifest_split([names[r] for r in rows], inside, seed)


def _method_results(
    sources: Sequence[CodeSource],
    predictions: dict[str, Predictions],
    labels: Labels,
    groups: Sequence[str],
    codes: dict[str, Float[ndarray, "N D"]],
    protocol: Protocol,
) -> list[MethodResult]:
    tested = next(iter(predictions.values()))
    truth = labels[tested.rows].truth()
    rows: dict[str, Rows] = {name: p.rows_of_metrics() | truth for name, p in predictions.items()}
    _, group = np.unique([groups[r] for r in tested.rows], return_inverse=True)
    draws = resampled_metrics(list(rows.values()), group, labels.names, protocol.draws)
    values = np.stack([metric_values(of_method, labels.names) for of_method in rows.values()])
    differences = _differences(values, draws)
    return [
        MethodResult(
            name=source.name,
            inputs=source.inputs,
            crop=source.rule.name,
            dimensions=codes[source.name].shape[1],
            scores=_scores(rows[source.name], labels.names, values[i], draws[i], tested.fold),
            differences=differences[i],
            confusion=_confusion(rows[source.name], labels.names),
        )
        for i, source in enumerate(sources)
    ]


def _scores(
    rows: Rows,
    names: Sequence[str],
    values: Float[ndarray, "M"],
    draws: Float[ndarray, "R M"],
    fold: Int[ndarray, "T"],
) -> dict[str, Score]:
    by_fold = np.stack([metric_values({k: v[fold == f] for k, v in rows.items()}, names) for f in np.unique(fold)])
    spread = by_fold.std(0, ddof=1) if len(by_fold) > 1 else np.full(len(METRICS), math.nan)
    scores = {}
    for m, metric in enumerate(METRICS):
        low, high = interval_of(draws[:, m])
        scores[metric] = Score(value=values[m], low=low, high=high, fold_sd=spread[m])
    return scores


def _differences(values: Float[ndarray, "K M"], draws: Float[ndarray, "K R M"]) -> list[dict[str, Difference]]:
    """Of every method to the first, by metric; p values are corrected over the methods within a metric."""
    found: list[dict[str, Difference]] = [{} for _ in values]
    for m, metric in enumerate(METRICS):
        wholes = values[:, m] - values[0, m]
        resampled = [_exact(of_method[:, m] - draws[0, :, m]) for of_method in draws]
        p_values = [p_value_of(float(wholes[i]), resampled[i]) for i in range(1, len(values))]
        for i, (p_value, corrected) in enumerate(zip(p_values, holm(p_values), strict=True), start=1):
            low, high = interval_of(resampled[i])
            found[i][metric] = Difference(value=wholes[i], low=low, high=high, p_value=p_value, p_holm=corrected)
    return found


def _exact(differences: Float[ndarray, "R"]) -> Float[ndarray, "R"]:
    """Rounding of the sums must not break the tie of equal methods: a sign is counted, however small."""
    return np.where(np.abs(differences) < _ROUNDING, 0.0, differences)


def _confusion(rows: Rows, names: Sequence[str]) -> list[list[int]]:
    if not names:
        return []
    counts: list[list[int]] = expression_metrics(rows["logits"].argmax(1), rows["true_expression"], names)[1].tolist()
    return counts


def _data(
    title: str,
    manifest: Manifest,
    labels: Labels,
    detections: Detections,
    codes: dict[str, Float[ndarray, "N D"]],
    rows: Int[ndarray, "K"],
) -> Data:
    known = np.flatnonzero(labels.known)
    used = labels[rows]
    faces = [r for r in known if r in detections.faces]
    unreadable = sum(int(r) in detections.unreadable for r in known)
    return Data(
        manifest=title,
        images_hash=manifest_hash(manifest),
        images=len(manifest),
        labelled=len(known),
        unreadable=unreadable,
        without_face=len(known) - len(faces) - unreadable,
        without_code={name: int((~np.isfinite(c[faces]).all(1)).sum()) for name, c in codes.items()},
        used=len(rows),
        labels=labels.names,
        class_counts=[int((used.expression == i).sum()) for i in range(len(labels.names))],
        left_out=dict(count_labels(manifest, labels.names).left_out),
        valence_arousal=int((np.isfinite(used.valence) & np.isfinite(used.arousal)).sum()),
    )


def _split_record(
    protocol: Protocol,
    group_by: GroupBy,
    manifest: Manifest,
    groups: Sequence[str],
    rows: Int[ndarray, "K"],
    splits: Sequence[Split],
    seed: int,
) -> SplitRecord:
    paths = manifest.texts("path")
    tested = [(str(paths[rows[r]]), fold) for fold, split in enumerate(splits) for r in split.test]
    return SplitRecord(
        kind="folds" if protocol.folds else "manifest",
        group_by=group_by,
        groups=len({groups[r] for r in rows}),
        seed=seed,
        hash=split_hash([path for path, _ in tested], np.array([fold for _, fold in tested])),
        sizes=[{"training": len(s.training), "validation": len(s.validation), "test": len(s.test)} for s in splits],
    )


def check_names(names: Sequence[str]) -> None:
    """Refuse an empty list, and names that occur twice.

    Raises:
        ParamsError: With the reason.
    """
    if not names:
        raise ParamsError("no methods: name recipes or emotion backbones, separated by commas")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParamsError(f"named twice: {', '.join(twice)}")
