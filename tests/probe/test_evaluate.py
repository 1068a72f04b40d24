"""Splits, training of probes, and metrics of thousands of resamples."""

import numpy as np
import pytest
import torch
from literal_bootstrap import resamples
from toy_benchmark import SMALL, make_manifest

from emoca_core.datasets import Manifest
from emoca_core.datasets.folds import cross_validation, groups_of, manifest_split
from emoca_core.errors import AssetFormatError, ParamsError
from emoca_core.measures import metrics
from emoca_core.measures.intervals import holm
from emoca_core.probe import evaluate
from emoca_core.probe.evaluate import Labels, ProbeSettings, labels_of, probe_predictions, train_probe
from emoca_core.probe.network import ProbeNetwork
from emoca_core.probe.scores import METRICS, metric_values, resampled_metrics
from emoca_core.train import train
from emoca_core.train.emotion import EmotionTask
from emoca_core.train.emotion_batch import EmotionBatch

SETTINGS = ProbeSettings(**SMALL)
NAN = float("nan")


def toy(count=120, classes=3, seed=0):
    """Codes whose first number tells everything, and their labels."""
    rng = np.random.default_rng(seed)
    expression = rng.integers(classes, size=count) if classes else np.full(count, -1)
    valence = (rng.uniform(-1, 1, count) if not classes else (expression - 1) * 0.6).astype(np.float32)
    codes = np.stack([valence * 1e4 + 3e4, rng.standard_normal(count)], 1).astype(np.float32)
    labels = Labels(tuple("abc"[:classes]), expression, valence, rng.uniform(-1, 1, count).astype(np.float32))
    return codes, labels


def test_the_defaults_are_the_papers():
    s = ProbeSettings()
    assert (s.width, s.hidden_layers, s.learning_rate, s.betas, s.batch_size, s.epochs, s.standardise) == (
        2048, 4, 1e-4, (0.9, 0.999), 64, 20, True,
    )  # fmt: skip
    assert ProbeSettings.model_validate(evaluate.PRESETS["upstream"]).objective == "upstream"


def test_every_face_is_tested_once_by_a_probe_that_never_saw_its_clip():
    groups = [f"clip{i // 4}" for i in range(100)]
    splits = cross_validation(groups, 5, seed=3)
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(100))
    for s in splits:
        clips = [{groups[i] for i in rows} for rows in (s.training, s.validation, s.test)]
        assert not clips[0] & clips[1] | clips[0] & clips[2] | clips[1] & clips[2]
        assert sum(map(len, (s.training, s.validation, s.test))) == 100
    for k, s in enumerate(splits):
        np.testing.assert_array_equal(s.validation, splits[(k + 1) % 5].test)


@pytest.mark.parametrize(("folds", "message"), [(2, "at least 3"), (-1, "at least 3"), (30, "25 groups cannot")])
def test_impossible_folds_are_refused(folds, message):
    with pytest.raises(ParamsError, match=message):
        cross_validation([f"clip{i // 4}" for i in range(100)], folds)


def test_groups_are_clips_then_people_then_images(manifest):
    by, groups = groups_of(manifest)
    assert (by, len(set(groups))) == ("clip", 31)
    by, groups = groups_of(manifest, "sample")
    assert (by, len(set(groups))) == ("sample", 91)
    assert len(set(groups_of(manifest, "identity")[1])) == 91  # nobody has a name: everybody is somebody else


def test_the_manifests_own_split_never_stops_by_the_faces_it_reports():
    groups = [f"g{i // 2}" for i in range(100)]
    names = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    [split] = manifest_split(names, groups)
    assert [len(split.training), len(split.validation), len(split.test)] == [60, 20, 20]
    [split] = manifest_split(["train"] * 60 + ["validation"] * 40, groups)
    np.testing.assert_array_equal(split.test, np.arange(60, 100))
    assert sorted([*split.training, *split.validation]) == list(range(60))
    assert len(split.validation) == 6
    with pytest.raises(AssetFormatError, match="those with labelled faces are: dev, train"):
        manifest_split(["train", "dev"], ["a", "b"])


def test_labels_are_those_that_occur(manifest, tmp_path):
    labels = labels_of(manifest)
    assert labels.names == ("neutral", "happy", "sad")
    assert labels.known.all()
    without = labels_of(Manifest.open(make_manifest(tmp_path, faces=5, classes=False)))
    assert without.names == ()
    (tmp_path / "empty.csv").write_text("path\na.png\n")
    with pytest.raises(AssetFormatError, match="nothing to probe"):
        labels_of(Manifest.open(tmp_path / "empty.csv"))


def test_probes_learn_what_the_code_holds_and_are_kept():
    codes, labels = toy()
    splits = cross_validation([str(i) for i in range(120)], 3)
    found = probe_predictions(codes, labels, splits, SETTINGS)
    np.testing.assert_array_equal(found.rows, np.arange(120))
    for k, split in enumerate(splits):
        assert (found.fold[split.test] == k).all()
    assert (found.logits.argmax(1) == labels.expression).mean() > 0.95
    again = probe_predictions(codes, labels, splits, SETTINGS)
    np.testing.assert_array_equal(again.logits, found.logits)


def test_training_repeats_to_the_bit_and_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    codes, labels = toy()
    [split, *_] = cross_validation([str(i) for i in range(120)], 3)
    first, second = (train_probe(codes, labels, split, SETTINGS) for _ in range(2))
    for name, value in first.state_dict().items():
        assert (value == second.state_dict()[name]).all(), name
    assert not list(tmp_path.glob("emoca-probe-*"))
    np.testing.assert_allclose(first.mean, codes[split.training].mean(0), rtol=1e-5)
    raw = train_probe(codes, labels, split, SETTINGS.model_copy(update={"standardise": False, "epochs": 1}))
    assert (raw.mean == 0).all()
    assert (raw.deviation == 1).all()


def test_a_run_without_checkpoints_keeps_the_best_weights_alone(tmp_path):
    codes, labels = toy()
    network = ProbeNetwork(2, 3, width=8, hidden_layers=1)
    rows = [torch.from_numpy(array) for array in (codes, labels.expression, labels.valence, labels.arousal)]
    everything = list(range(len(codes)))

    def batch(chosen):
        return EmotionBatch(*rows).map(lambda tensor: tensor[chosen])

    train(EmotionTask(network, labels.names), everything, everything, SETTINGS, tmp_path / "run", collate=batch)
    assert (tmp_path / "run" / "best.safetensors").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_valence_and_arousal_alone_are_enough():
    codes, labels = toy(classes=0)
    found = probe_predictions(codes, labels, cross_validation([str(i) for i in range(120)], 3), SETTINGS)
    assert found.logits is None
    assert metrics.pcc(found.valence, labels.valence) > 0.9


def predictions(count, classes, seed):
    rng = np.random.default_rng(seed)
    expression = rng.integers(-1, classes, count)
    valence = np.where(rng.random(count) < 0.1, NAN, np.round(rng.uniform(-1, 1, count), 1)).astype(np.float32)
    arousal = rng.uniform(-1, 1, count).astype(np.float32)
    seen = (np.nan_to_num(valence) + 0.5 * rng.standard_normal(count)).astype(np.float32)
    guessed = np.round(rng.standard_normal(count), 1).astype(np.float32)
    guessed[::7] = 0.0  # a sign of its own
    return {
        "logits": rng.standard_normal((count, classes)) + 2 * np.eye(classes)[expression] * (expression >= 0)[:, None],
        "valence": seen,
        "arousal": guessed,
        "true_expression": expression,
        "true_valence": valence,
        "true_arousal": arousal,
    }


def test_resampled_metrics_are_those_of_the_resampled_faces():
    """Sums over groups against the metrics of every resample taken literally."""
    labels = ("a", "b", "c", "d")
    methods = [predictions(60, 4, seed) for seed in (0, 1)]
    groups = np.random.default_rng(2).integers(9, size=60)
    found = resampled_metrics(methods, groups, labels, draws=150, seed=4)
    for of_method, rows in zip(found, methods, strict=True):
        literal = [metric_values({k: v[i] for k, v in rows.items()}, labels) for i in resamples(groups, 150, 4)]
        np.testing.assert_allclose(of_method, literal, rtol=0, atol=1e-7)  # RMSE of float32 differences


def test_resampled_metrics_are_undefined_where_the_metrics_are():
    rows = predictions(12, 2, 0)
    rows["arousal"] = np.full(12, 0.1, np.float32)  # a constant has no correlation
    rows["true_valence"] = np.full(12, NAN, np.float32)
    rows["true_expression"] = np.full(12, -1)
    found = dict(zip(METRICS, resampled_metrics([rows], np.arange(12), ("a", "b"), draws=20)[0].T, strict=True))
    undefined = ("valence_pcc", "valence_ccc", "valence_rmse", "valence_sagr", "arousal_pcc", "accuracy")
    assert all(np.isnan(found[name]).all() for name in (*undefined, "balanced_accuracy"))
    assert all(np.isfinite(found[name]).all() for name in ("arousal_ccc", "arousal_rmse", "arousal_sagr"))


def test_holms_correction():
    """Sorted p values times 4, 3, 2, 1, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, NAN, 0.9]) == pytest.approx([1.0, NAN, 1.0], nan_ok=True)
    assert holm([0.02]) == [0.02]
