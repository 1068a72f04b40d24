"""Photo to detected faces."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
        notes: Remarks for people.
        movement: How far the landmarks move when the face is looked at again through another crop, if that was tried:
            mean distance, in units of the distance of the outer eye corners; infinite where it is not found again.
        second_opinion: How far other evidence for a whole human face is above its limit, if there is any; below 0 it
            rather is an animal or a thing, or something covers the face.
    """

    box: Float[ndarray, "4"]
    score: float
    landmarks: Mapping[str, Float[ndarray, "_ 2"]]
    blendshapes: Float[ndarray, "52"] | None = None
    head_pose: Float[ndarray, "4 4"] | None = None
    notes: tuple[str, ...] = field(default=())
    movement: float | None = None
    second_opinion: float | None = None


class Follower(ABC):
    """Follows the faces of one clip; a context manager, which lets go of what following needs."""

    @abstractmethod
    def detect(self, photo: UInt8[ndarray, "H W 3"], time: float) -> list[Detection]:
        """The faces of the next frame, largest first.

        Args:
            photo: RGB.
            time: Seconds since the clip's first frame; grows from call to call.
        """

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *error: object) -> None:
        return None


class Landmarker(Component):
    """Finds faces and their landmarks."""

    @abstractmethod
    def detect(self, photo: UInt8[ndarray, "H W 3"]) -> list[Detection]:
        """All faces of an RGB photo, largest first; an empty list when there is none."""

    def look_again(self, photo: UInt8[ndarray, "H W 3"], faces: Sequence[Detection]) -> list[Detection]:
        """The same faces with ``movement`` and ``second_opinion``; without, as here, where the landmarker cannot tell.

        Args:
            photo: RGB.
            faces: What ``detect`` found in it.
        """
        return list(faces)

    def follow(self, faces: int | None = None) -> Follower:
        """Begin a clip.

        Args:
            faces: At most so many faces are of interest, the largest; ``None`` for all.
        """
        return _FrameByFrame(self, faces)

    def explain_no_face(self, photo: UInt8[ndarray, "H W 3"]) -> str:
        """What to tell people of a photo in which ``detect`` finds no face."""
        return "no face found"


@dataclass(frozen=True)
class _FrameByFrame(Follower):
    """Looks at every frame as at a photo."""

    landmarker: Landmarker
    faces: int | None

    def detect(self, photo: UInt8[ndarray, "H W 3"], time: float) -> list[Detection]:
        return self.landmarker.detect(photo)[: self.faces]
