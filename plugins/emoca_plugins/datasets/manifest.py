"""Faces listed in a manifest."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from PIL import Image
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.datasets import Manifest, ManifestRow
from emoca_core.datasets.masks import read_mask, resize_mask, warp_mask
from emoca_core.datasets.rows import known_face
from emoca_core.errors import AssetFormatError
from emoca_core.images.crops import SHARED_CROP, transform_points
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import BASIC_EXPRESSIONS, FaceDataset, FaceSample
from emoca_core.registry.spec import ImageSize
from emoca_plugins.datasets.kept_cuts import Cut, KeptCuts, kept_cuts


class ManifestFaces(FaceDataset):
    """The rows of one split of a manifest, as face images of one size with their labels.

    An image that cannot be read is an error that names it; ``emoca data check`` finds all of them beforehand.
    Where some row of the manifest has a segmentation, rows without one count as skin everywhere.

    Source: this project; the crop is EMOCA's (gdl/datasets/ImageDatasetHelpers.py), see docs/conventions.md.
    """

    class Params(ComponentParams):
        file: Path
        """The manifest, .parquet or .csv."""
        split: str | None = None
        """Only the rows of this split; none takes all."""
        root: Path | None = None
        """Where relative image paths start; by default the manifest's folder."""
        labels: tuple[str, ...] = BASIC_EXPRESSIONS
        """Names of the expression classes; rows of other classes keep their valence and arousal."""
        crop: Literal["whole", "shared"] = "whole"
        """``whole``: images are face crops already, and are resized. ``shared``: cut by the shared rule around the
        row's landmarks, or its box."""
        image_size: ImageSize = Field(default=224, ge=16)
        """Side of the images, pixels."""
        keep: bool = False
        """Decode and cut every picture once, into a file of the cache folder that is mapped into memory: 3 x
        image_size^2 bytes a face. Another picture, manifest, crop or size makes another file."""

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.manifest = Manifest.open(self.params.file, self.params.root)
        everything = np.arange(len(self.manifest))
        self.rows = everything if self.params.split is None else self.manifest.rows_of(self.params.split)
        self.masked = self.manifest.table["mask"].null_count < len(self.manifest)
        self.expressions = self.manifest.classes(self.params.labels)[self.rows]
        self.kept = self._kept() if self.params.keep else None

    def __len__(self) -> int:
        return len(self.rows)

    def identities(self) -> Int[Tensor, "N"] | None:
        """By the column ``identity``; faces of one ``clip`` are one person where that column is empty."""
        numbers = self.manifest.people()[self.rows]
        return torch.from_numpy(numbers) if (numbers >= 0).any() else None

    def _row(self, index: int) -> ManifestRow:
        return self.manifest[int(self.rows[index])]

    def cut(self, index: int) -> Cut:
        """The pixels of one face, and where they are from."""
        row, size = self._row(index), self.params.image_size
        photo = read_photo(self.manifest.image_path(row)).pixels
        if self.params.crop == "whole":
            pixels = np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR))
            to_crop = np.diag([size / photo.shape[1], size / photo.shape[0], 1.0])
            to_crop[:2, 2] = to_crop.diagonal()[:2] / 2 - 0.5  # integer coordinates are pixel centres
            return Cut(pixels, to_crop, photo.shape[:2])
        rule = replace(SHARED_CROP, size=size, box="bbox" if row.landmarks is None else "kpt68")
        detection = known_face(row, self.manifest.image_path(row), photo.shape[:2])
        if detection is None:
            raise AssetFormatError(
                f"{row.path} has neither landmarks nor a box to crop by: preprocess it, or crop: whole"
            )
        face = rule(photo, detection)
        return Cut(face.image, face.image_to_crop, photo.shape[:2])

    def _kept(self) -> KeptCuts:
        cuts = map(self.cut, range(len(self)))
        return kept_cuts(cuts, len(self), self._description(), self.params.image_size)

    def _description(self) -> Iterator[object]:
        """What the cut pixels depend on."""
        yield str(self.manifest.folder.resolve()), self.params.crop, self.params.image_size
        for index in range(len(self)):
            row = self._row(index)
            yield row.path, row.landmarks, row.box
            with suppress(OSError):  # cutting it says what is wrong
                status = self.manifest.image_path(row).stat()
                yield status.st_size, status.st_mtime_ns

    def __getitem__(self, index: int) -> FaceSample:
        row, size = self._row(index), self.params.image_size
        cut = self.cut(index) if self.kept is None else self.kept[index]
        pixels, to_crop = cut.pixels, cut.to_crop
        landmarks, mask = None, self._mask(row, cut.photo_size, to_crop) if self.masked else None
        if row.landmarks is not None:
            points = transform_points(to_crop, np.asarray(row.landmarks, np.float64).reshape(68, 2))
            landmarks = torch.from_numpy((2 * points + 1) / size - 1).float()
        known = int(self.expressions[index])
        return FaceSample(
            image=torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 255,
            key=row.path,
            expression=known if known >= 0 else None,
            valence=_finite(row.valence),
            arousal=_finite(row.arousal),
            identity=row.identity,
            clip=row.clip,
            landmarks=landmarks,
            mask=mask,
        )

    def _mask(
        self, row: ManifestRow, photo_size: tuple[int, int], to_crop: Float[ndarray, "3 3"]
    ) -> Float[Tensor, "1 S S"]:
        size, path = self.params.image_size, self.manifest.mask_path(row)
        if path is None:
            return torch.ones(1, size, size)
        mask = read_mask(path, photo_size)
        whole = self.params.crop == "whole"
        skin = resize_mask(mask, size) if whole else warp_mask(mask, np.linalg.inv(to_crop), (size, size))
        return torch.from_numpy(skin)[None].float()


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
