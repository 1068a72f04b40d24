"""Photo to detected faces."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, UInt8
from numpy import ndarray

from emoca_core.interfaces.component import Component


@dataclass(frozen=True)
class Detection:
    """One face found in a photo.

    Attributes:
        box: x0, y0, x1, y1 in photo pixels (pixel-centre coordinates), tight around the landmarks or as detected.
        score: Confidence in [0, 1].
        landmarks: Points by set name in photo pixels (pixel-centre coordinates); ``"ibug68"`` is always there.
        blendshapes: 52 ARKit activations in [0, 1] in the order of ``emoca_core.vocabulary.arkit.ARKIT_NAMES``.
        head_pose: Homogeneous head-to-camera transform, if known (the landmarker's own convention).
    """

    box: Float[ndarray, "4"]
    score: float
    landmarks: Mapping[str, Float[ndarray, "_ 2"]]
    blendshapes: Float[ndarray, "52"] | None = None
    head_pose: Float[ndarray, "4 4"] | None = None
    notes: tuple[str, ...] = field(default=())


class Landmarker(Component):
    """Finds faces and their landmarks."""

    @abstractmethod
    def detect(self, photo: UInt8[ndarray, "H W 3"]) -> list[Detection]:
        """All faces of an RGB photo, largest first; an empty list when there is none."""
