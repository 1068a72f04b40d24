"""Faces to learn from."""

from abc import abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.interfaces.component import Component
from emoca_core.interfaces.face import FaceGeometry, FaceParameters


@dataclass(frozen=True)
class FaceSample:
    """One face with what is known of it.

    Attributes:
        image: RGB in [0, 1].
        key: Unique and stable, e.g. the path.
        expression: Class index among the ``labels`` of the set (by default ``EXPRESSIONS``), or ``None``.
        valence: [-1, 1], or ``None``.
        arousal: [-1, 1], or ``None``.
        identity: Person, or ``None``.
        clip: Video the frame belongs to, or ``None``.
        landmarks: 68 iBUG points in the image's NDC, or ``None``.
        mask: 1 where the image shows skin of this face, or ``None``.
        parameters: The true code (batch of one) of synthetic faces, or ``None``.
        geometry: The true geometry (batch of one) of synthetic faces, or ``None``.
        logits: What a teacher says of the classes, NaN where it says nothing; ``None`` without a teacher.
    """

    image: Float[Tensor, "3 H W"]
    key: str
    expression: int | None = None
    valence: float | None = None
    arousal: float | None = None
    identity: str | None = None
    clip: str | None = None
    landmarks: Float[Tensor, "68 2"] | None = None
    mask: Float[Tensor, "1 H W"] | None = None
    parameters: FaceParameters | None = None
    geometry: FaceGeometry | None = None
    logits: Float[Tensor, "C"] | None = None


class FaceDataset(Component):
    """A finite, indexable collection of faces; works with ``torch.utils.data.DataLoader``."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of faces."""

    @abstractmethod
    def __getitem__(self, index: int) -> FaceSample:
        """One face. The same index gives the same face."""

    def identities(self) -> Int[Tensor, "N"] | None:
        """Number of the person on each face, without reading an image; negative where unknown.

        ``None`` for sets that know nobody.
        """
        return None
