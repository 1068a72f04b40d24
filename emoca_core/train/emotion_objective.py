"""The objective of emotion recognition: cross entropy plus randomly weighted valence-arousal terms.

Source: EMOCA supplementary, emotion recognition networks (weights alpha, beta, gamma ~ U[0, 1] per batch, normalised);
the public code (gdl/models/EmotionRecognitionModuleBase.py) draws four weights and uses eight classes instead.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from emoca_core.interfaces import EmotionPrediction
from emoca_core.interfaces.global_batch import gather_batch
from emoca_core.method.objective import Losses
from emoca_core.registry.spec import SettingsModel
from emoca_core.train.task import Step

EPSILON = 1e-8
"""Added to variances so that a constant prediction has a finite gradient; AffectNet's variances are about 0.1."""


class EmotionObjectiveSettings(SettingsModel):
    """Which terms, and how they are weighted."""

    weights: Literal["paper", "upstream"] = "paper"
    """``paper``: three drawn weights (squared error, PCC, CCC). ``upstream``: four, one for each squared error."""
    shake: bool = True
    """Draw the weights anew for every batch; off gives every term the same weight, as in validation."""
    expression_weight: float = Field(default=1.0, ge=0)
    """Weight of the cross entropy."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that goes to all classes alike."""
    mixup: float = Field(default=0.0, ge=0)
    """Parameter of the beta distribution of how two faces of a batch are mixed, e.g. 0.2; 0 mixes none."""
    teacher_weight: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the teacher's classes, of the faces that it has seen."""
    temperature: float = Field(default=1.0, gt=0)
    """What both logits are divided by before teacher and network are compared."""


def pcc(prediction: Float[Tensor, "N"], target: Float[Tensor, "N"]) -> Float[Tensor, ""]:
    """Pearson correlation with a finite gradient everywhere; 0 for a constant."""
    x, y = prediction - prediction.mean(), target - target.mean()
    return (x * y).mean() / ((x.square().mean() + EPSILON) * (y.square().mean() + EPSILON)).sqrt()


def ccc(prediction: Float[Tensor, "N"], target: Float[Tensor, "N"]) -> Float[Tensor, ""]:
    """Concordance correlation with population moments; finite gradient everywhere."""
    shift = prediction.mean() - target.mean()
    x, y = prediction - prediction.mean(), target - target.mean()
    return 2 * (x * y).mean() / (x.square().mean() + y.square().mean() + shift.square() + EPSILON)


def shake_weights(count: int, step: Step) -> Float[Tensor, "{count}"]:
    """Weights ~ U[0, 1], normalised to sum 1; a function of the step alone, hence the same on all processes."""
    mixed = (step.seed * 0x9E3779B97F4A7C15 + step.index * 0xD1B54A32D192ED03 + 0x5EED) & 0x7FFFFFFFFFFFFFFF
    drawn = torch.rand(count, generator=torch.Generator().manual_seed(mixed))
    return drawn / drawn.sum()


def emotion_objective(
    prediction: EmotionPrediction,
    expression: Int[Tensor, "B"] | Float[Tensor, "B C"],
    valence: Float[Tensor, "B"],
    arousal: Float[Tensor, "B"],
    settings: EmotionObjectiveSettings,
    step: Step | None = None,
    taught: Float[Tensor, "B C"] | None = None,
) -> Losses:
    """The loss over the batch of ALL processes, with its gradient to this process' share.

    Args:
        prediction: With logits, valence or arousal, or all of them.
        expression: Class index, negative where unknown; or probabilities of mixed faces, all 0 where unknown.
        valence: [-1, 1]; NaN where unknown.
        arousal: [-1, 1]; NaN where unknown.
        settings: Terms and weights.
        step: Fixes the draw of the weights; without it (validation) all terms weigh the same.
        taught: Logits of a teacher; NaN where it has not seen the face.

    Returns:
        The total and its parts: ``cross_entropy``, ``teacher``, ``mse``, ``pcc`` (as 1 - PCC), ``ccc`` (as 1 - CCC).
    """
    parts: dict[str, Tensor] = {}
    total = valence.new_zeros(())
    if prediction.logits is not None:
        logits, labels = gather_batch(prediction.logits), gather_batch(expression)
        known = labels >= 0 if labels.ndim == 1 else labels.sum(1) > 0
        smoothing = settings.label_smoothing
        parts["cross_entropy"] = (
            F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing)
            if bool(known.any())
            else logits.sum() * 0
        )
        total = total + settings.expression_weight * parts["cross_entropy"]
        if settings.teacher_weight and taught is not None:
            parts["teacher"] = _divergence(logits, gather_batch(taught), settings.temperature)
            total = total + settings.teacher_weight * parts["teacher"]
    if prediction.valence is not None and prediction.arousal is not None:
        terms = _valence_arousal_terms(
            gather_batch(prediction.valence),
            gather_batch(prediction.arousal),
            gather_batch(valence),
            gather_batch(arousal),
        )
        squared = terms["mse_valence"] + terms["mse_arousal"]
        stacked = (
            torch.stack([squared, terms["pcc"], terms["ccc"]])
            if settings.weights == "paper"
            else torch.stack([terms["mse_valence"], terms["mse_arousal"], terms["pcc"], terms["ccc"]])
        )
        uniform = torch.full((len(stacked),), 1 / len(stacked))
        weights = shake_weights(len(stacked), step) if settings.shake and step is not None else uniform
        parts |= {"mse": squared / 2, "pcc": terms["pcc"], "ccc": terms["ccc"]}
        total = total + (weights.to(stacked) * stacked).sum()
    return Losses(total, parts)


def _divergence(logits: Float[Tensor, "B C"], taught: Float[Tensor, "B C"], temperature: float) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence of the network's classes from the teacher's, times the squared temperature.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    seen = taught.isfinite().all(1)
    if not bool(seen.any()):
        return logits.sum() * 0
    network, teacher = ((x[seen] / temperature).log_softmax(1) for x in (logits, taught))
    return temperature**2 * F.kl_div(network, teacher, reduction="batchmean", log_target=True)


def _valence_arousal_terms(
    valence: Tensor, arousal: Tensor, true_valence: Tensor, true_arousal: Tensor
) -> dict[str, Tensor]:
    known = true_valence.isfinite() & true_arousal.isfinite()
    if int(known.sum()) < 2:  # a correlation needs two samples
        nothing = (valence.sum() + arousal.sum()) * 0
        return dict.fromkeys(("mse_valence", "mse_arousal", "pcc", "ccc"), nothing)
    pairs = [(valence[known], true_valence[known]), (arousal[known], true_arousal[known])]
    return {
        "mse_valence": F.mse_loss(*pairs[0]),
        "mse_arousal": F.mse_loss(*pairs[1]),
        "pcc": 1 - (pcc(*pairs[0]) + pcc(*pairs[1])) / 2,
        "ccc": 1 - (ccc(*pairs[0]) + ccc(*pairs[1])) / 2,
    }
