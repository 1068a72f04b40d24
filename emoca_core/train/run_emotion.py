"""``emoca train emotion``: an emotion backbone on the faces of a manifest."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from accelerate.utils import set_seed

from emoca_core.datasets import Manifest
from emoca_core.datasets.labels import Classes, choose_classes, usable_labels
from emoca_core.errors import EmocaError, ParamsError, unknown_name
from emoca_core.interfaces import BASIC_EXPRESSIONS, EXPRESSIONS, EmotionBackbone, FaceDataset, FaceSample
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, backbones_by_name, get_catalogue
from emoca_core.registry.spec import validated
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.runs.run_folder import Progress
from emoca_core.train.augmentation import AugmentationSettings, augment_face
from emoca_core.train.emotion import EmotionTask
from emoca_core.train.emotion_batch import collate_faces
from emoca_core.train.emotion_objective import EmotionObjectiveSettings
from emoca_core.train.loop import train
from emoca_core.train.sampling import Samples, class_balanced_weights
from emoca_core.train.teacher import taught_by
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
    objective: Mapping[str, object] | None = None,
    augmentation: Mapping[str, object] | None = None,
    teacher: str | None = None,
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
        objective: Fields of ``EmotionObjectiveSettings`` that differ from the defaults.
        augmentation: Fields of ``AugmentationSettings`` that differ from the defaults.
        teacher: A trained backbone whose classes are learnt as well: by name, preset or run folder. The objective's
            ``teacher_weight`` is 1 unless it is set.
        resume: Continue the run in ``out``.
        say: Told which labels are not used.

    Raises:
        UnknownNameError: No such backbone.
        MissingAssetError: The teacher's weights are not here.
        EmocaError: Unreadable data, a run folder in use, a diverged loss.
    """
    registry, catalogue = get_registry(), get_catalogue()
    chosen = validated(TrainSettings, {"epochs": _EPOCHS[preset], **(settings or {})}, "training")
    terms = {"weights": preset, **({"teacher_weight": 1.0} if teacher else {}), **(objective or {})}
    aims = validated(EmotionObjectiveSettings, terms, "objective")
    if bool(teacher) != (aims.teacher_weight > 0):
        raise ParamsError("a teacher and a teacher_weight above 0 belong together: name both, or neither")
    changes = validated(AugmentationSettings, augmentation or {}, "augmentation")
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
        "augmentation": changes.model_dump(),
        "teacher": teacher,
    }
    training: Samples[FaceSample] = faces[0]
    if teacher:
        training = taught_by(load_emotion_backbone(teacher), faces[0], labels)
    return train(
        EmotionTask(network, labels, aims, card),
        training,
        faces[1],
        chosen,
        out,
        collate=collate_faces,
        augment=partial(augment_face, settings=changes),
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


def _balanced(faces: FaceDataset) -> torch.Tensor:
    expressions = getattr(faces, "expressions", None)
    if expressions is None:
        raise EmocaError(f"{type(faces).__name__} does not list its expressions: train with --no-balanced")
    return class_balanced_weights(torch.as_tensor(expressions))
