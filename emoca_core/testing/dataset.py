"""What a data set promises."""

import pickle
from collections.abc import Sequence

import torch

from emoca_core.interfaces import EXPRESSIONS, FaceDataset, FaceSample
from emoca_core.testing.common import Subject

_LOOKED_AT = 8  # samples; a large set is not read to its end


def check(subject: Subject[FaceDataset]) -> None:
    """A finite sequence of distinct, repeatable, well-formed samples that worker processes can share."""
    dataset = subject.component
    count = len(dataset)
    subject.require(count > 0, "is empty; a set without faces must raise when it is built")
    samples = [dataset[index] for index in range(min(count, _LOOKED_AT))]
    for index, sample in enumerate(samples):
        _check_sample(subject, sample, f"sample {index}", getattr(dataset.params, "labels", EXPRESSIONS))
    keys = [sample.key for sample in samples]
    subject.require(len(set(keys)) == len(keys), "keys must be unique")
    subject.require_same(dataset[0], samples[0], 0.0, "the same index must give the same face")
    try:
        dataset[count]
    except IndexError:
        pass
    else:
        subject.require(False, f"index {count} must raise IndexError: iteration stops by it")
    other = pickle.loads(pickle.dumps(dataset))  # our own bytes; DataLoader workers receive it like this
    subject.require_same(other[0], samples[0], 0.0, "must survive pickling, as worker processes need")
    again = subject.build()
    subject.require_same(again[0], samples[0], 0.0, "the same parameters must give the same faces")


def _check_sample(subject: Subject[FaceDataset], sample: object, what: str, labels: Sequence[str]) -> None:
    subject.require(isinstance(sample, FaceSample), f"{what} must be a FaceSample")
    assert isinstance(sample, FaceSample)
    image = sample.image
    subject.require(
        image.ndim == 3 and image.shape[0] == 3 and image.dtype == torch.float32,
        f"{what}: the image must be float32 [3, H, W], is {image.dtype} {tuple(image.shape)}",
    )
    subject.require(image.min() >= 0 and image.max() <= 1, f"{what}: the image must be in [0, 1]")
    subject.require(sample.key, f"{what}: the key must not be empty")
    label = sample.expression
    subject.require(label is None or 0 <= label < len(labels), f"{what}: expression {label} is no index of the labels")
    for name in ("valence", "arousal"):
        level = getattr(sample, name)
        subject.require(level is None or -1 <= level <= 1, f"{what}: {name} {level} is not in [-1, 1]")
    if sample.landmarks is not None:
        subject.require(sample.landmarks.shape == (68, 2), f"{what}: landmarks must be the 68 iBUG points")
        subject.require(sample.landmarks.abs().max() < 4, f"{what}: landmarks must be in NDC, not in pixels")
    if sample.parameters is not None:
        subject.require(len(sample.parameters) == 1, f"{what}: parameters must be a batch of one")
