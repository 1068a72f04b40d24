"""Faces of a data set as batches for the reconstruction losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emoca_core.interfaces import FaceCrop, FaceGeometry, FaceParameters, FaceSample, FaceTruth


@dataclass(frozen=True)
class FaceBatch:
    """Crops, and what is known of them.

    Attributes:
        crop: The photos with landmarks, mask and identity.
        truth: Code and geometry of synthetic faces.
    """

    crop: FaceCrop
    truth: FaceTruth | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "FaceBatch":
        """The same batch with every tensor replaced by ``change(tensor)``."""
        return FaceBatch(self.crop.map(change), self.truth.map(change) if self.truth else None)


def collate_face_batch(samples: Sequence[FaceSample]) -> FaceBatch:
    """Samples of one size as a batch; an optional field survives if every sample has it."""
    landmarks = [s.landmarks for s in samples if s.landmarks is not None]
    masks = [s.mask for s in samples if s.mask is not None]
    people = [s.identity for s in samples]
    numbers = {person: number for number, person in enumerate(dict.fromkeys(people))}
    crop = FaceCrop(
        image=torch.stack([sample.image for sample in samples]),
        landmarks={"ibug68": torch.stack(landmarks)} if len(landmarks) == len(samples) else {},
        mask=torch.stack(masks) if len(masks) == len(samples) else None,
        identity=None if None in people else torch.tensor([numbers[person] for person in people]),
        keys=tuple(sample.key for sample in samples),
    )
    codes = [s.parameters for s in samples if s.parameters is not None]
    meshes = [s.geometry for s in samples if s.geometry is not None]
    known = len(codes) == len(meshes) == len(samples)
    return FaceBatch(crop, FaceTruth(FaceParameters.cat(codes), _cat_meshes(meshes)) if known else None)


def _cat_meshes(meshes: Sequence[FaceGeometry]) -> FaceGeometry:
    names = meshes[0].landmarks
    return FaceGeometry(
        torch.cat([mesh.vertices for mesh in meshes]),
        {name: torch.cat([mesh.landmarks[name] for mesh in meshes]) for name in names},
    )
