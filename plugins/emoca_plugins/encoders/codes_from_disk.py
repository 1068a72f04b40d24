"""Codes that another program has already computed, in the layout of EMOCA's prediction folders."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core.errors import AssetFormatError, EmocaError, MissingAssetError
from emoca_core.interfaces import Block, FaceCrop, FaceParameters, Unit
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.encoders.box_crops import EmocaCrop
from emoca_plugins.encoders.pose_from_landmarks import PosedByLandmarks


class CodesFromDisk(PosedByLandmarks):
    """Reads ``<folder>/<method>/<photo>/<block>.npy`` instead of running a network.

    ``<photo>`` is the photo's path below ``photos``, with or without its extension. The result does not depend on the
    pixels. Head pose and camera are solved from the 68 landmarks when the method has a face model.

    Source: EMOCA's data modules, ``predictions/MGCNet/<rel>/{shape_coeffs,exp_coeffs}.npy`` and
    ``predictions/ExpNet/<rel>/{shape,exp}.npy``.
    """

    class Params(ComponentParams):
        folder: Path = Path("predictions")
        """The folder ``predictions``; by default the one where the command runs."""
        method: str = "MGCNet"
        """Sub-folder of the method."""
        files: dict[Block, str] = Field(default={"shape": "shape_coeffs.npy", "expression": "exp_coeffs.npy"})
        """Block -> file name."""
        sizes: dict[Block, int] = Field(default={"shape": 80, "expression": 64})
        """Block -> number of coefficients."""
        units: dict[str, Unit] = Field(default={})
        """Block -> unit, where it is not the usual one."""
        photos: Path | None = None
        """Folder that the photos' paths are relative to; by default paths are taken as they are."""

    params: Params
    crop_rule = EmocaCrop()
    needs = frozenset({"keys", "landmarks"})

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        p = self.params
        self.blocks: Mapping[Block, int] = {block: p.sizes[block] for block in p.files}
        self.root = p.folder / p.method
        if not self.root.is_dir():
            raise MissingAssetError(
                f"there is no folder {self.root} with the predictions of '{p.method}': name the folder above it "
                "(--set encoder.folder=DIR), or run where it lies"
            )

    def forward(self, crop: FaceCrop) -> FaceParameters:
        """Look up the code of every face.

        Raises:
            EmocaError: The crops do not say which photos they are from.
            MissingAssetError: A photo without a code.
            AssetFormatError: A file that does not hold the expected vector.
        """
        if crop.keys is None or len(crop.keys) != len(crop):
            raise EmocaError("codes_from_disk needs to know the photo of each face: set FaceCrop.keys to their paths")
        read = {block: [self.read(key, block) for key in crop.keys] for block in self.params.files}
        blocks = {block: torch.stack(codes).to(crop.image.device) for block, codes in read.items()}
        parameters = FaceParameters(units=dict(self.params.units)).replace(**blocks)
        return self.posed(parameters, crop)

    def read(self, key: str, block: Block) -> Float[Tensor, "D"]:
        """One block of one photo.

        Raises:
            MissingAssetError: There is no such file.
            AssetFormatError: It does not hold the expected number of finite values.
        """
        path = self._path(key, self.params.files[block])
        try:
            code = np.load(path, allow_pickle=False).astype(np.float32).ravel()
        except (ValueError, OSError, EOFError) as error:
            raise AssetFormatError(f"{path} is not a plain npy file: {error}") from None
        if code.size != self.params.sizes[block] or not np.isfinite(code).all():
            raise AssetFormatError(f"{path} holds {code.size} values, expected {self.params.sizes[block]} finite ones")
        return torch.from_numpy(code)

    def _path(self, key: str, file: str) -> Path:
        photo = Path(key)
        if self.params.photos is not None and photo.is_relative_to(self.params.photos):
            photo = photo.relative_to(self.params.photos)
        relative = photo.relative_to(photo.anchor)
        tried = [self.root / relative / file, self.root / relative.with_suffix("") / file]
        for path in tried:
            if path.is_file():
                return path
        raise MissingAssetError(f"no code for '{key}': neither {tried[0]} nor {tried[1]} exists")
