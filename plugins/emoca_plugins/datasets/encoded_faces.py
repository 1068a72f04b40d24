"""Faces whose codes ``emoca encode`` has written: photos, landmarks, and the codes as what is known of them."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.datasets.encoded import Encoded
from emoca_core.errors import AssetFormatError
from emoca_core.images.crops import transform_points
from emoca_core.images.photos import read_photo
from emoca_core.images.warp import to_uint8, warp
from emoca_core.interfaces import FaceDataset, FaceModel, FaceParameters, FaceSample
from emoca_core.registry.spec import ImageSize, UsedComponent, uses
from emoca_plugins.datasets.kept_cuts import Cut, KeptCuts, kept_cuts


class EncodedFaces(FaceDataset):
    """The faces of one split of a folder of ``emoca encode``, cut as they were cut for the method that encoded them.

    Its codes count as known: a teacher for other encoders (``code_truth``, ``vertex_truth``), or the fit that
    ``refined_fit`` starts from. Rows without a face, and those of doubtful quality, are left out.

    Source: this project.
    """

    class Params(ComponentParams):
        folder: Path
        """What ``emoca encode`` wrote."""
        root: Path | None = None
        """Where the relative paths of its images start; by default the folder that it lies in."""
        split: str | None = None
        """Only the rows of this split; none takes all."""
        crop_size: ImageSize = Field(default=224, ge=16)
        """Side of the crops that the codes were made from, pixels."""
        image_size: ImageSize = Field(default=112, ge=16)
        """Side of the images, pixels."""
        keep: bool = False
        """Decode and cut every picture once, into a file of the cache folder: 3 x image_size^2 bytes a face."""
        face_model: UsedComponent = uses("face_model", "open_head")
        """Makes the geometry of the codes; that of the method."""

    params: Params

    def __init__(self, params: Params, face_model: FaceModel) -> None:
        super().__init__(params)
        self.face_model = face_model
        encoded = Encoded.open(self.params.folder)
        self.root = self.params.root or self.params.folder.parent
        table = encoded.table(["path", "split", "identity", "quality", "landmarks", "crop_to_image", "photo_size"])
        columns = {name: table[name].to_pylist() for name in ("path", "split", "identity", "quality")}
        wanted = self.params.split
        good = [quality == "good" for quality in columns["quality"]]
        inside = [wanted is None or split == wanted for split in columns["split"]]
        rows = np.flatnonzero(np.logical_and(good, inside))
        if not len(rows):
            raise AssetFormatError(f"{self.params.folder} has no good face of the split {wanted}")
        self.paths = [columns["path"][row] for row in rows]
        self.people = [columns["identity"][row] for row in rows]
        self.landmarks, self.places, self.sizes = (
            np.stack(table[name].take(rows).to_pylist()).reshape(len(rows), *shape)
            for name, shape in (("landmarks", (68, 2)), ("crop_to_image", (3, 3)), ("photo_size", (2,)))
        )
        self.codes = encoded.parameters().map(lambda tensor: tensor[torch.from_numpy(rows)])
        self.kept = self._kept() if self.params.keep else None

    def __len__(self) -> int:
        return len(self.paths)

    def identities(self) -> Int[Tensor, "N"] | None:
        known = {name: number for number, name in enumerate(dict.fromkeys(filter(None, self.people)))}
        return torch.tensor([known.get(name, -1) for name in self.people]) if known else None

    def __getitem__(self, index: int) -> FaceSample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[FaceSample]:
        """Several faces, whose meshes are made at once; ``DataLoader`` calls this."""
        code = self.code(indices)
        with torch.no_grad():
            geometry = self.face_model(code)
        cuts = [self.cut(index) if self.kept is None else self.kept[index] for index in indices]
        return [
            FaceSample(
                image=torch.from_numpy(np.array(cut.pixels)).permute(2, 0, 1) / 255,
                key=self.paths[index],
                identity=self.people[index],
                landmarks=self._landmarks(index, cut.to_crop),
                parameters=code.map(itemgetter(slice(row, row + 1))),
                geometry=geometry.map(itemgetter(slice(row, row + 1))),
            )
            for row, (index, cut) in enumerate(zip(indices, cuts, strict=True))
        ]

    def code(self, indices: Sequence[int]) -> FaceParameters:
        """The codes of some faces, in their crops."""
        return self.codes.map(lambda tensor: tensor[list(indices)])

    def cut(self, index: int) -> Cut:
        """The pixels of one face, and where they are from."""
        photo = read_photo(self.root / self.paths[index]).pixels
        place = self.places[index] @ self._resize
        pixels = to_uint8(warp(photo, place, self.params.image_size, antialias=True))
        return Cut(pixels, np.linalg.inv(place), photo.shape[:2])

    @cached_property
    def _resize(self) -> Float[ndarray, "3 3"]:
        """Pixels of the image to those of the crop; integer coordinates are pixel centres."""
        step = self.params.crop_size / self.params.image_size
        return np.array([[step, 0, step / 2 - 0.5], [0, step, step / 2 - 0.5], [0, 0, 1]])

    def _landmarks(self, index: int, to_crop: Float[ndarray, "3 3"]) -> Float[Tensor, "68 2"]:
        points = transform_points(to_crop, self.landmarks[index].astype(np.float64))
        return torch.from_numpy((2 * points + 1) / self.params.image_size - 1).float()

    def _kept(self) -> KeptCuts:
        cuts = map(self.cut, range(len(self)))
        return kept_cuts(cuts, len(self), self._description(), self.params.image_size)

    def _description(self) -> Iterator[object]:
        """What the cut pixels depend on."""
        yield str(self.root.resolve()), self.params.image_size, self.params.crop_size, self.paths
        yield self.places.tobytes()
