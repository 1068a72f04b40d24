"""A machine takes part: an emotion backbone labels every picture, and its answers go the way of all others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from emoca_core.errors import RecipeError
from emoca_core.interfaces import EmotionBackbone
from emoca_core.method import pick_device
from emoca_core.progress import progress_bar
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.study.design import picture_path, read_study
from emoca_core.study.stimuli import MARGIN
from emoca_core.study.store import Store
from emoca_core.vocabulary.emotions import expression_name

PREFIX = "machine:"
"""Before the name of a machine: no participant of the page can have it."""
_BATCH = 32


def answer_as_machine(folder: Path, name: str, device: str = "auto") -> int:
    """Let an emotion backbone answer all pictures of a study that it has not answered yet.

    It looks at the middle of each picture, which is what the shared crop rule cuts out of a photo, and chooses the
    likeliest of the study's choices that it knows.

    Args:
        folder: Of the study.
        name: Of a backbone, a preset of one, or the folder of a run of ``emoca train emotion``.
        device: Where it computes.

    Returns:
        How many pictures it answered now.

    Raises:
        RecipeError: It knows none of the choices.

    Example: ``answer_as_machine(Path("study"), "open_emotion")``
    """
    study = read_study(folder)
    backbone = load_emotion_backbone(name, pick_device(device))
    known = known_choices(backbone, study.choices)
    if len(known) < 2:
        raise RecipeError(f"the emotion backbone '{name}' knows fewer than two of: {', '.join(study.choices)}")
    participant = PREFIX + (Path(name).name if Path(name).is_dir() else name)
    with Store.open(folder, study) as store:
        now = store.begin(participant, kind="machine")
        first = now.done
        for start in progress_bar(range(first, now.total, _BATCH), label=name, unit="batch"):
            names = [one.id for one in study.stimuli[start : start + _BATCH]]
            images = torch.stack([read_middle(picture_path(folder, one)) for one in names])
            for at, label in enumerate(choose(backbone, images, known), start=start):
                now = store.answer(participant, at, label, 0)
    return now.total - first


def known_choices(backbone: EmotionBackbone, choices: Sequence[str]) -> dict[str, int]:
    """The choices that a backbone has a class for, and the place of each among its classes."""
    labels = [expression_name(label) for label in backbone.labels]
    return {choice: labels.index(choice) for choice in choices if choice in labels}


def choose(backbone: EmotionBackbone, images: Float[Tensor, "B 3 H W"], known: dict[str, int]) -> list[str]:
    """The likeliest of the known choices for each picture."""
    device = next((tensor.device for tensor in backbone.state_dict().values()), torch.device("cpu"))
    with torch.no_grad():
        logits = backbone(images.to(device)).logits
    assert logits is not None, "a backbone with labels gives logits"
    names = list(known)
    return [names[place] for place in logits[:, list(known.values())].argmax(1).tolist()]


def read_middle(path: Path) -> Float[Tensor, "3 H W"]:
    """The part of a picture that the shared crop rule cuts out, RGB in [0, 1]."""
    with Image.open(path) as image:
        side = round(image.width / MARGIN)
        corner = (image.width - side) // 2
        pixels = np.asarray(image.convert("RGB").crop((corner, corner, corner + side, corner + side)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
