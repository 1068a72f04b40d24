"""Codes that ``emoca encode`` has written, in the place of the method that made them."""

from collections.abc import Mapping
from pathlib import Path

from emoca_core.datasets.encoded import Encoded
from emoca_core.errors import EmocaError
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceParameters
from emoca_core.registry.spec import ComponentParams
from emoca_plugins.encoders.point_crops import UprightCrop


class EncodedCodes(Encoder):
    """Looks the code of every face up by the path of its image, so that a training computes no fit twice.

    The camera is that of the crop which the codes were made from: give it the crops of the data set ``encoded_faces``.

    Source: this project.
    """

    class Params(ComponentParams):
        folder: Path
        """What ``emoca encode`` wrote."""

    params: Params
    needs = frozenset({"keys"})
    crop_rule = UprightCrop()

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        encoded = Encoded.open(self.params.folder)
        table = encoded.table(["path", "status"]).to_pydict()
        rows = enumerate(zip(table["path"], table["status"], strict=True))
        self._rows = {path: row for row, (path, status) in rows if status == "ok"}
        self._codes = encoded.parameters()
        self.blocks: Mapping[Block, int] = {name: block.shape[1] for name, block in self._codes.blocks().items()}

    def forward(self, crop: FaceCrop) -> FaceParameters:
        """Look up the code of every face.

        Raises:
            EmocaError: The crops do not say which images they are from, or one has no code.
        """
        keys = crop.keys or ()
        if unknown := [key for key in keys if key not in self._rows]:
            raise EmocaError(f"{self.params.folder} has no code of {unknown[0]}: leave it out, or encode its manifest")
        if len(keys) != len(crop):
            raise EmocaError("encoded_codes needs to know the image of each face: use the data set encoded_faces")
        rows = [self._rows[key] for key in keys]
        return self._codes.map(lambda tensor: tensor[rows].to(crop.image.device))
