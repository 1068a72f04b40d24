"""What the lists of VGGFace2 and VoxCeleb2 have in common: photos, landmark files and segmentations of the same names.

Landmarks are plain NumPy files [68, 2] in pixels of the photo, in folders that end in ``_annotated_torch7``; nothing in
them needs Torch. Segmentations are NumPy files [H, W] in which more than 0.5 is skin; a photo may be without one.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy import ndarray

from emoca_core.datasets.arrays import read_array
from emoca_core.datasets.importers import ImportOptions, Tally
from emoca_core.datasets.importers.values import points
from emoca_core.datasets.manifest import ManifestRow
from emoca_core.errors import AssetFormatError
from emoca_core.images.photo_search import walk_files

_PHOTO_SUFFIXES = (".jpg", ".png", ".jpeg")
_MASK_SUFFIXES = (".npy", ".png")


@dataclass(frozen=True)
class Annotated:
    """The three folders of a set.

    Attributes:
        root: The data set's folder, from which paths are given.
        photos: Photos.
        landmarks: Their landmarks.
        masks: Their segmentations, or ``None``.
    """

    root: Path
    photos: Path
    landmarks: Path
    masks: Path | None

    def row(self, known: ManifestRow, tally: Tally) -> ManifestRow | None:
        """A row with the files that belong to its path; ``None``, and counted, where a part is missing.

        Raises:
            AssetFormatError: Landmarks of the wrong form; the message names the file.
        """
        name = known.path
        photo = _found(self.photos, name, _PHOTO_SUFFIXES)
        if photo is None:
            tally.dropped["listed photo is missing"] += 1
            return None
        landmarks = _found(self.landmarks, name, (".npy",))
        if landmarks is None:
            tally.dropped["photo without landmarks"] += 1
            return None
        mask = _found(self.masks, name, _MASK_SUFFIXES) if self.masks else None
        if mask is None:
            tally.unknown["photo without a segmentation"] += 1
        return replace(
            known,
            path=_named(photo, self.root),
            landmarks=points(read_array(landmarks, AssetFormatError).reshape(-1), str(landmarks)),
            mask=_named(mask, self.root) if mask else None,
        )

    def names(self, tally: Tally) -> list[str]:
        """Of all landmark files, for sets without a list."""
        files = walk_files(self.landmarks, tally.pass_over)
        inner = (path.relative_to(self.landmarks) for path in files if path.suffix == ".npy")
        return sorted(path.with_suffix("").as_posix() for path in inner)


def annotated(root: Path, photos: str, landmarks: str, masks: tuple[str, ...], options: ImportOptions) -> Annotated:
    """The folders of a set.

    Raises:
        AssetFormatError: One is missing.
    """
    for part, what in ((photos, "photos"), (landmarks, "landmarks")):
        if not (root / part).is_dir():
            raise AssetFormatError(f"{root} lacks the folder {part} with the {what}")
    if options.masks is not None and not options.masks.is_dir():
        raise AssetFormatError(f"{options.masks} is not a folder; --masks names the folder of the segmentations")
    found = options.masks or next((root / name for name in masks if (root / name).is_dir()), None)
    return Annotated(root, root / photos, root / landmarks, found)


def read_list(file: Path, dimensions: int) -> ndarray:
    """A published list: a NumPy file of text.

    Raises:
        AssetFormatError: Not text, or of another shape.
    """
    names = read_array(file, AssetFormatError)
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8")
    if names.dtype.kind != "U" or names.ndim != dimensions:
        shape = " x ".join(map(str, names.shape)) or "one value"
        raise AssetFormatError(f"{file} is no list of this layout: it holds {names.dtype} of shape {shape}")
    return names


def _found(folder: Path, name: str, suffixes: tuple[str, ...]) -> Path | None:
    return next((path for suffix in suffixes if os.path.isfile(path := folder / f"{name}{suffix}")), None)


def _named(path: Path, root: Path) -> str:
    """From the root where it is inside, else in full."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else os.path.abspath(path)
