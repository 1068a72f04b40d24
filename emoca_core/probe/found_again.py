"""What a face shows, as somebody sees it who knows nothing of the code: the face is drawn, found and fitted anew."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from emoca_core.files import sha256_of
from emoca_core.images.crops import crops_to_batch
from emoca_core.images.warp import to_uint8
from emoca_core.interfaces import Detection, FaceCrop, FaceParameters, Landmarker, Renderer
from emoca_core.probe.codes import RecipeSource, code_hash
from emoca_core.probe.shown import ShownSource
from emoca_core.rendering import portrait
from emoca_core.rendering.portrait import render_portraits

FOUND_AGAIN = "(found again)"
"""Marks the names."""
SIDE = 224
"""Of the portraits, pixels."""


@dataclass(frozen=True)
class FoundAgainSource(ShownSource):
    """The code that another method finds in portraits of a method's faces: front, average skin, one light.

    Who it is does not count: ``shape`` is left out of what the finder's probe reads. A face that is not found in its
    portrait has no code.

    Attributes:
        renderer: Draws the faces.
        finder: Fits the portraits.
        landmarker: The finder's.
    """

    renderer: Renderer
    finder: RecipeSource
    landmarker: Landmarker
    mark: ClassVar[str] = FOUND_AGAIN

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(block for block in self.finder.blocks if block != "shape")

    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        return self.found_in(self.portraits(self.of.parameters(crop)))

    def portraits(self, parameters: FaceParameters) -> list[UInt8[ndarray, "S S 3"]]:
        """Pictures of the faces of a method."""
        pictures = render_portraits(self.face_model, self.renderer, parameters, SIDE)
        return [to_uint8(picture * 255) for picture in pictures.permute(0, 2, 3, 1).cpu().numpy()]

    def found_in(self, pictures: Sequence[UInt8[ndarray, "S S 3"]]) -> Float[Tensor, "B D"]:
        """What the finder's code says of each picture; NaN where it finds no face."""
        faces = [next(iter(self.landmarker.detect(picture)), None) for picture in pictures]
        seen = [(at, face) for at, face in enumerate(faces) if face is not None]
        width = sum(self.finder.encoder.blocks[block] for block in self.inputs)
        codes = torch.full((len(faces), width), torch.nan)
        if seen:
            codes[[at for at, _ in seen]] = self._fitted([pictures[at] for at, _ in seen], [face for _, face in seen])
        return codes

    def _fitted(self, pictures: Sequence[UInt8[ndarray, "S S 3"]], faces: Sequence[Detection]) -> Float[Tensor, "N D"]:
        cropped = [self.finder.rule(picture, face) for picture, face in zip(pictures, faces, strict=True)]
        batch = crops_to_batch(cropped, faces, [picture.shape[:2] for picture in pictures])
        keys = tuple(str(number) for number in range(len(faces)))
        code = self.finder.parameters(dataclasses.replace(batch, keys=keys))
        return code.select(self.inputs).float().cpu()

    def description(self) -> dict[str, object]:
        assets = {name: sha256_of(path) for name, path in self.face_model.asset_paths.items() if path.is_file()}
        drawn = {"side": SIDE, "code": [sha256_of(__file__), sha256_of(portrait.__file__)]}
        parts = {"face_model": self.face_model, "renderer": self.renderer, "landmarker": self.landmarker}
        return {
            "of": self.of.description(),
            "parts": {kind: [part.params.model_dump(mode="json"), code_hash(part)] for kind, part in parts.items()},
            "finder": self.finder.description(),
            "assets": assets,
            "portraits": drawn,
        }
