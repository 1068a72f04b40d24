"""One probe for every method: the same faces, folds, network, objective and seed."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate.utils import set_seed
from jaxtyping import Float, Int
from numpy import ndarray
from pydantic import Field
from safetensors.torch import load_file

from emoca_core.datasets import Manifest
from emoca_core.datasets.folds import Split
from emoca_core.datasets.labels import Classes, choose_classes, usable_labels
from emoca_core.probe.detections import cache_folder
from emoca_core.probe.network import HIDDEN_LAYERS, WIDTH, ProbeNetwork
from emoca_core.probe.processes import read_part
from emoca_core.progress import progress_bar
from emoca_core.runs.cards import RUN_WEIGHTS
from emoca_core.train.emotion import EmotionTask
from emoca_core.train.emotion_batch import EmotionBatch
from emoca_core.train.emotion_objective import EmotionObjectiveSettings
from emoca_core.train.loop import train
from emoca_core.train.sampling import class_balanced_weights
from emoca_core.train.train_settings import TrainSettings
from emoca_core.version import VERSION
from emoca_core.weights.write_tensors import write_tensors


class ProbeSettings(TrainSettings):
    """Settings of the probe: those of the training loop, and its own. The defaults are the paper's.

    Source: EMOCA supplementary, emotion recognition from 3DMM codes; it says "early stopping" without a number.
    """

    patience: int | None = Field(default=5, ge=1)
    """Stop after this many validations without improvement; none never stops early."""
    tracker: Literal["tensorboard", "wandb", "none"] = "none"
    """Where curves go."""
    checkpoints: bool = False
    """Probes are trained in minutes and kept in the cache: there is nothing to resume."""
    progress: bool = False
    """Show a progress bar for every probe."""
    width: int = Field(default=WIDTH, ge=1)
    """Units of a hidden layer."""
    hidden_layers: int = Field(default=HIDDEN_LAYERS, ge=0)
    """Number of hidden layers; 0 is a linear probe."""
    standardise: bool = True
    """Centre and scale codes by the training set's statistics; off is as published."""
    balanced: bool = True
    """Draw every expression class equally often, where every face has a class."""
    objective: Literal["paper", "upstream"] = "paper"
    """Number of randomly drawn loss weights: see ``EmotionObjectiveSettings``."""


PRESETS: Mapping[str, Mapping[str, object]] = {
    "paper": {},
    "upstream": {"epochs": 50, "patience": 10, "validate_every": 0.2, "objective": "upstream"},
}
"""The paper, and where its public code differs."""


@dataclass(frozen=True)
class Labels:
    """What is known of some faces.

    Attributes:
        names: Names of the expression classes.
        expression: Class index; -1 where unknown.
        valence: [-1, 1]; NaN where unknown.
        arousal: [-1, 1]; NaN where unknown.
    """

    names: tuple[str, ...]
    expression: Int[ndarray, "N"]
    valence: Float[ndarray, "N"]
    arousal: Float[ndarray, "N"]

    def __getitem__(self, rows: Int[ndarray, "K"]) -> "Labels":
        return Labels(self.names, self.expression[rows], self.valence[rows], self.arousal[rows])

    @property
    def known(self) -> ndarray:
        """Where there is a class, or both valence and arousal."""
        known: ndarray = (self.expression >= 0) | (np.isfinite(self.valence) & np.isfinite(self.arousal))
        return known

    def truth(self) -> dict[str, ndarray]:
        """As the metrics take it."""
        return {"true_expression": self.expression, "true_valence": self.valence, "true_arousal": self.arousal}


@dataclass(frozen=True)
class Predictions:
    """What the probes say of faces that they were not trained on, all splits pooled.

    Attributes:
        rows: The faces tested, ascending.
        fold: The split in which each was tested.
        valence: Not clamped.
        arousal: Not clamped.
        logits: Scores of the classes, if there are any.
    """

    rows: Int[ndarray, "T"]
    fold: Int[ndarray, "T"]
    valence: Float[ndarray, "T"]
    arousal: Float[ndarray, "T"]
    logits: Float[ndarray, "T C"] | None = None

    def rows_of_metrics(self) -> dict[str, ndarray]:
        """As the metrics take it."""
        found = {"valence": self.valence, "arousal": self.arousal}
        return found if self.logits is None else found | {"logits": self.logits}


def labels_of(manifest: Manifest, classes: Classes = "data") -> Labels:
    """The labels of a manifest, with the classes that occur or with those that are named.

    Raises:
        AssetFormatError: No row has a label.
        ParamsError: A class is named twice.
    """
    names = choose_classes(classes, manifest)
    usable_labels(manifest, names, "nothing to probe")
    return Labels(names, manifest.classes(names), manifest.numbers("valence"), manifest.numbers("arousal"))


def probe_predictions(
    codes: Float[ndarray, "N D"], labels: Labels, splits: Sequence[Split], settings: ProbeSettings, name: str = "probe"
) -> Predictions:
    """Train one probe per split and collect what each says of its test set; kept in the cache.

    Args:
        codes: One vector per face, all finite.
        labels: Of the same faces.
        splits: Test sets do not overlap.
        settings: The same for every method.
        name: For the progress bar.

    Raises:
        ParamsError: A training set smaller than one batch.
        TrainingDivergedError: The loss is not finite.
    """
    file = cache_folder("probes", _description(codes, labels, splits, settings)) / "predictions.safetensors"
    if not file.exists():
        parts = [
            _predict(train_probe(codes, labels, split, settings), codes, split.test)
            for split in progress_bar(splits, label=f"{name}: probes", unit="probe")
        ]
        rows = np.concatenate([split.test for split in splits])
        fold = np.repeat(np.arange(len(splits)), [len(split.test) for split in splits])
        order = np.argsort(rows)
        pooled = {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
        write_tensors(file, {"rows": rows[order], "fold": fold[order], **pooled})
    return Predictions(**read_part(file))


def train_probe(codes: Float[ndarray, "N D"], labels: Labels, split: Split, settings: ProbeSettings) -> ProbeNetwork:
    """A probe trained on one split, with the weights that were best on its validation rows (else the last ones)."""
    inputs = torch.from_numpy(np.ascontiguousarray(codes, np.float32))
    known = _tensors(labels)
    set_seed(settings.seed)  # every method starts from the same draw
    network = ProbeNetwork(codes.shape[1], len(labels.names), settings.width, settings.hidden_layers)
    if settings.standardise:
        network.standardise(inputs[torch.from_numpy(split.training)])
    task = EmotionTask(network, labels.names, EmotionObjectiveSettings(weights=settings.objective))

    def batch(rows: list[int]) -> EmotionBatch:
        return EmotionBatch(inputs, *known).map(lambda tensor: tensor[rows])

    with tempfile.TemporaryDirectory(prefix="emoca-probe-") as folder:
        train(
            task,
            split.training.tolist(),
            split.validation.tolist(),
            settings,
            Path(folder),
            collate=batch,
            sampling_weights=_balanced(labels[split.training]) if settings.balanced else None,
        )
        best = Path(folder) / RUN_WEIGHTS
        if best.exists():
            network.load_state_dict(load_file(best))
    return network.cpu().eval()


@torch.no_grad()
def _predict(network: ProbeNetwork, codes: Float[ndarray, "N D"], rows: Int[ndarray, "T"]) -> dict[str, ndarray]:
    batches = np.array_split(rows, max(1, len(rows) // 1024))
    outputs = torch.cat([network(torch.from_numpy(codes[some])).features["output"] for some in batches]).numpy()
    found = {"valence": outputs[:, -2], "arousal": outputs[:, -1]}
    return found if outputs.shape[1] == 2 else found | {"logits": outputs[:, :-2]}


def _tensors(labels: Labels) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    valence, arousal = (torch.from_numpy(np.array(v, np.float32)) for v in (labels.valence, labels.arousal))
    return torch.from_numpy(labels.expression), valence, arousal


def _balanced(labels: Labels) -> torch.Tensor | None:
    complete = bool((labels.expression >= 0).all())
    return class_balanced_weights(torch.from_numpy(labels.expression)) if complete else None


def _description(
    codes: Float[ndarray, "N D"], labels: Labels, splits: Sequence[Split], settings: ProbeSettings
) -> dict[str, object]:
    arrays = [codes, *labels.truth().values(), *(rows for s in splits for rows in (s.training, s.validation, s.test))]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return {
        "arrays": digest.hexdigest(),
        "labels": labels.names,
        "settings": settings.model_dump(mode="json"),
        "torch": torch.__version__,
        "version": VERSION,
    }
