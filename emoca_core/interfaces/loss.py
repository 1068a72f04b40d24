"""One term of the objective, and everything it may read."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent
from emoca_core.interfaces.emotion import EmotionPrediction
from emoca_core.interfaces.face import FaceCrop, FaceGeometry, FaceParameters
from emoca_core.interfaces.renderer import Rendering


@dataclass(frozen=True)
class Capture:
    """Everything one pass over a batch produced; losses and exporters pick what they need.

    Attributes:
        crop: The input.
        parameters: The estimated code.
        geometry: The posed mesh.
        rendering: The coarse picture.
        detail_rendering: The picture with detail normals.
        displacement: Detail displacement in UV space, metres.
        emotion_of_input: What the emotion backbone sees in the photo. No gradient.
        emotion_of_rendering: What it sees in the rendering.
    """

    crop: FaceCrop
    parameters: FaceParameters
    geometry: FaceGeometry | None = None
    rendering: Rendering | None = None
    detail_rendering: Rendering | None = None
    displacement: Float[Tensor, "B 1 T T"] | None = None
    emotion_of_input: EmotionPrediction | None = None
    emotion_of_rendering: EmotionPrediction | None = None


class Loss(ModuleComponent):
    """One unweighted, scalar term; its weight lives in the recipe.

    Attributes:
        requires: Fields of ``Capture`` that it reads; the assembly refuses a recipe that cannot fill them.
    """

    requires: ClassVar[frozenset[str]]

    @abstractmethod
    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        """The term for a batch."""
