"""What tests of backbones that come with the project ask of each."""

from pathlib import Path

import numpy as np
import torch

from emoca_core import get_registry
from emoca_core.interfaces import FaceSample
from emoca_core.runs.backbones import load_emotion_backbone


def synthetic_faces(count: int = 7) -> list[FaceSample]:
    """The first ones, whose classes take turns; the goldens were made of seven."""
    made = get_registry().build("dataset", "synthetic_faces", {"length": count, "seed": 3, "image_size": 96})
    return made.__getitems__(range(count))


def images_of(samples: list[FaceSample]) -> torch.Tensor:
    """Their pictures as a batch."""
    return torch.stack([sample.image for sample in samples])


def assert_it_sees_what_it_saw(name: str, golden_file: Path) -> None:
    """Faces are rendered anew: a pixel at an edge may differ between machines, and moves a logit by about 1e-3."""
    samples, golden = synthetic_faces(), np.load(golden_file)
    seen = load_emotion_backbone(name)(images_of(samples))
    assert [sample.expression for sample in samples] == list(range(7)) and len(golden["logits"]) == 7
    for what, found in {"logits": seen.logits, "valence": seen.valence, "arousal": seen.arousal}.items():
        torch.testing.assert_close(found, torch.from_numpy(golden[what]), atol=5e-3, rtol=0)
    features = seen.features["pooled"][:, ::16]
    torch.testing.assert_close(features, torch.from_numpy(golden["features"]), atol=5e-3, rtol=1e-2)
