"""The objective against scipy, its weights, and its gradient where correlations are undefined."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats

from emoca_core.interfaces import EmotionPrediction
from emoca_core.measures import metrics
from emoca_core.train import emotion_batch
from emoca_core.train.emotion_batch import EmotionBatch, mixed
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


def test_smoothing_and_a_teacher_against_their_definitions():
    taught = torch.randn(32, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    taught[::4] = torch.nan
    prediction = EmotionPrediction({}, logits=LOGITS)
    settings = EmotionObjectiveSettings(label_smoothing=0.1, teacher_weight=0.5, temperature=2.0)
    losses = emotion_objective(prediction, LABELS, TRUTH[0], TRUTH[1], settings, STEP, taught)
    target = 0.9 * np.eye(7)[LABELS] + 0.1 / 7
    smoothed = -(target * special.log_softmax(LOGITS.numpy(), 1)).sum(1).mean()
    seen = np.arange(32) % 4 != 0
    p, q = (special.softmax(x.numpy()[seen] / 2, 1) for x in (taught, LOGITS))
    divergence = 4 * special.rel_entr(p, q).sum(1).mean()
    assert losses.parts["cross_entropy"].item() == pytest.approx(smoothed)
    assert losses.parts["teacher"].item() == pytest.approx(divergence)
    assert losses.total.item() == pytest.approx(smoothed + 0.5 * divergence)


def batch_of(count: int) -> EmotionBatch:
    """Pictures of one number each, which is their row; every third is of unknown class, the last half of known mood."""
    rows = torch.arange(count)
    taught = F.one_hot(rows % 3, 3).float() * 4
    taught[1] = torch.nan
    mood = torch.where(rows < count // 2, torch.nan, rows / count)
    classes = torch.where(rows % 3 == 0, -1, rows % 3)
    return EmotionBatch(rows.float().view(-1, 1, 1, 1).expand(-1, 3, 4, 4), classes, mood, -mood, taught)


def test_faces_are_mixed_with_faces_of_which_the_same_is_known():
    batch, step = batch_of(24), Step(0, 5, 1)
    result = mixed(batch, 3, 1.0, step)
    share = (result.input[:, 0, 0, 0] - batch.input[:, 0, 0, 0]).abs()
    assert (share > 0.01).sum() > 8 and not (result.input == batch.input).all()
    assert torch.equal(result.valence.isfinite(), batch.valence.isfinite())
    assert torch.equal(result.taught.isfinite(), batch.taught.isfinite())
    known = batch.valence.isfinite()
    torch.testing.assert_close(result.valence[known] * 24, result.input[known, 0, 0, 0])  # one share for all
    labelled = batch.expression >= 0
    torch.testing.assert_close(result.expression.sum(1), labelled.float())
    assert (result.expression[labelled].gather(1, batch.expression[labelled, None]) >= 0.5).all()
    assert torch.equal(result.input, mixed(batch, 3, 1.0, step).input)
    assert not torch.equal(result.input, mixed(batch, 3, 1.0, Step(0, 6, 1)).input)
    settings = EmotionObjectiveSettings(label_smoothing=0.1, teacher_weight=1)
    seen = EmotionPrediction({}, LOGITS[:24, :3].float(), *GUESS[:, :24].float())
    losses = emotion_objective(seen, result.expression, result.valence, result.arousal, settings, step, result.taught)
    assert losses.total.isfinite() and losses.parts["teacher"] > 0


def test_two_processes_mix_as_one_does(monkeypatch):
    """The same draw on both for the same pass of the same step, and another one for every other pass."""
    alone = [emotion_batch._drawn(24, 0.4, Step(0, 5, 1, part=part, parts=2)) for part in (0, 1)]
    monkeypatch.setattr(emotion_batch, "world_size", lambda: 2)
    for number, expected in enumerate(alone):
        for rank in (0, 1):
            found = emotion_batch._drawn(24, 0.4, Step(0, 5, 1, part=2 * number + rank, parts=4))
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.equal(alone[0][1], alone[1][1])
