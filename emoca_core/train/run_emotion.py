"""``emoca train emotion``: an emotion backbone on the faces of a manifest."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from accelerate.utils import set_seed

from emoca_core.datasets import Manifest
from emoca_core.datasets.labels import Classes, choose_classes, usable_labels
from emoca_core.errors import EmocaError, ParamsError, unknown_name
from emoca_core.interfaces import BASIC_EXPRESSIONS, EXPRESSIONS, EmotionBackbone, FaceDataset, FaceSample
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, backbones_by_name, get_catalogue
from emoca_core.registry.spec import validated
from emoca_core.runs.run_folder import Progress
from emoca_core.train.emotion import EmotionTask, collate_faces
from emoca_core.train.emotion_objective import EmotionObjectiveSettings
from emoca_core.train.loop import train
from emoca_core.train.sampling import class_balanced_weights
from emoca_core.train.train_settings import TrainSettings

Preset = Literal["paper", "upstream"]
_CLASSES: Mapping[Preset, tuple[str, ...]] = {"paper": BASIC_EXPRESSIONS, "upstream": EXPRESSIONS}
_EPOCHS: Mapping[Preset, int] = {"paper": 20, "upstream": 50}
"""Where the paper and its public code differ, besides the number of drawn weights."""


def train_emotion(
    backbone: str,
    data: Path,
    out: Path,
    *,
    preset: Preset = "paper",
    classes: Classes | None = None,
    backbone_params: Mapping[str, object] | None = None,
    data_params: Mapping[str, object] | None = None,
    splits: tuple[str, str] = ("train", "validation"),
    balanced: bool = True,
    settings: Mapping[str, object] | None = None,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> Progress:
    """Train a backbone by name and return where the run ended.

    Args:
        backbone: An emotion backbone, or a preset of one (``resnet50`` is a preset of ``timm``).
        data: A manifest.
        out: The run folder.
        preset: The paper's objective and classes, or those of its public code.
        classes: Expression classes instead of the preset's: ``data`` takes those of the training split.
        backbone_params: On top of the preset's parameters.
        data_params: Parameters of the ``manifest`` dataset, e.g. ``{"crop": "shared"}``.
        splits: Names of the training and the validation split.
        balanced: Draw every expression class equally often.
        settings: Fields of ``TrainSettings`` that differ from the defaults.
        resume: Continue the run in ``out``.
        say: Told which labels are not used.

    Raises:
        UnknownNameError: No such backbone.
        EmocaError: Unreadable data, a run folder in use, a diverged loss.
    """
    registry, catalogue = get_registry(), get_catalogue()
    chosen = validated(TrainSettings, {"epochs": _EPOCHS[preset], **(settings or {})}, "training")
    manifest = Manifest.open(data)
    rows = {split: manifest.of_split(split) for split in splits}
    labels = choose_classes(classes or _CLASSES[preset], rows[splits[0]])
    if not labels:
        raise ParamsError(f"{data} ({splits[0]}) names no expression: leave --classes out, and add --no-balanced")
    left_out = {split: _told(rows[split], labels, f"{data} ({split})", say or _to_stderr) for split in rows}
    if "labels" in (data_params or {}):
        raise ParamsError("the classes of the data are those of the network: name them by `classes`, not by `labels`")
    faces = [
        registry.build("dataset", "manifest", {"file": data, "split": split, "labels": labels, **(data_params or {})})
        for split in splits
    ]
    set_seed(chosen.seed)  # before the network: its initialisation is part of the run
    uses, network = _backbone(backbone, backbone_params or {}, labels, registry, catalogue)
    card = {
        "emotion_backbone": {"uses": uses, "params": network.params.model_dump(mode="json")},
        "labels_left_out": left_out,
    }
    task = EmotionTask(network, labels, EmotionObjectiveSettings(weights=preset), card)
    return train(
        task,
        faces[0],
        faces[1],
        chosen,
        out,
        collate=collate_faces,
        augment=augment_face,
        sampling_weights=_balanced(faces[0]) if balanced else None,
        resume=resume,
    )


def _backbone(
    name: str, changes: Mapping[str, object], labels: tuple[str, ...], registry: Registry, catalogue: Catalogue
) -> tuple[str, EmotionBackbone]:
    """The component behind a name, and its network for these classes."""
    named = backbones_by_name(catalogue, registry)
    if name not in named:
        raise unknown_name("emotion backbone or preset", name, named)
    uses, params = named[name].uses, {**catalogue.params("emotion_backbone", named[name]), **changes}
    network = registry.build("emotion_backbone", uses, params)
    if tuple(network.labels) == labels:
        return uses, network
    if "labels" not in type(network).Params.model_fields:
        raise ParamsError(
            f"{uses} cannot learn the classes {', '.join(labels)}: it recognises "
            f"{', '.join(network.labels) or 'none'} and has no parameter `labels`"
        )
    return uses, registry.build("emotion_backbone", uses, {**params, "labels": labels})


def _told(rows: Manifest, labels: tuple[str, ...], what: str, say: Callable[[str], None]) -> dict[str, int]:
    """Say which labels of a split are not used; how many rows, by class."""
    counts = usable_labels(rows, labels, what)
    for note in counts.notes():
        say(f"{what}: {note}")
    return dict(counts.left_out)


def _to_stderr(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # one process of several
        sys.stderr.write(f"{line}\n")


def augment_face(sample: FaceSample, generator: torch.Generator) -> FaceSample:
    """Scale 0.8-1.2, shift up to 10 % and mirror: the published augmentation of the emotion networks.

    Source: EMOCA (affine augmentation of its emotion recognition data); the mirror is ours, labels have no side.
    """
    scale, x, y, mirror = torch.rand(4, generator=generator).tolist()
    zoom = 1 / (0.8 + 0.4 * scale)
    side = -1.0 if mirror < 0.5 else 1.0
    affine = torch.tensor([[zoom * side, 0.0, 0.4 * x - 0.2], [0.0, zoom, 0.4 * y - 0.2]])
    grid = F.affine_grid(affine[None], [1, *sample.image.shape], align_corners=False)
    image = F.grid_sample(sample.image[None], grid, padding_mode="zeros", align_corners=False)[0]
    return FaceSample(image, sample.key, sample.expression, sample.valence, sample.arousal)


def _balanced(faces: FaceDataset) -> torch.Tensor:
    expressions = getattr(faces, "expressions", None)
    if expressions is None:
        raise EmocaError(f"{type(faces).__name__} does not list its expressions: train with --no-balanced")
    return class_balanced_weights(torch.as_tensor(expressions))
