"""What the linear face models share: constants that move with the module, and codes of any length."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.errors import AssetFormatError
from emoca_core.formats import Content, Format, open_asset
from emoca_core.interfaces import Block, FaceModel, FaceParameters
from emoca_core.registry.assets import find_assets


class MorphableModel(FaceModel):
    """A face whose surface is a mean plus a basis times a code. Subclasses register constants and fill ``blocks``."""

    _like: ClassVar[str] = "mean"
    """A buffer that tells dtype and device."""
    _mask_names: tuple[str, ...] = ()

    @property
    def vertex_masks(self) -> Mapping[str, Bool[Tensor, "V"]]:
        """Named regions, where the assets have some."""
        return dict(zip(self._mask_names, self.get_buffer("_masks"), strict=True)) if self._mask_names else {}

    def _open_assets(self, wanted: Mapping[str, tuple[Path | None, Format]]) -> dict[str, Content]:
        """Assets by name, each given as (path of the user, format); remembers where they lie.

        Raises:
            MissingAssetError: Lists every one that is missing.
            AssetFormatError: One is not what it should be.
        """
        paths = find_assets({name: given for name, (given, _) in wanted.items()})
        self.asset_paths = {**self.asset_paths, **paths}
        return {name: open_asset(paths[name], kind) for name, (_, kind) in wanted.items()}

    def _constant(self, name: str, value: np.ndarray) -> None:
        """A buffer that moves with the module and is not part of checkpoints: float32, int64 or bool."""
        dtype = {"f": np.float32, "i": np.int64, "u": np.int64}.get(value.dtype.kind, value.dtype)
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, dtype)), persistent=False)

    def _register_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Regions as boolean arrays over the vertices."""
        self._mask_names = tuple(masks)
        if masks:
            self._constant("_masks", np.stack(list(masks.values())))

    def _block(self, parameters: FaceParameters, name: Block) -> Float[Tensor, "B D"]:
        """A block on the model's device and in its dtype, padded with zeros to its size.

        Raises:
            ValueError: It is longer than the model's.
        """
        size, like = self.blocks[name], self.get_buffer(self._like)
        value: Tensor | None = getattr(parameters, name)
        if value is None:
            return like.new_zeros(parameters.count, size)
        if value.shape[1] > size:
            raise ValueError(f"{name} has {size} numbers in this model, got {value.shape[1]}")
        value = value.to(like)
        return value if value.shape[1] == size else torch.nn.functional.pad(value, (0, size - value.shape[1]))


def planes(points: np.ndarray) -> np.ndarray:
    """[..., V, 3] to [..., 3V] with all x first, then y, then z: contiguous runs make skinning and bases fast."""
    return np.swapaxes(points, -1, -2).reshape(*points.shape[:-2], -1)


def from_planes(flat: Float[Tensor, "B _"]) -> Float[Tensor, "B V 3"]:
    """Back to points, without a copy."""
    return flat.reshape(flat.shape[0], 3, -1).mT


def first_columns(basis: np.ndarray, size: int, what: str, where: Path) -> np.ndarray:
    """The first components of a basis whose last axis counts them.

    Raises:
        AssetFormatError: The file has fewer.
    """
    if basis.shape[-1] < size:
        raise AssetFormatError(f"{where} has {basis.shape[-1]} {what} components, {size} are asked for")
    return basis[..., :size]


def check_indices(indices: np.ndarray, count: int, what: str, where: Path | Sequence[Path]) -> None:
    """Refuse tables that refer to vertices or triangles that the model does not have.

    Raises:
        AssetFormatError: Some index is out of range.
    """
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        raise AssetFormatError(f"{where}: {what} refers to number {int(indices.max())}, the model has {count}")
