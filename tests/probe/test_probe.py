"""The probe network, its folds and its intervals."""

import numpy as np
import pytest
import torch
from literal_bootstrap import bootstrap, compare
from scipy import stats
from torch import nn

from emoca_core.datasets.folds import group_parts, split_hash
from emoca_core.measures import metrics
from emoca_core.probe.network import ProbeNetwork


def test_layers_are_those_of_the_published_probe():
    probe = ProbeNetwork(153, classes=8)
    shapes = {key: tuple(value.shape) for key, value in probe.state_dict().items()}
    assert shapes["model.0.weight"] == (2048, 153)
    assert shapes["model.1.running_var"] == (2048,)
    assert shapes["model.9.weight"] == (2048, 2048)
    assert shapes["model.12.weight"] == (10, 2048)
    slopes = [m.negative_slope for m in probe.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.2] * 4


def test_the_output_is_expression_valence_arousal():
    probe = ProbeNetwork(5, classes=7, width=8).eval()
    seen = probe(torch.randn(3, 5))
    assert torch.equal(
        torch.cat([seen.logits, seen.valence[:, None], seen.arousal[:, None]], 1), seen.features["output"]
    )


def test_without_hidden_layers_the_probe_is_one_linear_map():
    probe, codes = ProbeNetwork(5, classes=7, hidden_layers=0), torch.randn(3, 5)
    probe.standardise(torch.randn(50, 5))
    ((weight, bias),) = [(layer.weight, layer.bias) for layer in probe.model]
    expected = (codes - probe.mean) / probe.deviation @ weight.T + bias
    torch.testing.assert_close(probe(codes).features["output"], expected)


def test_standardisation_uses_training_statistics_and_survives_constants():
    codes = torch.randn(200, 4) * torch.tensor([7e4, 0.5, 1e-3, 0.0]) + torch.tensor([1e5, 0, 0, 3.0])
    probe = ProbeNetwork(4, classes=2, width=8)
    probe.standardise(codes)
    standard = (codes - probe.mean) / probe.deviation
    torch.testing.assert_close(standard.mean(0), torch.zeros(4), atol=1e-4, rtol=0)  # float32 of 1e5 +- 7e4
    torch.testing.assert_close(standard.std(0, unbiased=False), torch.tensor([1.0, 1, 1, 0]), atol=1e-4, rtol=0)


def test_folds_keep_groups_whole_and_sizes_equal():
    rng = np.random.default_rng(0)
    groups = np.repeat([f"clip{i}" for i in range(120)], rng.integers(10, 120, 120))
    fold = group_parts(list(groups), [1.0] * 5, seed=1)
    for clip in set(groups):
        assert len(set(fold[groups == clip])) == 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 120
    assert (group_parts(list(groups), [1.0] * 5, seed=1) == fold).all()
    assert (group_parts(list(groups), [1.0] * 5, seed=2) != fold).any()


def test_fewer_groups_than_folds_is_refused():
    with pytest.raises(ValueError, match="2 groups cannot be split into 5 parts"):
        group_parts(["a", "b", "a"], [1.0] * 5)


def test_the_hash_depends_on_the_split_and_not_on_the_order():
    fold = np.array([0, 1, 0])
    assert split_hash(["a", "b", "c"], fold) == split_hash(["c", "b", "a"], fold[::-1])
    assert split_hash(["a", "b", "c"], fold) != split_hash(["a", "b", "c"], 1 - fold)


RNG = np.random.default_rng(1)
TRUTH = RNG.standard_normal(400)
GOOD, BAD = TRUTH + 0.5 * RNG.standard_normal(400), TRUTH + 1.5 * RNG.standard_normal(400)


def correlation(values):
    return lambda indices: metrics.pcc(values[indices], TRUTH[indices])


def test_the_interval_agrees_with_scipys_bootstrap():
    ours = bootstrap(correlation(GOOD), np.arange(400))
    theirs = stats.bootstrap(
        (GOOD, TRUTH), metrics.pcc, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)  # two random draws of 2000
    assert ours.low < ours.value < ours.high


def test_dependent_samples_widen_the_interval():
    groups = np.repeat(np.arange(20), 20)
    drift = np.repeat(RNG.standard_normal(20), 20)
    measure = lambda indices: float(np.mean(drift[indices]))  # noqa: E731
    whole, single = bootstrap(measure, groups), bootstrap(measure, np.arange(400))
    assert whole.high - whole.low > 3 * (single.high - single.low)  # theory: sqrt(20) = 4.5


def test_a_clear_difference_is_significant_and_none_is_not():
    better = compare(correlation(GOOD), correlation(BAD), np.arange(400))
    assert better.p_value <= 0.001
    assert better.difference.low > 0
    same = compare(correlation(GOOD), correlation(GOOD), np.arange(400))
    assert same.p_value == 1.0
    assert same.difference.value == 0


def test_an_undefined_metric_has_an_undefined_interval():
    interval = bootstrap(lambda indices: float("nan"), np.arange(10), draws=50)
    assert np.isnan([interval.value, interval.low, interval.high]).all()
