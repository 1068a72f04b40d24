"""EMOCA: DECA whose expression comes from an encoder of its own, trained for emotion."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from emoca_core.errors import AssetFormatError
from emoca_core.images.resize import resized
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceParameters
from emoca_core.weights.checkpoints import (
    Checkpoint,
    KeyMap,
    LoadReport,
    WeightsParams,
    asset_name,
    find_weights,
    load_into,
    read_checkpoint,
)
from emoca_plugins.encoders import deca
from emoca_plugins.encoders.box_crops import EmocaCrop
from emoca_plugins.encoders.code_network import CoefficientRegressor, clone_for
from emoca_plugins.encoders.network_output import split_code

KEYS = KeyMap(
    strip=deca.WRAPPERS,
    rename={r"E_flame\.(module\.)?": "flame_network.", r"E_expression\.(module\.)?": "expression_network."},
    drop=deca.NOT_ENCODERS,
)
_LAST = "layers.2.weight"
SWITCHES = ("exp_deca_global_pose", "exp_deca_jaw_pose")
"""Settings of EMOCA's training, in the hyperparameters of its checkpoints: whether the head pose and the jaw come from
the expression encoder."""


class Emoca(Encoder):
    """Frozen DECA plus a second ResNet-50 for the expression, optionally also for the jaw and the head pose.

    The frozen part stays in evaluation mode and takes no gradient, whatever mode the module is in.

    Source: Danecek et al., "EMOCA: Emotion Driven Monocular Face Capture and Animation", CVPR 2022; weights
    ``E_flame`` and ``E_expression`` of its Lightning checkpoints. Input RGB in [0, 1], 224 px.
    """

    class Params(WeightsParams):
        jaw_pose: bool | None = None
        """Take the jaw from the expression encoder too. By default what the checkpoint was trained for: no, as
        released with the paper; with 56 outputs both poses. 53 outputs may be either pose: unless the file says which,
        it has to be said here."""
        global_pose: bool | None = None
        """Take the head pose from the expression encoder too. By default what the checkpoint was trained for."""
        start: Literal["checkpoint", "deca"] = "checkpoint"
        """``deca`` reads DECA's weights instead and starts the expression encoder as a copy of DECA's own, so that
        training begins exactly at DECA."""

    params: Params
    blocks = deca.LAYOUT
    crop_rule = EmocaCrop()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        checkpoint = self._checkpoint()
        self.expression_layout = _layout(self.params, checkpoint)
        self.flame_network = CoefficientRegressor(deca.LAYOUT)
        self.expression_network = CoefficientRegressor(self.expression_layout)
        self.load_report = self._load(checkpoint) if checkpoint else None
        self.flame_network.requires_grad_(False)
        self.train(checkpoint is None)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        image = resized(crop.image, self.crop_rule.size)
        with torch.no_grad():
            coarse = deca.parameters_from_code(self.flame_network(image))
        return coarse.replace(**split_code(self.expression_network(image), self.expression_layout))

    def train(self, mode: bool = True) -> "Emoca":
        """Set the mode of the expression encoder; DECA's BatchNorm keeps its statistics."""
        super().train(mode)
        self.flame_network.eval()
        return self

    def _checkpoint(self) -> Checkpoint | None:
        asset = "deca" if self.params.start == "deca" else "emoca_v1"
        path = find_weights(asset, self.params.weights)
        if path is None:
            return None
        self.asset_paths = {asset_name(asset, self.params.weights): path}
        return read_checkpoint(path)

    def _load(self, checkpoint: Checkpoint) -> LoadReport:
        if self.params.start == "checkpoint":
            return load_into(self, checkpoint, KEYS)
        report = load_into(self.flame_network, checkpoint, _DECA_ALONE)
        self.expression_network = clone_for(self.flame_network, self.expression_layout)
        return report


_DECA_ALONE = replace(deca.KEYS, rename={})


def _layout(params: Emoca.Params, checkpoint: Checkpoint | None) -> dict[Block, int]:
    """Blocks of the expression encoder's output: expression, then head pose, then jaw."""
    trained = (False, False)
    if checkpoint and params.start == "checkpoint":
        trained = _trained_switches(checkpoint, params)
    global_pose = trained[0] if params.global_pose is None else params.global_pose
    jaw_pose = trained[1] if params.jaw_pose is None else params.jaw_pose
    layout: dict[Block, int] = {"expression": 50}
    if global_pose:
        layout["global_pose"] = 3
    if jaw_pose:
        layout["jaw_pose"] = 3
    return layout


def _trained_switches(checkpoint: Checkpoint, params: Emoca.Params) -> tuple[bool, bool]:
    """Head pose and jaw switches of a checkpoint, by the size of its last layer and what the file says of itself.

    Raises:
        AssetFormatError: One of the two was on, and nothing says which.
    """
    last: list[Tensor] = [checkpoint[n] for n in checkpoint if n.endswith(_LAST) and "E_expression." in n]
    outputs = last[0].shape[0] if last else 50
    if outputs != 53:
        return outputs == 56, outputs == 56
    said = [checkpoint.setting(name) for name in SWITCHES]
    chosen = (params.global_pose, params.jaw_pose)
    for global_pose, jaw_pose in (chosen, said):
        if global_pose is not None or jaw_pose is not None:
            jaw = bool(jaw_pose) if global_pose is None else not global_pose
            return not jaw, jaw
    raise AssetFormatError(
        f"{checkpoint.path}: its expression encoder has 53 outputs, which are expression and jaw or expression and "
        "head pose. Say which it was trained for: jaw_pose: true, or global_pose: true"
    )
