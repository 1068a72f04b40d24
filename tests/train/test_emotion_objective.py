"""The objective against scipy, its weights, and its gradient where correlations are undefined."""

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from emoca_core.interfaces import EmotionPrediction
from emoca_core.measures import metrics
from emoca_core.train.emotion_objective import EmotionObjectiveSettings, ccc, emotion_objective, pcc, shake_weights
from emoca_core.train.task import Step

STEP = Step(epoch=0, index=3, seed=1)
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(32, 7, generator=GENERATOR, dtype=torch.float64)
GUESS = torch.randn(2, 32, generator=GENERATOR, dtype=torch.float64) * 0.4
TRUTH = torch.rand(2, 32, generator=GENERATOR, dtype=torch.float64) * 2 - 1
LABELS = torch.randint(0, 7, (32,), generator=GENERATOR)


def objective(logits=LOGITS, guess=GUESS, labels=LABELS, truth=TRUTH, step=STEP, **settings):
    prediction = EmotionPrediction({}, logits=logits, valence=guess[0], arousal=guess[1])
    return emotion_objective(prediction, labels, truth[0], truth[1], EmotionObjectiveSettings(**settings), step)


def test_correlations_equal_the_metrics():
    """The epsilon of 1e-8 against variances of about 0.2 moves the value by less than 1e-6."""
    assert pcc(GUESS[0], TRUTH[0]).item() == pytest.approx(stats.pearsonr(GUESS[0], TRUTH[0]).statistic, abs=1e-6)
    assert ccc(GUESS[0], TRUTH[0]).item() == pytest.approx(metrics.ccc(GUESS[0].numpy(), TRUTH[0].numpy()), abs=1e-6)


@pytest.mark.parametrize("weights", ["paper", "upstream"])
def test_the_total_is_the_weighted_sum_of_its_terms(weights):
    losses = objective(weights=weights)
    squared = [F.mse_loss(g, t) for g, t in zip(GUESS, TRUTH, strict=True)]
    correlation = [1 - (f(GUESS[0], TRUTH[0]) + f(GUESS[1], TRUTH[1])) / 2 for f in (pcc, ccc)]
    terms = [sum(squared), *correlation] if weights == "paper" else [*squared, *correlation]
    drawn = shake_weights(len(terms), STEP).double()
    expected = F.cross_entropy(LOGITS, LABELS) + sum(w * t for w, t in zip(drawn, terms, strict=True))
    torch.testing.assert_close(losses.total, expected)


def test_weights_are_positive_sum_to_one_and_depend_on_the_step_alone():
    drawn = shake_weights(3, STEP)
    assert drawn.sum().item() == pytest.approx(1)
    assert (drawn >= 0).all()
    torch.rand(5)  # other randomness in between does not matter
    assert torch.equal(drawn, shake_weights(3, STEP))
    assert not torch.equal(drawn, shake_weights(3, Step(0, 4, 1)))
    means = torch.stack([shake_weights(3, Step(0, i, 1)) for i in range(2000)]).mean(0)
    torch.testing.assert_close(means, torch.full((3,), 1 / 3), atol=0.02, rtol=0)  # 4 standard errors


def test_validation_uses_fixed_weights():
    assert torch.equal(objective(step=None).total, objective(step=None, shake=False).total)
    assert torch.equal(objective(shake=False).total, objective(step=None).total)


def test_gradient_equals_finite_differences():
    logits, guess = LOGITS.clone().requires_grad_(), GUESS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: objective(a, b).total, (logits, guess))


def test_constant_predictions_have_a_finite_gradient():
    guess = torch.full((2, 32), 0.3, dtype=torch.float64, requires_grad=True)
    objective(guess=guess).total.backward()
    assert guess.grad.isfinite().all()
    assert guess.grad.abs().sum() > 0


def test_unknown_labels_do_not_count():
    labels, truth = LABELS.clone(), TRUTH.clone()
    labels[::2], truth[:, ::3] = -1, torch.nan
    losses = objective(labels=labels, truth=truth)
    known = torch.arange(32) % 3 != 0
    torch.testing.assert_close(losses.parts["cross_entropy"], F.cross_entropy(LOGITS[1::2], LABELS[1::2]))
    torch.testing.assert_close(losses.parts["pcc"], 1 - sum(pcc(GUESS[i][known], TRUTH[i][known]) for i in (0, 1)) / 2)


def test_a_batch_without_any_label_gives_zero_and_a_gradient():
    logits = LOGITS.clone().requires_grad_()
    losses = objective(logits=logits, labels=torch.full((32,), -1), truth=torch.full((2, 32), torch.nan).double())
    losses.total.backward()
    assert losses.total.item() == 0
    assert not logits.grad.any()
