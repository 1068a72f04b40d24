"""The estimated vertices against the known ones of synthetic faces."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.errors import RecipeError, unknown_name
from emoca_core.interfaces import Capture, FaceModel, Loss, Parts
from emoca_plugins.losses.distances import safe_norm

MILLIMETRES = 1000.0
"""In a metre."""


class VertexTruth(Loss):
    """Weighted mean distance of corresponding vertices, in millimetres; of posed meshes, without any alignment.

    Source: this project, for supervised training on synthetic faces; the distance is SMIRK's and MICA's vertex error.
    """

    class Params(ComponentParams):
        metric: Literal["l1", "l2"] = "l1"
        """``l1``: mean distance, mm. ``l2``: mean squared distance, square mm."""
        regions: dict[str, float] = Field(default={})
        """Weight of the vertices in named regions of the method's face model; of several regions the largest counts,
        and elsewhere it is 1."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"geometry", "truth"})
    weights: Tensor | None

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.register_buffer("weights", None, persistent=False)

    def attach(self, parts: Parts) -> None:
        """Look up the regions.

        Raises:
            UnknownNameError: The face model has no such region.
        """
        if self.params.regions:
            self.weights = self._region_weights(parts.face_model)

    def _region_weights(self, face_model: FaceModel) -> Float[Tensor, "V"]:
        masks = face_model.vertex_masks
        weights: list[Tensor] = []
        for region, weight in self.params.regions.items():
            if region not in masks:
                raise unknown_name(f"region of {type(face_model).__name__}", region, masks)
            weights.append(torch.where(masks[region], weight, float("-inf")))
        largest = torch.stack(weights).amax(0)
        return torch.where(largest.isfinite(), largest, 1.0)

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        geometry = self.need(capture.geometry, "a geometry")
        known = self.need(capture.truth, "faces whose geometry is known, such as synthetic ones")
        if self.params.regions and self.weights is None:
            raise RecipeError("vertex_truth knows no regions before attach(parts)")
        estimate, truth = geometry.vertices, known.geometry.vertices.detach()
        if estimate.shape != truth.shape:
            raise ValueError(
                f"{estimate.shape[1]} estimated vertices cannot be compared with {truth.shape[1]} true ones: "
                "the data were made with another face model"
            )
        difference = MILLIMETRES * (estimate - truth)
        error = safe_norm(difference) if self.params.metric == "l1" else difference.square().sum(-1)
        if self.weights is None:
            return error.mean()
        return (error * self.weights).sum() / (len(error) * self.weights.sum())
