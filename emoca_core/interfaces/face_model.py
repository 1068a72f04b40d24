"""Coefficients to mesh."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping

from jaxtyping import Bool, Float, Int
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent
from emoca_core.interfaces.face import Albedo, Block, FaceGeometry, FaceParameters
from emoca_core.registry.spec import ComponentParams


class FaceModel(ModuleComponent):
    """A morphable face: FLAME, BFM, the open head.

    Attributes:
        blocks: What ``forward`` and ``albedo`` read: block name to its largest size. A shorter code is padded with
            zeros, an absent one is zero; a block that is not listed is ignored.
        faces: Triangles, counter-clockwise seen from outside.
        uv: Texture coordinates in [0, 1], u right, v UP (as in OBJ files); ``None`` for models without a texture.
        uv_faces: Triangles into ``uv``, one for each of ``faces``.
        expression_names: Names of the expression coefficients where they mean something (the ARKit names).
    """

    blocks: Mapping[Block, int]
    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "U 2"] | None
    uv_faces: Int[Tensor, "F 3"] | None
    expression_names: tuple[str, ...] = ()

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        for name in ("uv", "uv_faces"):
            if not hasattr(type(self), name):  # a subclass may have a property, or the same for all
                self.register_buffer(name, None, persistent=False)

    @property
    def vertex_masks(self) -> Mapping[str, Bool[Tensor, "V"]]:
        """Named regions."""
        return {}

    @property
    def partial_landmarks(self) -> Mapping[str, tuple[str, Int[Tensor, "_"]]]:
        """Sets of which the model has some points only.

        By the name of the whole set: the set that ``forward`` returns, and which points of the whole one these are.
        """
        return {}

    @abstractmethod
    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        """Pose the mesh; vertices and landmarks in metres, rotated by ``global_pose``, without translation."""

    def for_landmarks(self) -> "FaceModel":
        """The same face for those who need its landmarks alone: models may leave out the rest of the mesh."""
        return self

    def albedo(self, parameters: FaceParameters) -> Albedo:
        """Reflectance of each face. Models without an appearance return an empty ``Albedo``."""
        return Albedo()

    def albedo_changes(self) -> Iterator[Albedo] | None:
        """Derivatives of ``albedo`` at the average code, for each coefficient; ``None``: differentiate to have them."""
        return None
