"""A linear albedo model in FLAME's UV space."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError
from emoca_core.formats import Content


class TextureModel(nn.Module):
    """Mean plus components times a code, RGB reflectance, not clamped.

    Source: DECA's texture space: mean + basis code, nearest-neighbour resampling, BGR to RGB (public code).
    """

    mean: Tensor
    modes: Tensor

    def __init__(self, content: Content, components: int, size: int) -> None:
        """Read as many components as needed of ``flame_texture`` or ``flame_albedo_from_bfm``.

        Raises:
            AssetFormatError: The file has fewer components.
        """
        super().__init__()
        names = sorted(name for name in content.shapes if name.startswith("component_"))
        if len(names) < components:
            raise AssetFormatError(f"{content.path} has {len(names)} texture components, {components} are asked for")
        side = content.shapes["mean"][0]
        rows = np.arange(size) * side // size  # torch's nearest: floor of the scaled index

        def planes(name: str) -> np.ndarray:
            return content.array(name)[np.ix_(rows, rows)].transpose(2, 0, 1).reshape(-1)

        self.size = size
        self.register_buffer("mean", torch.from_numpy(planes("mean")), persistent=False)
        modes = np.stack([planes(name) for name in names[:components]])
        self.register_buffer("modes", torch.from_numpy(modes), persistent=False)

    def forward(self, code: Float[Tensor, "B A"]) -> Float[Tensor, "B 3 T T"]:
        """The texture of each face."""
        return torch.addmm(self.mean, code, self.modes).reshape(len(code), 3, self.size, self.size)
