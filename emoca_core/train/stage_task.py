"""The two stages of EMOCA's training as tasks of the loop: coarse, and detail on top of a frozen coarse face.

A task registers only what is trained, under the names that it has in the method; everything else (frozen networks, face
model, renderer, emotion backbone, terms of the objective) stays outside, in evaluation mode. So neither optimiser nor
checkpoints nor DistributedDataParallel see more than they should.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Capture, FaceCrop, FaceParameters
from emoca_core.method.method import EVERYTHING, Method
from emoca_core.method.objective import Losses, Objective
from emoca_core.registry.terms import Stage
from emoca_core.runs.trained_part import frozen_parts, set_mode, sha256_of_tensors, trained_part
from emoca_core.train import validation_figures
from emoca_core.train.exchange import ring_means, ring_permutation
from emoca_core.train.face_batches import FaceBatch
from emoca_core.train.stage_settings import StageSettings
from emoca_core.train.task import Step, Task

SHOWN = 8
"""Faces in a validation's picture."""


class ReconstructionTask(Task[FaceBatch]):
    """What both stages share. ``loss``, the weighted sum of the driving terms over the validation set, is monitored.

    Attributes:
        stage: Name of the stage.
    """

    monitor = "loss"
    higher_is_better = False
    stage: ClassVar[Stage]

    def __init__(
        self, method: Method, objective: Objective, settings: StageSettings, card: Mapping[str, object] | None = None
    ) -> None:
        """Take a method whose parameters say by ``requires_grad`` what is trained.

        Args:
            method: The assembled recipe.
            objective: The terms of the stage.
            settings: Of the stage.
            card: What rebuilds the method; recorded with the run.

        Raises:
            RecipeError: Nothing of the method is trained in this stage.
        """
        super().__init__()
        self._outside = (method.eval(), objective)  # a tuple hides them from nn.Module
        self.settings = settings
        for name in ("face_model", "renderer", "emotion_backbone"):
            if (part := getattr(method, name)) is not None:
                part.requires_grad_(False)
        self.trained = self._choose_trained(method)
        for name, module in self.trained.items():
            if (part := trained_part(module)) is None:
                raise RecipeError(f"nothing to train: every weight of {type(module).__name__} ({name}) is frozen")
            self.add_module(name, part)
        self._card = {**(card or {}), "stage": self.stage, "frozen": self._frozen_hashes()}

    @property
    def method(self) -> Method:
        """The assembled recipe."""
        return self._outside[0]

    @property
    def objective(self) -> Objective:
        """The terms of the stage."""
        return self._outside[1]

    @abstractmethod
    def _choose_trained(self, method: Method) -> dict[str, nn.Module]:
        """The components of which something is trained, by their name in the method; freezes the others."""

    @abstractmethod
    def _encode(self, crop: FaceCrop) -> FaceParameters:
        """The codes of a batch, with a gradient to what is trained."""

    @abstractmethod
    def _exchanged(self, batch: FaceBatch, parameters: FaceParameters, step: Step) -> tuple[FaceBatch, FaceParameters]:
        """The batch and its codes after the exchange within persons."""

    def train(self, mode: bool = True) -> "ReconstructionTask":
        """Set the mode of what is trained; whatever is frozen inside stays in evaluation mode."""
        self.training = mode
        for module in self.trained.values():
            set_mode(module, mode)
        return self

    def frozen(self) -> Iterable[nn.Module]:
        return self.method, self.objective

    def forward(self, batch: FaceBatch, step: Step) -> Losses:
        batch, parameters = self._exchanged(batch, self._encode(batch.crop), step)
        driving = self.objective.required(self.objective.weights)
        capture = self._decode(batch, parameters, driving)
        losses: Losses = self.objective(capture)
        if not step.logged or not self.objective.metrics:
            return losses
        measured = self.objective.required(self.objective.metrics)
        if not measured & EVERYTHING <= driving:  # what is only measured takes no gradient, hence little time
            with torch.no_grad():
                capture = self._decode(batch, parameters.map(Tensor.detach), measured)
        return Losses(losses.total, {**losses.parts, **self.objective.measure(capture)})

    @torch.no_grad()
    def predict(self, batch: FaceBatch) -> dict[str, Tensor]:
        capture = self.capture(batch)
        parts = self._judged(capture)
        rows = {name: value.float().expand(len(batch.crop)) for name, value in parts.items()}
        return rows | self._measures(capture)

    def _judged(self, capture: Capture) -> dict[str, Tensor]:
        """The terms; without them where they ask for a truth that photos beside synthetic faces do not have."""
        if capture.truth is None and "truth" in self.objective.required(self.objective.losses):
            return {self.monitor: capture.crop.image.new_tensor(torch.nan)}
        losses: Losses = self.objective(capture)
        return {self.monitor: losses.total, **losses.parts, **self.objective.measure(capture)}

    def metrics(self, gathered: Mapping[str, Tensor]) -> dict[str, float]:
        means = {name: float(values.double().nanmean()) for name, values in gathered.items()}
        return {name: mean for name, mean in means.items() if mean == mean or name == self.monitor}

    @torch.no_grad()
    def pictures(self, batch: FaceBatch) -> dict[str, Tensor]:
        from emoca_core.train.pictures import capture_grid

        shown, keys = batch.map(lambda tensor: tensor[:SHOWN]), batch.crop.keys
        shown = replace(shown, crop=replace(shown.crop, keys=keys and keys[:SHOWN]))
        return {"faces": capture_grid(self.method, self.capture(shown))}

    def trained_state(self) -> dict[str, Tensor]:
        return self.state_dict()

    def card(self) -> dict[str, object]:
        return self._card

    def capture(self, batch: FaceBatch) -> Capture:
        """Everything of a batch, as validation sees it: no exchange."""
        return self._decode(batch, self._encode(batch.crop), EVERYTHING)

    def _decode(self, batch: FaceBatch, parameters: FaceParameters, fields: Collection[str]) -> Capture:
        """Geometry and pictures, in full precision whatever the networks compute in."""
        device = batch.crop.image.device.type
        with torch.autocast(device, enabled=False):
            exact = parameters.map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
            capture = self.method.decode(batch.crop, exact, self.settings.composition, fields)
        return replace(capture, truth=batch.truth)

    def _measures(self, capture: Capture) -> dict[str, Tensor]:
        """One row per face; NaN where photo or truth do not tell."""
        masks = self.method.face_model.vertex_masks
        vertices = validation_figures.vertex_errors(capture, masks) or {}
        values = {
            "landmark_error": validation_figures.landmark_error(capture),
            "photometric_error": validation_figures.photometric_error(capture),
            "detail_photometric_error": validation_figures.detail_photometric_error(capture),
            "emotion_distance": validation_figures.emotion_distance(
                capture.emotion_of_input, capture.emotion_of_rendering
            ),
            "expression_error": validation_figures.expression_error(capture),
            **{f"vertex_error_{region}_mm": vertices.get(region) for region in validation_figures.REGIONS},
        }
        unknown = capture.crop.image.new_full((len(capture.crop),), torch.nan)
        return {name: unknown if value is None else value.float() for name, value in values.items()}

    def _frozen_hashes(self) -> dict[str, str]:
        """Hash of the weights of every frozen network that the trained ones were trained with."""
        roots = {name: getattr(self.method, name) for name in ("encoder", "detail", "emotion_backbone")}
        roots |= {f"losses.{name}": loss for name, loss in self.objective.losses.items()}
        parts = [part for root, module in roots.items() if module is not None for part in frozen_parts(module, root)]
        return {name: sha256_of_tensors(part.state_dict()) for name, part in parts}


class CoarseTask(ReconstructionTask):
    """The encoder is trained, as far as its parameters ask for a gradient.

    Source: EMOCA (Danecek et al., CVPR 2022); the published code trains its expression encoder alone.
    """

    stage = "coarse"

    def _choose_trained(self, method: Method) -> dict[str, nn.Module]:
        if method.detail is not None:
            method.detail.requires_grad_(False)
        return {"encoder": method.encoder}

    def _encode(self, crop: FaceCrop) -> FaceParameters:
        parameters: FaceParameters = self.method.encoder(crop)
        return parameters

    def _exchanged(self, batch: FaceBatch, parameters: FaceParameters, step: Step) -> tuple[FaceBatch, FaceParameters]:
        kind, images = self.settings.exchange.shape, self.settings.images_per_identity
        if kind == "none" or parameters.shape is None:
            return batch, parameters
        if kind == "same":
            return batch, self._with_shape(batch, parameters, ring_means(parameters.shape, images))
        order = ring_permutation(len(batch.crop), images, step).to(batch.crop.image.device)
        other = self._with_shape(batch, parameters, parameters.shape[order])
        return twice(batch), FaceParameters.cat([parameters, other])

    def _with_shape(self, batch: FaceBatch, parameters: FaceParameters, shape: Tensor) -> FaceParameters:
        return self.method.encoder.with_shape(batch.crop, parameters, shape)


class DetailTask(ReconstructionTask):
    """Detail encoder and decoder are trained; the coarse face has no gradient.

    Source: DECA (Feng et al., SIGGRAPH 2021), section 4.2.
    """

    stage = "detail"

    def _choose_trained(self, method: Method) -> dict[str, nn.Module]:
        if method.detail is None:
            raise RecipeError(f"recipe '{method.name}' has no detail model to train")
        method.encoder.requires_grad_(False)
        return {"detail": method.detail.requires_grad_(True)}

    def _encode(self, crop: FaceCrop) -> FaceParameters:
        with torch.no_grad():
            coarse = self.method.encoder(crop)
        assert self.method.detail is not None
        parameters: FaceParameters = self.method.detail(crop, coarse)
        return parameters

    def _exchanged(self, batch: FaceBatch, parameters: FaceParameters, step: Step) -> tuple[FaceBatch, FaceParameters]:
        if self.settings.exchange.detail == "none" or parameters.detail is None:
            return batch, parameters
        images = self.settings.images_per_identity
        order = ring_permutation(len(batch.crop), images, step).to(batch.crop.image.device)
        detail = torch.cat([parameters.detail, parameters.detail[order]])
        return twice(batch), parameters.map(_doubled).replace(detail=detail)


TASKS: Mapping[Stage, type[ReconstructionTask]] = {task.stage: task for task in (CoarseTask, DetailTask)}


def twice(batch: FaceBatch) -> FaceBatch:
    """The batch followed by itself."""
    doubled = batch.map(_doubled)
    keys = batch.crop.keys
    return replace(doubled, crop=replace(doubled.crop, keys=keys and keys + keys))


def _doubled(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor])
