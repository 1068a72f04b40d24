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
    expression: Int[Tensor, "B"],
    valence: Float[Tensor, "B"],
    arousal: Float[Tensor, "B"],
    settings: EmotionObjectiveSettings,
    step: Step | None = None,
) -> Losses:
    """The loss over the batch of ALL processes, with its gradient to this process' share.

    Args:
        prediction: With logits, valence or arousal, or all of them.
        expression: Class index; negative where unknown.
        valence: [-1, 1]; NaN where unknown.
        arousal: [-1, 1]; NaN where unknown.
        settings: Terms and weights.
        step: Fixes the draw of the weights; without it (validation) all terms weigh the same.

    Returns:
        The total and its parts: ``cross_entropy``, ``mse``, ``pcc`` (as 1 - PCC), ``ccc`` (as 1 - CCC).
    """
    parts: dict[str, Tensor] = {}
    total = valence.new_zeros(())
    if prediction.logits is not None:
        logits, labels = gather_batch(prediction.logits), gather_batch(expression)
        known = labels >= 0
        parts["cross_entropy"] = (
            F.cross_entropy(logits[known], labels[known]) if bool(known.any()) else logits.sum() * 0
        )
        total = total + settings.expression_weight * parts["cross_entropy"]
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
