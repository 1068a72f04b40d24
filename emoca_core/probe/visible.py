"""What a face code shows: the same probe, on where the posed vertices are instead of on the numbers of the code.

A code can carry an emotion that no face shows: whatever a network hides in it, the probe finds. What is visible is what
the face model makes of the code, so the probe sees how far regions of the face have moved from rest, in millimetres,
under a noise that hides what nobody could see.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.files import sha256_of
from emoca_core.interfaces import FaceCrop, FaceParameters
from emoca_core.probe.codes import code_hash
from emoca_core.probe.shown import ShownSource

VISIBLE = "displacements"
"""Its ``inputs``."""
REACH = 0.03
"""Metres from a landmark to the farthest vertex of its region."""
NOISE_MM = 0.5
"""Standard deviation of what is added to every number; a pixel of a 224 px crop is about 1 mm wide."""
_MM = 1000.0


@dataclass(frozen=True)
class VisibleSource(ShownSource):
    """Mean displacements of the regions around the 68 landmarks, head pose removed."""

    mark: ClassVar[str] = "(visible)"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (VISIBLE,)

    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        return self.displacements(self.of.parameters(crop)).flatten(1).float().cpu()

    def displacements(self, parameters: FaceParameters) -> Float[Tensor, "B R 3"]:
        """How far each region is from where it is in the same person at rest, millimetres, in the axes of the head."""
        shown = self.face_model(parameters.replace(global_pose=None, neck_pose=None)).vertices
        rest = self.face_model(FaceParameters(shape=_shape(parameters))).vertices
        return _MM * torch.einsum("rv,bvc->brc", self.regions, shown - rest)

    @cached_property
    def regions(self) -> Float[Tensor, "R V"]:
        """Weights that average the vertices whose nearest landmark it is; landmarks without any are left out."""
        device = self.face_model.faces.device
        mean = self.face_model(FaceParameters(shape=torch.zeros(1, 1, device=device)))
        distance, nearest = torch.cdist(mean.vertices[0], mean.landmarks["ibug68"][0]).min(1)
        own = torch.nn.functional.one_hot(nearest, mean.landmarks["ibug68"].shape[1]) * (distance < REACH)[:, None]
        own = own[:, own.any(0)].to(distance.dtype)
        return (own / own.sum(0)).T.contiguous()

    def as_seen(self, codes: Float[ndarray, "N D"]) -> Float[ndarray, "N D"]:
        """With noise, the same in every run."""
        noise = np.random.default_rng(0).normal(0, NOISE_MM, codes.shape)
        return (codes + noise).astype(np.float32)

    def description(self) -> dict[str, object]:
        assets = {name: sha256_of(path) for name, path in self.face_model.asset_paths.items() if path.is_file()}
        model = {"params": self.face_model.params.model_dump(mode="json"), "code": code_hash(self.face_model)}
        regions = {"reach": REACH, "code": sha256_of(__file__)}
        return {"of": self.of.description(), "face_model": model, "assets": assets, "regions": regions}


def _shape(parameters: FaceParameters) -> Tensor:
    """Who it is; nobody in particular, where the code does not say."""
    if parameters.shape is not None:
        return parameters.shape
    some = next(iter(parameters.blocks().values()))
    return some.new_zeros(len(some), 1)
