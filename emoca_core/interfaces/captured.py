"""What a reconstruction knows of one face: what exporters read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from torch import Tensor

from emoca_core.interfaces.emotion import FaceEmotion
from emoca_core.interfaces.face import FaceGeometry, FaceParameters
from emoca_core.interfaces.landmarker import Detection
from emoca_core.interfaces.mesh import FaceMesh
from emoca_core.interfaces.photo import Photo, PhotoCamera
from emoca_core.interfaces.quality import Quality


@dataclass(frozen=True)
class CropRecord:
    """How the face was cut out.

    Attributes:
        policy: ``"native"`` or ``"shared"``.
        rule: Name of the crop rule.
        size: Height and width of the crop, pixels.
        crop_to_image: Crop pixels to photo pixels.
    """

    policy: str
    rule: str
    size: tuple[int, int]
    crop_to_image: Float[ndarray, "3 3"]


@dataclass(frozen=True)
class CapturedFace(ABC):
    """One face of one photo; whatever has to be computed is computed when it is first asked for.

    Attributes:
        photo: Where it is.
        index: Number of the face in the photo; 0 is the largest.
        detection: What the landmarker found.
        crop: How it was cut out.
        parameters: Its code: a batch of one on the CPU.
        geometry: Its mesh: a batch of one on the CPU.
        displacement: Its wrinkles in UV space, metres: a batch of one on the CPU; ``None`` for methods without detail.
    """

    photo: Photo
    index: int
    detection: Detection
    crop: CropRecord
    parameters: FaceParameters
    geometry: FaceGeometry
    displacement: Float[Tensor, "1 1 T T"] | None = None

    @property
    def vertices(self) -> Float[ndarray, "V 3"]:
        """Posed mesh in model space: metres; x to the subject's left, y up, z out of the face."""
        return self.geometry.vertices[0].numpy()

    @property
    def codes(self) -> dict[str, Float[ndarray, "D"]]:
        """Every block of the face code."""
        return {name: block[0].numpy() for name, block in self.parameters.blocks().items()}

    @property
    @abstractmethod
    def recipe(self) -> str:
        """Name of the method that reconstructed it."""

    @property
    @abstractmethod
    def camera(self) -> PhotoCamera | None:
        """Camera of the whole photo; ``None`` for methods without one."""

    @property
    @abstractmethod
    def landmarks(self) -> Float[ndarray, "68 2"] | None:
        """The 68 landmarks of the mesh in photo pixels; ``None`` without a camera."""

    @property
    @abstractmethod
    def mesh(self) -> FaceMesh:
        """The face with texture or vertex colours, and with the rig that leads to it from the neutral face."""

    @property
    @abstractmethod
    def detail_mesh(self) -> FaceMesh | None:
        """The dense mesh with wrinkles, without texture picture; ``None`` for methods without detail."""

    @property
    @abstractmethod
    def quality(self) -> Quality:
        """Whether the face can be trusted, and why not."""

    @property
    def emotion(self) -> FaceEmotion | None:
        """What an emotion backbone reads in the photo; ``None``, as here, where nobody does."""
        return None

    @property
    @abstractmethod
    def arkit(self) -> Mapping[str, float] | None:
        """The 52 ARKit values in [0, 1]; ``None`` where nothing is known.

        They are the weights of the mesh's rig where the face model has the ARKit names, else the landmarker's scores.
        """

    @property
    @abstractmethod
    def detected_arkit(self) -> Mapping[str, float] | None:
        """The landmarker's own scores."""

    @abstractmethod
    def overlay(self) -> Image.Image | None:
        """Photo, landmarks, mesh over the photo, mesh alone; ``None`` without a camera."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Everything but the mesh, JSON-ready."""

    @abstractmethod
    def save(self, folder: Path | str, write: Sequence[str] = ...) -> list[Path]:
        """Write files, by default face.glb, face.obj, face.safetensors, overlay.png, index.html and face.json.

        Files of an earlier save are replaced. Each file appears whole or not at all, and ``face.json`` comes last.

        Args:
            folder: Made where it does not exist.
            write: Names of exporters, see ``emoca list exporter``; ``json`` is always among them.

        Returns:
            The files written.

        Raises:
            UnknownNameError: There is no such exporter.
            OSError: The folder cannot be written, or the disk is full.
        """
