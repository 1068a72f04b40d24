"""``emoca`` with the toy method of ``tests/reconstruction``, as a program of its own.

``TOY_WORK`` names a file that tells which process looked at how many photos; ``TOY_DIES_AT`` is the photo of a process
at which it dies without a word, as a killed one does.
"""

import importlib.util
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from local_plugins import plugin

from emoca_core import ComponentSpec, Registry, cli
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction

_spec = importlib.util.spec_from_file_location("toy_method", Path(__file__).parents[1] / "reconstruction/conftest.py")
toys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toys)

RECIPES = """\
version: 1
recipes:
  toy: &parts
    summary: Reads a code off the crop's mean colour.
    landmarker: {uses: ToyLandmarker}
    encoder: {uses: ToyEncoder}
    face_model: {uses: ToyModel}
    renderer: {uses: zbuffer}
    probe: [expression, shape]
  blind: {<<: *parts, landmarker: null}
"""


class ToyLandmarker(toys.Marked):
    """Counts what it looks at."""

    def __init__(self, params=None):
        super().__init__()

    def detect(self, photo):
        if work := os.environ.get("TOY_WORK"):
            with open(work, "a", encoding="utf-8") as file:
                file.write(f"{os.environ.get('RANK', 0)}\n")
        found = super().detect(photo)
        if self.seen == int(os.environ.get("TOY_DIES_AT", 0)):
            os._exit(9)
        return found


class ToyEncoder(toys.Guess):
    def __init__(self, params=None):
        super().__init__()


class ToyModel(toys.Ball):
    def __init__(self, params=None):
        super().__init__()


class ToyBackbone(EmotionBackbone):
    """Sees the mean colour."""

    labels = ("happy", "sad")
    feature_dims = {"pooled": 3}  # noqa: RUF012

    def __init__(self, params=None):
        super().__init__(params)
        self.gain = torch.nn.Parameter(torch.full((), 3.0))

    def forward(self, image):
        colour = self.gain * image.mean((2, 3))
        return EmotionPrediction({"pooled": colour}, logits=colour[:, :2], valence=colour[:, 2])


def toy_registry() -> Registry:
    kinds = {"landmarker": ToyLandmarker, "encoder": ToyEncoder, "face_model": ToyModel}
    kinds |= {"emotion_backbone": ToyBackbone}
    made = Registry()
    module = sys.modules[ToyModel.__module__]
    sys.modules["toy_encode"] = module
    made.add_plugin(
        plugin(*(ComponentSpec(k, c.__name__, f"toy_encode:{c.__name__}") for k, c in kinds.items())), "toys"
    )
    renderer = "emoca_plugins.renderers.zbuffer:ZBuffer"
    made.add_plugin(plugin(ComponentSpec("renderer", "zbuffer", renderer)), "renderers")
    return made


def use_toys(patch=setattr) -> None:
    """Let every module that asks for the registry have the toys."""
    made = toy_registry()
    for name, module in list(sys.modules.items()):
        if name.startswith("emoca_core") and hasattr(module, "get_registry"):
            patch(module, "get_registry", lambda: made)


if __name__ == "__main__":
    use_toys()
    sys.exit(cli.main(sys.argv[1:]))
