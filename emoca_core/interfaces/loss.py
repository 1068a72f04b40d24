"""One term of the objective, and everything it may read."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.errors import unknown_name
from emoca_core.interfaces.component import ModuleComponent
from emoca_core.interfaces.emotion import EmotionPrediction
from emoca_core.interfaces.face import FaceCrop, FaceGeometry, FaceParameters
from emoca_core.interfaces.parts import Parts
from emoca_core.interfaces.renderer import Rendering

T = TypeVar("T")


@dataclass(frozen=True)
class FaceTruth:
    """What is known of synthetic faces. No gradient.

    Attributes:
        parameters: The true code.
        geometry: The true geometry.
    """

    parameters: FaceParameters
    geometry: FaceGeometry

    def map(self, change: Callable[[Tensor], Tensor]) -> "FaceTruth":
        """The same truth with every tensor replaced by ``change(tensor)``."""
        return FaceTruth(self.parameters.map(change), self.geometry.map(change))


@dataclass(frozen=True)
class DetailMaps:
    """The detailed surface in UV space, and the photo carried there. Light, albedo and coarse shape have no gradient.

    Attributes:
        texture: Albedo times ``shading``.
        observed_texture: The photo, sampled where each texel lies.
        visibility: 1 where a texel is seen: inside the crop's mask, facing the camera, in the face region.
        shading: Light on the detailed surface.
    """

    texture: Float[Tensor, "B 3 T T"]
    observed_texture: Float[Tensor, "B 3 T T"]
    visibility: Float[Tensor, "B 1 T T"]
    shading: Float[Tensor, "B 3 T T"]


@dataclass(frozen=True)
class Capture:
    """Everything one pass over a batch produced; losses and exporters pick what they need.

    Attributes:
        crop: The input.
        parameters: The estimated code.
        geometry: The posed mesh.
        rendering: The coarse picture.
        detail_rendering: The picture with detail normals.
        displacement: Detail displacement in UV space, metres; not masked.
        detail_maps: The detailed surface in UV space beside the photo, in training.
        mask: Where picture and photo are compared, [0, 1], in training. No gradient.
        picture: ``rendering.image`` on the background that the training stage asks for.
        truth: What is known of synthetic faces.
        emotion_of_input: What the emotion backbone sees in the photo. No gradient.
        emotion_of_rendering: What it sees in ``picture``, or in the rendering where there is no picture.
        partial_landmarks: Those of the face model, where it has any.
    """

    crop: FaceCrop
    parameters: FaceParameters
    geometry: FaceGeometry | None = None
    rendering: Rendering | None = None
    detail_rendering: Rendering | None = None
    displacement: Float[Tensor, "B 1 T T"] | None = None
    detail_maps: DetailMaps | None = None
    mask: Float[Tensor, "B 1 H W"] | None = None
    picture: Float[Tensor, "B 3 H W"] | None = None
    truth: FaceTruth | None = None
    emotion_of_input: EmotionPrediction | None = None
    emotion_of_rendering: EmotionPrediction | None = None
    partial_landmarks: Mapping[str, tuple[str, Int[Tensor, "_"]]] | None = None

    def projected_landmarks(self, name: str = "ibug68") -> Float[Tensor, "B L 2"]:
        """The estimated landmarks of a set in the crop's NDC (x right, y down).

        Raises:
            ValueError: The code has no camera, or there is no geometry.
            UnknownNameError: The face model has no such landmarks.
        """
        if self.parameters.camera is None or self.geometry is None:
            raise ValueError("projecting landmarks needs a geometry and a camera")
        if name not in self.geometry.landmarks:
            raise unknown_name("landmark set of this face model", name, self.geometry.landmarks)
        return self.parameters.camera.project(self.geometry.landmarks[name])[..., :2]


class Loss(ModuleComponent):
    """One unweighted, scalar term; its weight lives in the recipe.

    Attributes:
        requires: Fields of ``Capture`` that it reads; the assembly refuses a recipe that cannot fill them.

    Networks that a loss compares with (recognition, VGG) are frozen and stay in evaluation mode; they are no part of
    what is trained or saved. The input of ``forward`` is never edited in place.
    """

    requires: ClassVar[frozenset[str]]

    def attach(self, parts: Parts) -> None:
        """Called once by the assembly, with the parts of the method that is trained. Most losses ignore this.

        Raises:
            RecipeError: The loss cannot work with these parts.
        """
        return None

    def need(self, value: T | None, what: str) -> T:
        """A value that may be absent, where this loss cannot do without it.

        Raises:
            ValueError: It is ``None``; the message says that this loss needs ``what``.
        """
        if value is None:
            raise ValueError(f"{type(self).__name__} needs {what}")
        return value

    @abstractmethod
    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        """The term for a batch."""
