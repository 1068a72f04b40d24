"""Settings of a stage of EMOCA's training: those of the loop, and what is compared with what."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emoca_core.errors import ParamsError
from emoca_core.registry.merging import merge
from emoca_core.registry.spec import BatchSize, SettingsModel, UsedComponent, validated
from emoca_core.registry.terms import Stage
from emoca_core.rendering.masks import Background, Composition, MaskMode
from emoca_core.train.augmentation import FaceChanges
from emoca_core.train.ring_batches import FewImages
from emoca_core.train.train_settings import TrainSettings

ValidationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Exchange(SettingsModel):
    """What the images of one person have in common, and therefore may exchange.

    Source: DECA (Feng et al., SIGGRAPH 2021).
    """

    shape: Literal["none", "exchange", "same"] = "none"
    """``exchange``: every batch is rendered a second time with the shape codes permuted within each person. ``same``:
    all images of a person get their mean shape code."""
    detail: Literal["none", "exchange"] = "none"
    """``exchange``: every batch is rendered a second time with the detail codes permuted within each person."""


class StageSettings(TrainSettings):
    """How one stage is trained. The recipe's ``training`` block fills it; unknown keys are errors."""

    batch_size: BatchSize = 32
    """Images (not persons) per optimiser step over ALL processes and accumulation steps."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Step size of Adam."""
    mask: MaskMode = "rendered"
    """Where picture and photo are compared: the photo's segmentation, the rendered face region, or both."""
    background: Background = "black"
    """What surrounds the face in the picture that losses and emotion backbone see: nothing, the photo, or whatever was
    rendered outside the mask."""
    exchange: Exchange = Exchange()
    """What images of one person exchange."""
    images_per_identity: BatchSize = 1
    """Consecutive images of a batch that show one person; 1 draws faces whoever they are."""
    few_images: FewImages = "leave_out"
    """People with fewer images than ``images_per_identity``: ``leave_out``, or ``repeat`` images of theirs (one ring an
    epoch, drawn with replacement), as the public code does."""
    augment: FaceChanges = FaceChanges()
    """How training faces are changed: crops, light, picture quality; their codes stay what they are."""
    recipe: Mapping[str, object] = Field(default_factory=dict)
    """Merged into the recipe while it is trained, e.g. where the weights come from at the beginning."""
    data: Mapping[str, object] = Field(default_factory=dict)
    """Parameters of the data set, for training and validation."""
    validation_data: Mapping[str, object] = Field(default_factory=dict)
    """Parameters of the validation set on top of ``data``."""
    also: Mapping[ValidationName, UsedComponent] = Field(default_factory=dict)
    """Further data sets that every validation measures, by name: ``validation/NAME/landmark_error`` and so on. They
    have the image size of ``data``, and take no part in choosing the best weights."""

    @model_validator(mode="after")
    def _exchange_needs_company(self) -> "StageSettings":
        if (self.exchange.shape, self.exchange.detail) != ("none", "none") and self.images_per_identity < 2:
            raise ValueError("an exchange needs images_per_identity of 2 or more")
        if self.batch_size % self.images_per_identity:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of images_per_identity {self.images_per_identity}"
            )
        return self

    @property
    def composition(self) -> Composition:
        """Mask and background, as ``Method.decode`` wants them."""
        return Composition(self.mask, self.background)


STAGE_DEFAULTS: Mapping[Stage, Mapping[str, object]] = {
    "coarse": {"epochs": 30, "validate_every": 0.2, "patience": 15},
    "detail": {
        **{"epochs": 12, "validate_every": 0.2, "patience": 5, "learning_rate": 1e-4},
        **{"batch_size": 12, "images_per_identity": 3, "mask": "gt", "background": "input"},
        "exchange": {"detail": "exchange"},
    },
}
"""EMOCA's published settings. Source: EMOCA (Danecek et al., CVPR 2022), public code."""


def stage_settings(
    stage: Stage, recipe: Mapping[str, object] | None = None, change: Mapping[str, object] | None = None
) -> StageSettings:
    """The published settings with the recipe's ``training`` block on top, and the user's changes on top of that.

    Raises:
        ParamsError: A setting is unknown or out of range.
    """
    values = merge(merge(STAGE_DEFAULTS[stage], recipe or {}), change or {})
    settings = validated(StageSettings, values, f"training of the {stage} stage")
    untrained: Stage = "detail" if stage == "coarse" else "coarse"
    exchanged = {"coarse": settings.exchange.shape, "detail": settings.exchange.detail}[untrained]
    if exchanged != "none":
        code = {"coarse": "shape", "detail": "detail"}[untrained]
        raise ParamsError(f"the {stage} stage does not train the {code} code: exchange.{code} must be none")
    return settings
