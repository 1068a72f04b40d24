"""Training whatever predicts emotion: an image backbone on photos, or a probe on face codes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from emoca_core.interfaces import EmotionPrediction
from emoca_core.measures.metrics import expression_metrics, valence_arousal_metrics
from emoca_core.method.objective import Losses
from emoca_core.train.emotion_batch import EmotionBatch, mixed
from emoca_core.train.emotion_objective import EmotionObjectiveSettings, emotion_objective
from emoca_core.train.task import Step, Task

QUANTITIES = ("valence", "arousal")


class EmotionTask(Task[EmotionBatch]):
    """Expression, valence and arousal by one network.

    ``score``, the metric that picks the best checkpoint, is the mean of those of valence CCC, arousal CCC and balanced
    accuracy that the validation set has labels for.

    Source: EMOCA supplementary, emotion recognition networks and probe.
    """

    monitor = "score"

    def __init__(
        self,
        network: nn.Module,
        labels: Sequence[str],
        settings: EmotionObjectiveSettings | None = None,
        card: Mapping[str, object] | None = None,
    ) -> None:
        """Train ``network``, which maps an input batch to an ``EmotionPrediction``.

        Args:
            network: An ``EmotionBackbone``, or a probe.
            labels: Names of the classes behind its logits.
            settings: Terms of the objective.
            card: What rebuilds the network; recorded with the run.
        """
        super().__init__()
        self.network, self.labels = network, tuple(labels)
        self.settings = settings or EmotionObjectiveSettings()
        self._card = dict(card or {})

    def forward(self, batch: EmotionBatch, step: Step) -> Losses:
        if self.training and self.settings.mixup:
            batch = mixed(batch, len(self.labels), self.settings.mixup, step)
        seen: EmotionPrediction = self.network(batch.input)
        return emotion_objective(
            seen, batch.expression, batch.valence, batch.arousal, self.settings, step, batch.taught
        )

    def predict(self, batch: EmotionBatch) -> dict[str, Tensor]:
        seen: EmotionPrediction = self.network(batch.input)
        rows = {"true_expression": batch.expression, "true_valence": batch.valence, "true_arousal": batch.arousal}
        if seen.logits is not None:
            rows["logits"] = seen.logits.float()
        for name in QUANTITIES:
            if (value := getattr(seen, name)) is not None:
                rows[name] = value.float()
        return rows

    def metrics(self, gathered: Mapping[str, Tensor]) -> dict[str, float]:
        arrays = {name: tensor.numpy() for name, tensor in gathered.items()}
        return emotion_metrics(arrays, self.labels)

    def trained_state(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def card(self) -> dict[str, object]:
        return {**self._card, "labels": list(self.labels), "objective": self.settings.model_dump()}


def emotion_metrics(rows: Mapping[str, np.ndarray], labels: Sequence[str]) -> dict[str, float]:
    """All metrics of gathered predictions, and ``score``.

    Args:
        rows: ``logits`` [N, C], ``valence`` [N], ``arousal`` [N] where predicted, and ``true_expression`` [N] (-1
            unknown), ``true_valence``, ``true_arousal`` [N] (NaN unknown).
        labels: Names of the classes.
    """
    present = [name for name in QUANTITIES if name in rows]
    metrics = valence_arousal_metrics({n: rows[n] for n in present}, {n: rows[f"true_{n}"] for n in present})
    if "logits" in rows:
        metrics |= expression_metrics(rows["logits"].argmax(1), rows["true_expression"], labels)[0]
    deciding = [metrics.get(name, math.nan) for name in ("valence_ccc", "arousal_ccc", "balanced_accuracy")]
    known = [value for value in deciding if math.isfinite(value)]
    return {**metrics, "score": float(np.mean(known)) if known else math.nan}
