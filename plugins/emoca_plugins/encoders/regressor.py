"""Any network of timm as an encoder of any face model: one network as in DECA, or a second one on top as in EMOCA."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from emoca_core import ComponentParams
from emoca_core.errors import RecipeError
from emoca_core.images.resize import resized
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceParameters, Parts, Unit
from emoca_core.registry.spec import ImageSize
from emoca_core.weights.checkpoints import KeyMap, asset_name, find_weights, load_into, read_checkpoint
from emoca_plugins.encoders.box_crops import EmocaCrop
from emoca_plugins.encoders.code_network import clone_for
from emoca_plugins.encoders.network_output import split_code
from emoca_plugins.encoders.regressor_network import TrunkRegressor
from emoca_plugins.encoders.regressor_output import Output

COARSE, EXPRESSION = "coarse_network.", "expression_network."
PRETRAINED = "pretrained"
KEYS = KeyMap(strip=("encoder.",))


class Regressor(Encoder):
    """Image to all blocks of the face model that it is built for, with a weak-perspective camera and light.

    An untrained network answers with the neutral face, seen from the front, framed by its crop and evenly lit
    (``regressor_output``).

    With ``expression_blocks`` a second network, a copy of the first, predicts those blocks, and the first is frozen: it
    takes no gradient and keeps the statistics of its batch normalisation. The copy is made when the weights are there:
    after ``weights`` is read, and again when a state without a second network is loaded.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.1; EMOCA (Danecek et al., CVPR 2022). The face
    models, the trunk and the scaling of the output are ours.
    """

    class Params(ComponentParams):
        model: str = "resnet50"
        """Name of the network in timm, with or without the tag of its weights."""
        weights: str = "untrained"
        """``untrained`` refuses to work. ``pretrained``: timm's published weights of the trunk. ``random``: from
        scratch. Else the whole encoder: name of an asset or path of a file, e.g. ``best.safetensors`` of a run of
        ``emoca train coarse``."""
        image_size: ImageSize = Field(default=224, ge=32)
        """Side to which crops are resized, pixels."""
        normalization: Literal["pretrained", "none"] = "pretrained"
        """``pretrained`` subtracts the mean and divides by the deviation of the network's weights; DECA used none."""
        hidden: int = Field(default=1024, ge=0)
        """Units of the hidden layer behind the trunk; 0 is a linear head."""
        eye_pose: bool = False
        """Predict the rotation of the eyeballs, where the face model has them."""
        expression_blocks: tuple[Literal["expression", "global_pose", "jaw_pose", "eye_pose"], ...] = ()
        """Blocks of a second network; none trains the first. EMOCA's: ``[expression]``, with switches for the poses."""

    params: Params
    takes_parts = True
    crop_rule = EmocaCrop()

    def __init__(self, params: Params | None, parts: Parts) -> None:
        """Build the networks for a face model.

        Raises:
            RecipeError: The face model lacks what is to be predicted.
        """
        super().__init__(params)
        p, face_model = self.params, parts.face_model
        self._file = None if p.weights == PRETRAINED else find_weights("regressor", p.weights)
        self.register_load_state_dict_pre_hook(_fill_second_network)  # type: ignore[no-untyped-call]
        self.output = Output.of(face_model, p.eye_pose)
        self.blocks: Mapping[Block, int] = self.output.layout
        self._second: dict[Block, int] = {block: self.blocks.get(block, 0) for block in p.expression_blocks}
        if missing := [block for block, size in self._second.items() if not size]:
            raise RecipeError(
                f"expression_blocks names {', '.join(missing)}, but regressor predicts {', '.join(self.blocks)} "
                f"of {type(face_model).__name__}"
            )
        self._units: Mapping[str, Unit] = {"expression": "activation"} if face_model.expression_names else {}
        self.coarse_network = TrunkRegressor(p.model, p.weights == PRETRAINED, p.normalization, p.hidden, self.blocks)
        self._load()

    def forward(self, crop: FaceCrop) -> FaceParameters:
        image = resized(crop.image, self.params.image_size)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._second):
            raw = split_code(self.coarse_network(image), self.blocks)
        if self._second:
            raw |= split_code(self.expression_network(image), self._second)
        parameters: FaceParameters = self.output(raw)
        return parameters.replace(units=self._units)

    def train(self, mode: bool = True) -> "Regressor":
        """Set the mode of what is trained; a frozen first network keeps its statistics."""
        super().train(mode)
        if self._second:
            self.coarse_network.eval()
        return self

    def _load(self) -> None:
        """Read the weights, then copy the network."""
        checkpoint = read_checkpoint(self._file) if self._file else None
        whole = checkpoint is not None and any(KEYS.stripped(name).startswith(EXPRESSION) for name in checkpoint)
        if checkpoint is not None and not whole:
            load_into(self, checkpoint, KEYS)
        if self._second:
            self.expression_network = clone_for(self.coarse_network, self._second)
            self.coarse_network.requires_grad_(False)
        if checkpoint is not None and whole:
            load_into(self, checkpoint, KEYS)
        if self._file is not None:
            self.asset_paths = {asset_name("regressor", self.params.weights): self._file}


def _fill_second_network(encoder: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let a state of the first network alone start both."""
    assert isinstance(encoder, Regressor)
    first, second = prefix + COARSE, prefix + EXPRESSION
    names = list(state)
    if not encoder._second or any(name.startswith(second) for name in names):
        return
    kept, last = encoder.coarse_network.rows(encoder._second), f"layers.{len(encoder.coarse_network.layers) - 1}."
    for name in names:
        if name.startswith(first):
            bare = name.removeprefix(first)
            value = state[name]
            state[second + bare] = value[kept.to(value.device)] if bare.startswith(last) else value
