"""Faces whose codes ``emoca encode`` has written: photos, landmarks, and the codes as what is known of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
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
from emoca_core.vocabulary.landmark_sets import IBUG68_MIRROR
from emoca_plugins.datasets.kept_cuts import Cut, KeptCuts, kept_cuts
from emoca_plugins.datasets.mirrored_codes import MirroredCodes

MIRRORED = "#mirrored"
"""End of the keys of mirror images, and of the names of their people."""


class EncodedFaces(FaceDataset):
    """The faces of one split of folders of ``emoca encode``, cut as they were cut for the method that encoded them.

    Its codes count as known: a teacher for other encoders (``code_truth``, ``vertex_truth``), or the fit that
    ``refined_fit`` starts from. Rows without a face, and those of doubtful quality, are left out.

    Source: this project.
    """

    class Params(ComponentParams):
        folder: Path | tuple[Path, ...]
        """What ``emoca encode`` wrote; several folders, ``[one, another]``, are joined."""
        root: Path | None = None
        """Where the relative paths of its images start; by default the folder that it lies in."""
        split: str | None = None
        """Only the rows of this split; none takes all."""
        mirrored: bool = False
        """Every face a second time, in a mirror, as another person's: its shape is another one. For face models that
        know the partner of each vertex."""
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
        folder = self.params.folder
        folders = [folder] if isinstance(folder, Path) else list(folder)
        parts = [_Rows.open(one, self.params.root, self.params.split) for one in folders]
        self.paths = [path for part in parts for path in part.paths]
        if not self.paths:
            names = ", ".join(map(str, folders))
            raise AssetFormatError(f"{names or 'no folder'} has no good face of the split {self.params.split}")
        self.files = [part.root / path for part in parts for path in part.paths]
        self.people = [person for part in parts for person in part.people]
        self.landmarks, self.places = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("landmarks", "places")
        )
        codes = [part.codes for part in parts if part.paths]
        if any(_sizes(one) != _sizes(codes[0]) for one in codes):
            raise AssetFormatError(f"the codes of {', '.join(map(str, folders))} have other blocks than each other")
        self.codes = FaceParameters.cat(codes)
        if self.params.mirrored:
            self.codes = MirroredCodes.of(face_model).beside(self.codes)
        self.kept = self._kept() if self.params.keep else None

    def __len__(self) -> int:
        return len(self.paths) * (2 if self.params.mirrored else 1)

    def identities(self) -> Int[Tensor, "N"] | None:
        known = {name: number for number, name in enumerate(dict.fromkeys(filter(None, self.people)))}
        if not known:
            return None
        numbers = torch.tensor([-1 if name is None else known.get(name, -1) for name in self.people])
        others = torch.where(numbers < 0, numbers, numbers + len(known))
        return torch.cat([numbers, others]) if self.params.mirrored else numbers

    def __getitem__(self, index: int) -> FaceSample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[FaceSample]:
        """Several faces, whose meshes are made at once; ``DataLoader`` calls this."""
        code = self.code(indices)
        with torch.no_grad():
            geometry = self.face_model(code)
        faces = zip(indices, map(self._pixels_and_points, indices), strict=True)
        return [
            FaceSample(
                image=torch.from_numpy(pixels).permute(2, 0, 1) / 255,
                key=self.paths[index % len(self.paths)] + (MIRRORED if index >= len(self.paths) else ""),
                identity=self._person(index),
                landmarks=points,
                parameters=code.map(itemgetter(slice(row, row + 1))),
                geometry=geometry.map(itemgetter(slice(row, row + 1))),
            )
            for row, (index, (pixels, points)) in enumerate(faces)
        ]

    def _person(self, index: int) -> str | None:
        name = self.people[index % len(self.paths)]
        return name + MIRRORED if name and index >= len(self.paths) else name

    def code(self, indices: Sequence[int]) -> FaceParameters:
        """The codes of some faces, in their crops."""
        return self.codes.map(lambda tensor: tensor[list(indices)])

    def cut(self, index: int) -> Cut:
        """The pixels of one face, and where they are from."""
        photo = read_photo(self.files[index]).pixels
        place = self.places[index] @ self._resize
        pixels = to_uint8(warp(photo, place, self.params.image_size, antialias=True))
        return Cut(pixels, np.linalg.inv(place), photo.shape[:2])

    @cached_property
    def _resize(self) -> Float[ndarray, "3 3"]:
        """Pixels of the image to those of the crop; integer coordinates are pixel centres."""
        step = self.params.crop_size / self.params.image_size
        return np.array([[step, 0, step / 2 - 0.5], [0, step, step / 2 - 0.5], [0, 0, 1]])

    def _pixels_and_points(self, index: int) -> tuple[UInt8[ndarray, "S S 3"], Float[Tensor, "68 2"]]:
        """Of a face or, behind all of them, of its mirror image."""
        row, mirrored = index % len(self.paths), index >= len(self.paths)
        cut = self.cut(row) if self.kept is None else self.kept[row]
        points = transform_points(cut.to_crop, self.landmarks[row].astype(np.float64))
        places = torch.from_numpy((2 * points + 1) / self.params.image_size - 1).float()
        if not mirrored:
            return np.array(cut.pixels), places
        turned = places[torch.from_numpy(IBUG68_MIRROR)] * places.new_tensor([-1.0, 1.0])
        return np.array(cut.pixels[:, ::-1]), turned

    def _kept(self) -> KeptCuts:
        count = len(self.paths)
        return kept_cuts(map(self.cut, range(count)), count, self._description(), self.params.image_size)

    def _description(self) -> Iterator[object]:
        """What the cut pixels depend on."""
        yield [str(file.resolve()) for file in self.files], self.params.image_size, self.params.crop_size
        yield self.places.tobytes()


def _sizes(code: FaceParameters) -> dict[str, int]:
    return {name: block.shape[1] for name, block in code.blocks().items()}


@dataclass(frozen=True)
class _Rows:
    """The good faces of one folder and split."""

    root: Path
    paths: list[str]
    people: list[str | None]
    landmarks: Float[ndarray, "N 68 2"]
    places: Float[ndarray, "N 3 3"]
    codes: FaceParameters

    @classmethod
    def open(cls, folder: Path, root: Path | None, wanted: str | None) -> "_Rows":
        encoded = Encoded.open(folder)
        table = encoded.table(["path", "split", "identity", "quality", "landmarks", "crop_to_image"])
        columns = {name: table[name].to_pylist() for name in ("path", "split", "identity", "quality")}
        good = [quality == "good" for quality in columns["quality"]]
        inside = [wanted is None or split == wanted for split in columns["split"]]
        rows = np.flatnonzero(np.logical_and(good, inside))
        landmarks, places = (
            np.array(table[name].take(rows).to_pylist()).reshape(len(rows), *shape)
            for name, shape in (("landmarks", (68, 2)), ("crop_to_image", (3, 3)))
        )
        paths, people = ([columns[name][row] for row in rows] for name in ("path", "identity"))
        codes = encoded.parameters().map(lambda tensor: tensor[torch.from_numpy(rows)])
        return cls(root or folder.parent, paths, people, landmarks, places, codes)
