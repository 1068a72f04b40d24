"""Both stages with tiny parts, as a command that tests start: alone, in two processes, or killed.

``python toy_stage.py coarse --recipe toy ...`` is ``emoca train coarse ...`` with the parts below added.
"""

import atexit
import gc
import itertools
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import ClassVar, Literal

import torch
import yaml
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from emoca_core import ComponentParams, ComponentSpec, Registry, get_registry, hookimpl
from emoca_core.cli import main
from emoca_core.images.crops import SHARED_CROP
from emoca_core.interfaces import (
    Capture,
    DetailModel,
    EmotionBackbone,
    EmotionPrediction,
    Encoder,
    FaceCrop,
    FaceParameters,
    Loss,
    WeakPerspectiveCamera,
)
from emoca_core.runs.trained_part import sha256_of_tensors

LAYOUT = {"shape": 10, "expression": 52, "global_pose": 3, "jaw_pose": 3, "albedo": 4, "camera": 3, "lighting": 27}
SIZE = 64
KILL_AT = int(os.environ.get("TOY_KILL_AT", "0"))
"""Optimiser step at which the process ends itself; no parameter, because a run's card holds those."""
KILL_RANK = os.environ.get("TOY_KILL_RANK", os.environ.get("RANK", "0"))
"""Which process ends itself; by default each."""
MEMORY = os.environ.get("TOY_MEMORY")
"""File for resident bytes and number of Python objects, by step."""
FROZEN = os.environ.get("TOY_FROZEN")
"""File for the hash of the frozen trunk at the end."""


class TinyRegressor(Encoder):
    """A frozen trunk with BatchNorm, and a trained network beside it that replaces the expression."""

    class Params(ComponentParams):
        norm: Literal["batch", "group"] = "batch"
        frozen: bool = True

    params: Params
    blocks = LAYOUT
    crop_rule = SHARED_CROP

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.base = self.network(sum(LAYOUT.values()))
        self.expression = self.network(LAYOUT["expression"])
        if self.params.frozen:
            self.base.requires_grad_(False)
        if FROZEN:
            atexit.register(lambda: Path(FROZEN).write_text(sha256_of_tensors(self.base.state_dict())))

    def network(self, outputs: int) -> nn.Module:
        norm = {"batch": nn.BatchNorm2d, "group": lambda channels: nn.GroupNorm(4, channels)}[self.params.norm]
        layers: list[nn.Module] = []
        for channels_in, channels_out in ((3, 8), (8, 16), (16, 16)):
            layers += [nn.Conv2d(channels_in, channels_out, 3, 2, 1), norm(channels_out), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, outputs))

    def forward(self, crop: FaceCrop) -> FaceParameters:
        part = dict(zip(LAYOUT, self.base(crop.image).split(list(LAYOUT.values()), 1), strict=True))
        light = torch.tensor([3.0, *[0.0] * 8], device=crop.image.device)[:, None]
        return FaceParameters(
            shape=part["shape"],
            expression=self.expression(crop.image),
            global_pose=0.1 * part["global_pose"],
            jaw_pose=0.1 * part["jaw_pose"],
            albedo=part["albedo"],
            camera=WeakPerspectiveCamera(8 + part["camera"][:, 0], 0.1 * part["camera"][:, 1:]),
            lighting=light + 0.1 * part["lighting"].reshape(-1, 9, 3),
            units={"expression": "activation"},
        )


class TinyDetail(DetailModel):
    """A code of four numbers and a decoder with BatchNorm."""

    code_size = 4
    conditions: ClassVar = {"jaw_pose": 3}
    map_size = 32

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        pooled = [nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.encoder = nn.Sequential(*pooled, nn.Linear(8, 4))
        started = [nn.Linear(7, 4 * 16 * 16), nn.Unflatten(1, (4, 16, 16)), nn.GroupNorm(2, 4)]
        self.decoder = nn.Sequential(*started, nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 3, padding=1), nn.Tanh())

    def encode(self, crop: FaceCrop) -> Tensor:
        return self.encoder(crop.image)

    def decode(self, parameters: FaceParameters) -> Tensor:
        return 0.01 * self.decoder(torch.cat([parameters.jaw_pose, parameters.detail], 1))


class TinyEmotion(EmotionBackbone):
    """A network with BatchNorm and dropout, which must stay in evaluation mode."""

    feature_dims: ClassVar = {"features": 8}

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.Dropout(0.5), *pooled)

    def forward(self, image: Tensor) -> EmotionPrediction:
        return EmotionPrediction({"features": self.layers(image)})


class TinyPhotometric(Loss):
    requires = frozenset({"picture", "mask"})

    def forward(self, capture: Capture) -> Tensor:
        return (capture.mask * (capture.picture - capture.crop.image).abs()).mean()


class TinyLandmarks(Loss):
    requires = frozenset({"geometry"})

    def forward(self, capture: Capture) -> Tensor:
        return (capture.projected_landmarks() - capture.crop.landmarks["ibug68"]).abs().mean()


class TinyConsistency(Loss):
    requires = frozenset({"emotion_of_input", "emotion_of_rendering"})

    def forward(self, capture: Capture) -> Tensor:
        a, b = capture.emotion_of_input, capture.emotion_of_rendering
        return (a.features["features"] - b.features["features"]).square().mean()


class TinyTruth(Loss):
    requires = frozenset({"truth"})

    def forward(self, capture: Capture) -> Tensor:
        return (capture.parameters.expression - capture.truth.parameters.expression).square().mean()


class TinyDetailPhotometric(Loss):
    requires = frozenset({"detail_maps"})

    def forward(self, capture: Capture) -> Tensor:
        maps = capture.detail_maps
        return (maps.visibility * (maps.texture - maps.observed_texture).abs()).mean()


class TinyDisplacement(Loss):
    requires = frozenset({"displacement"})

    def forward(self, capture: Capture) -> Tensor:
        return capture.displacement.abs().mean()


COMPONENTS = [
    ("encoder", TinyRegressor),
    ("detail", TinyDetail),
    ("emotion_backbone", TinyEmotion),
    *(("loss", cls) for cls in Loss.__subclasses__() if cls.__module__ == __name__),
]
RECIPE = {
    "summary": "Tiny parts.",
    "encoder": {"uses": "TinyRegressor"},
    "face_model": {"uses": "open_head", "params": {"texture_size": 64, "mediapipe_landmarks": False}},
    "renderer": {"uses": "zbuffer"},
    "emotion_backbone": {"uses": "TinyEmotion", "untrained": True},
    "detail": {"uses": "TinyDetail"},
    "losses": {
        "photometric": {"uses": "TinyPhotometric", "weight": 2.0, "stage": "coarse"},
        "landmarks": {"uses": "TinyLandmarks", "stage": "coarse"},
        "emotion": {"uses": "TinyConsistency", "weight": 0.5, "stage": "coarse"},
        "truth": {"uses": "TinyTruth", "stage": "coarse", "as": "metric"},
        "detail.photometric": {"uses": "TinyDetailPhotometric", "stage": "detail"},
        "displacement": {"uses": "TinyDisplacement", "stage": "detail", "weight": 10.0},
    },
    "training": {
        "coarse": {"batch_size": 4, "learning_rate": 1e-3},
        "detail": {"batch_size": 6, "images_per_identity": 3, "learning_rate": 1e-3},
    },
}
COMMON = {
    **{"epochs": 2, "log_every": 1, "tracker": "none", "progress": False, "seed": 5, "pictures_every": 0},
    **{"validate_every": 0.5, "patience": None},
    "data": {"image_size": SIZE, "length": 24, "face_model": {"params": {"texture_size": 64}}, "faces_per_identity": 3},
    "validation_data": {"length": 6},
}


def recipe_file(folder: Path) -> Path:
    """A registry.yaml with the recipe ``toy``."""
    training = {stage: {**COMMON, **settings} for stage, settings in RECIPE["training"].items()}
    file = folder / "toy_registry.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "recipes": {"toy": {**RECIPE, "training": training}}}))
    return file


def add_components(registry: Registry) -> Registry:
    specs = [ComponentSpec(kind, cls.__name__, f"{__name__}:{cls.__name__}") for kind, cls in COMPONENTS]
    registry.add_plugin(types.SimpleNamespace(emoca_components=hookimpl(lambda: specs)), "toys")
    return registry


def kill_at(last: int) -> None:
    """End the process before this optimiser step."""
    steps = itertools.count(1)

    def kill(*_: object) -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_pre_hook(kill)


def keep_memory(file: str) -> None:
    """Write how much memory is in use every 200 steps."""
    steps = itertools.count(1)
    measured: dict[int, list[int]] = {}

    def measure(*_: object) -> None:
        if (step := next(steps)) % 200 == 0:
            gc.collect()
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            measured[step] = [resident, len(gc.get_objects())]
            Path(file).write_text(json.dumps(measured))

    register_optimizer_step_pre_hook(measure)


if __name__ == "__main__":
    add_components(get_registry())
    if KILL_AT and os.environ.get("RANK", "0") == KILL_RANK:
        kill_at(KILL_AT)
    if MEMORY:
        keep_memory(MEMORY)
    sys.exit(main(["train", *sys.argv[1:]]))
