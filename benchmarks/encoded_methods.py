"""Faces that ``emoca encode`` has encoded, as ``benchmarks/face_measures.py`` takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from emoca_core.datasets import Manifest
from emoca_core.datasets.encoded import Encoded
from emoca_core.images.photos import read_photo
from emoca_core.images.warp import to_uint8, transform_points, warp
from emoca_core.interfaces import FaceCrop, FaceParameters
from emoca_core.progress import progress_bar

CROP = 224
"""Side of the crops of landmark_fit and of mediapipe_blendshapes."""


@dataclass(frozen=True)
class Faces:
    """Faces of a manifest with their codes.

    Attributes:
        manifest: Labels and images.
        rows: Of the manifest.
        code: Of each.
        points: Detected landmarks in the crop's NDC.
        places: ``crop_to_image`` of each.
    """

    manifest: Manifest
    rows: ndarray
    code: FaceParameters
    points: Tensor
    places: ndarray

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> "Faces":
        """Of a folder of ``emoca encode``: all rows with a face that the manifest has as well, by path."""
        encoded = Encoded.open(folder)
        known = {path: row for row, path in enumerate(manifest.texts("path"))}
        table = encoded.table(["path", "status", "landmarks", "crop_to_image"])
        paths, status = table["path"].to_pylist(), table["status"].to_pylist()
        found = [i for i, path in enumerate(paths) if status[i] == "ok" and path in known]
        landmarks = np.stack(table["landmarks"].take(found).to_pylist()).reshape(-1, 68, 2).astype(float)
        places = np.stack(table["crop_to_image"].take(found).to_pylist()).reshape(-1, 3, 3)
        inside = np.stack([transform_points(np.linalg.inv(m), p) for m, p in zip(places, landmarks, strict=True)])
        code = encoded.parameters().map(lambda tensor: tensor[found])
        points = torch.from_numpy((2 * inside + 1) / CROP - 1).float()
        return cls(manifest, np.array([known[paths[i]] for i in found]), code, points, places)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: ndarray) -> "Faces":
        index = torch.from_numpy(which)
        code = self.code.map(lambda tensor: tensor[index])
        return replace(self, rows=self.rows[which], code=code, points=self.points[index], places=self.places[which])

    def with_code(self, code: FaceParameters) -> "Faces":
        """The same faces as another method sees them."""
        return replace(self, code=code)

    def texts(self, column: str) -> list[str | None]:
        """A column of the manifest."""
        every = self.manifest.texts(column)
        return [every[row] for row in self.rows]

    @cached_property
    def vectors(self) -> ndarray:
        """Expression, jaw and gaze; no shape. A method without a jaw joint says jawOpen instead."""
        parts = [self.code.expression, self.code.jaw_pose, self.code.eye_pose]
        return torch.cat([part for part in parts if part is not None], dim=1).numpy()

    def crops(self, rows: Sequence[int]) -> Tensor:
        """What the encoder saw of some of them, [B, 3, 224, 224] in [0, 1]."""
        pictures = []
        for row in rows:
            photo = read_photo(self.manifest.image_path(self.manifest[int(self.rows[row])])).pixels
            pictures.append(to_uint8(warp(photo, self.places[row], CROP, antialias=True)))
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255


def common(faces: Sequence[Faces]) -> list[Faces]:
    """Only the rows that all of them have, in the same order."""
    rows = sorted(set.intersection(*(set(one.rows.tolist()) for one in faces)))
    places = [{row: at for at, row in enumerate(one.rows.tolist())} for one in faces]
    return [one[np.array([at[row] for row in rows])] for one, at in zip(faces, places, strict=True)]


@torch.no_grad()
def refined(faces: Faces, encoder: torch.nn.Module) -> Faces:
    """Faces of ``open_fit_codes`` as ``refined_fit`` encodes them: the same detections and fits, the photos anew."""
    codes = []
    for start in progress_bar(range(0, len(faces), 64), label="refining", unit="batch"):
        rows = range(start, min(start + 64, len(faces)))
        code = faces.code.map(lambda tensor, rows=rows: tensor[rows.start : rows.stop])
        codes.append(encoder.refined(code, faces.crops(rows)))
    return faces.with_code(FaceParameters.cat(codes))


@torch.no_grad()
def regressed_by(encoder: torch.nn.Module, faces: Faces) -> Faces:
    """Faces as an encoder of points and pictures sees them: the same detections and crops."""
    codes = []
    for start in progress_bar(range(0, len(faces), 64), label="encoding", unit="batch"):
        rows = range(start, min(start + 64, len(faces)))
        codes.append(encoder(FaceCrop(faces.crops(rows), {"ibug68": faces.points[rows.start : rows.stop]})))
    return faces.with_code(FaceParameters.cat(codes))
