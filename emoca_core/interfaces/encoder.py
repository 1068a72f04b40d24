"""Face crop to parameters."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from emoca_core.interfaces.component import ModuleComponent
from emoca_core.interfaces.crop import CropRule
from emoca_core.interfaces.face import Block, FaceCrop, FaceParameters
from emoca_core.interfaces.parts import Parts


class Encoder(ModuleComponent):
    """Estimates a face code: a network that regresses it, or an optimiser that fits it.

    Attributes:
        blocks: The blocks it predicts and their sizes; the assembly checks them against the face model.
        crop_rule: How the published method cuts its input (the ``native`` policy).
        needs: Optional fields of ``FaceCrop`` that it reads, e.g. ``{"landmarks"}``.
    """

    blocks: Mapping[Block, int]
    crop_rule: CropRule
    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def forward(self, crop: FaceCrop) -> FaceParameters:
        """Estimate the code of every face in the batch, including its camera."""

    def attach(self, parts: Parts) -> None:
        """Called once by the assembly. Analysis by synthesis needs the parts it inverts; networks ignore this.

        Raises:
            RecipeError: The encoder cannot work with these parts.
        """
        return None
