"""Wrinkles: a latent code and a displacement map in UV space."""

from abc import abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces.component import ModuleComponent
from emoca_core.interfaces.face import Block, FaceCrop, FaceParameters
from emoca_core.registry.spec import ComponentParams


class DetailModel(ModuleComponent):
    """Encodes the detail of a face crop and decodes it, with expression and jaw, into displacements.

    Attributes:
        code_size: Length of the ``detail`` block.
        conditions: Blocks besides ``detail`` that the decoder reads, and their sizes.
        map_size: Side of the displacement map, pixels.
        mask: Where the displacement applies in UV space; ``None`` applies it everywhere.
        fixed_displacement: Added to every face's displacement and not masked, metres; ``None`` adds nothing.
        blend_normals: Whether pictures show the coarse mesh's normals outside the mask.
    """

    code_size: int
    conditions: Mapping[Block, int]
    map_size: int
    mask: Float[Tensor, "1 1 T T"] | None
    fixed_displacement: Float[Tensor, "T T"] | None
    blend_normals: bool = False

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        for name in ("mask", "fixed_displacement"):
            if not hasattr(type(self), name):  # a subclass may have a property, or the same for all
                self.register_buffer(name, None, persistent=False)

    @abstractmethod
    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        """The detail code of each face."""

    @abstractmethod
    def decode(self, parameters: FaceParameters) -> Float[Tensor, "B 1 T T"]:
        """Displacement along the normal in UV space, metres."""

    def forward(self, crop: FaceCrop, parameters: FaceParameters) -> FaceParameters:
        """The parameters with their detail block filled."""
        return parameters.replace(detail=self.encode(crop))
