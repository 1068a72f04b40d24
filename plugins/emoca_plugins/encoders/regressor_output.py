"""What the outputs of the encoder ``regressor`` mean.

Outputs of zero, those of an untrained network, are the neutral face, frontal, framed by its crop and evenly lit.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from emoca_core.geometry.autograd_context import Context
from emoca_core.geometry.lighting import SH_CONSTANTS
from emoca_core.interfaces import (
    Block,
    Camera,
    FaceModel,
    FaceParameters,
    PerspectiveCamera,
    WeakPerspectiveCamera,
)

CROP_SIDE = 1.25 * 1.1
"""Side of EMOCA's crop, in mean sides of the landmarks' box."""
BLOCKS: tuple[Block, ...] = ("shape", "albedo", "expression", "global_pose", "jaw_pose", "eye_pose")
"""What is predicted of a face model, as far as it has it; camera and light are always predicted."""
STEP: Mapping[Block, float] = {
    **{"shape": 1.0, "albedo": 1.0, "expression": 0.5},
    **{"global_pose": 0.3, "jaw_pose": 0.1, "eye_pose": 0.1},
}
"""What an output of 1 is worth, in the unit of the block: about its spread over faces, so that one step size fits all.
Expressions in standard deviations count 1."""
LOG_SCALE_STEP, SHIFT_STEP = 0.1, 0.1
"""What an output of 1 is worth in the camera: factor e^0.1 of the scale; a tenth of half the crop."""
AMBIENT, FRONTAL, LIGHT_STEP = 0.7, 0.25, 0.3
"""Irradiance of the neutral light: the same everywhere, plus from the front; and what an output of 1 adds."""


class Output(nn.Module):
    """Named, scaled blocks of a network's outputs.

    Activations are kept in [0, 1] by ``clamp_activation``: clamped, but not cut off from the gradient.

    Attributes:
        layout: Blocks and sizes of the network's outputs.
        blocks: Blocks and sizes of the code.
        neutral_points: The 68 points of the neutral face in its crop, NDC.
    """

    light: Tensor
    light_step: Tensor
    scale: Tensor
    centre: Tensor
    neutral_points: Tensor

    def __init__(
        self,
        layout: Mapping[Block, int],
        activations: bool,
        scale: float,
        centre: Float[Tensor, "2"],
        distance: float | None = None,
    ) -> None:
        """Take the layout, and the neutral camera.

        Args:
            layout: Blocks and sizes.
            activations: Whether expression coefficients are activations.
            scale: NDC per metre of a face that fills its crop.
            centre: Middle of that face, metres.
            distance: Of the head's origin from a pinhole camera, metres; none sees from afar.
        """
        super().__init__()
        self.layout, self.activations, self.distance = dict(layout), activations, distance
        self.blocks = {**layout, "camera": 3 if distance is None else 7}
        light = torch.zeros(9, 3)
        light[0], light[3] = AMBIENT / SH_CONSTANTS[0], FRONTAL / SH_CONSTANTS[3]
        steps = LIGHT_STEP / torch.tensor(SH_CONSTANTS)[:, None]
        values = {"light": light, "light_step": steps, "scale": torch.tensor(scale), "centre": centre.clone()}
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)

    @classmethod
    @torch.no_grad()
    def of(
        cls, face_model: FaceModel, eye_pose: bool, crop_side: float = CROP_SIDE, distance: float | None = None
    ) -> "Output":
        """For a face model, framed by its landmarks as the native crop frames a photo.

        Args:
            face_model: Made for.
            eye_pose: Whether gaze is predicted, where the model has any.
            crop_side: Side of the crop, in mean sides of the landmarks' box.
            distance: As of ``Output``.
        """
        wanted = [block for block in BLOCKS if block != "eye_pose" or eye_pose]
        layout: dict[Block, int] = {b: face_model.blocks[b] for b in wanted if face_model.blocks.get(b)}
        some = face_model.faces.device
        landmarks = face_model(FaceParameters(shape=torch.zeros(1, 1, device=some))).landmarks["ibug68"][0].cpu()
        low, high = landmarks.amin(0), landmarks.amax(0)
        scale = 2 / (crop_side * float((high - low)[:2].mean()))
        activations = bool(face_model.expression_names)
        made = cls({**layout, "camera": 3, "lighting": 27}, activations, scale, (low + high)[:2] / 2, distance)
        points = made.camera(torch.zeros(1, 3)).project(landmarks[None])[0, :, :2]
        made.register_buffer("neutral_points", points, persistent=False)
        return made

    def forward(self, raw: Mapping[Block, Float[Tensor, "B _"]]) -> FaceParameters:
        """The code that a network's outputs mean."""
        step = STEP if self.activations else {**STEP, "expression": 1.0}
        blocks = {name: step[name] * raw[name] for name in self.layout if name in step}
        if self.activations and "expression" in blocks:
            blocks["expression"] = clamp_activation(blocks["expression"])
        light = self.light + self.light_step * raw["lighting"].reshape(-1, 9, 3)
        return FaceParameters(camera=self.camera(raw["camera"]), lighting=light).replace(**blocks)

    def placed(
        self, raw: Float[Tensor, "B 3"], larger: Float[Tensor, "B"], moved: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B 3"]:
        """Outputs of the camera of a face, where all of it is larger by a factor, then moved in the picture (NDC)."""
        shift = raw[:, 1:] * larger[:, None] + moved * moved.new_tensor([1.0, -1.0]) / SHIFT_STEP
        return torch.cat([raw[:, :1] + larger.log()[:, None] / LOG_SCALE_STEP, shift], dim=1)

    def camera(self, raw: Float[Tensor, "B 3"]) -> Camera:
        """The camera that three outputs mean: log scale, and where the face is in the picture."""
        larger, shift = (LOG_SCALE_STEP * raw[:, 0]).exp(), SHIFT_STEP * raw[:, 1:]
        if self.distance is None:
            return WeakPerspectiveCamera(self.scale * larger, shift / self.scale - self.centre)
        focal = (self.distance * self.scale).expand(raw.shape[0], 2)  # len() would make an exported batch a constant
        away = self.distance / larger
        right, up = (shift / focal * away[:, None] - self.centre).unbind(1)
        return PerspectiveCamera(focal, torch.zeros_like(shift), torch.stack([right, -up, away], dim=1))


def clamp_activation(value: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Clamp to [0, 1], and let those gradients through whose descent leads back into the range.

    A sigmoid would never reach the neutral face, whose activations are 0, and would hardly leave it; an ordinary clamp
    would cut off whatever fell below 0 for ever; a penalty would leave codes out of range, which the face model and
    ARKit's consumers do not understand. Inside (0, 1) the gradient is the true one; at and beyond an end, a gradient
    that would lead further out is zero and one that leads back passes unchanged.
    """
    return _ClampActivation.apply(value)


class _ClampActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.clamp(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        outwards = ((value <= 0) & (grad > 0)) | ((value >= 1) & (grad < 0))
        return grad.masked_fill(outwards, 0)
