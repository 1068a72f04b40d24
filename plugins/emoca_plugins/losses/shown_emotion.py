"""The bare face shows the emotion of the photo, whoever's skin and whatever light it has."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Capture, EmotionBackbone, EmotionPrediction, Parts
from emoca_core.registry.spec import ImageSize, UsedComponent, uses
from emoca_plugins.losses.emotion_consistency import EmotionConsistency
from emoca_plugins.losses.shown_face import Variety, show_faces


class ShownEmotion(EmotionConsistency):
    """``emotion_consistency`` for faces that are drawn anew, in other pose, skin, light and sharpness each time.

    What pleases a judge in one picture alone is not worth much: it may be a trick of a texture. The photo's side has no
    gradient, and only the geometry has one on the side of the face.

    Source: this project; the comparison is that of EMOCA (Danecek et al., CVPR 2022).
    """

    class Params(EmotionConsistency.Params):
        compared: ClassVar[tuple[str, ...]] = (*EmotionConsistency.Params.compared, "classes")
        backbone: UsedComponent = uses("emotion_backbone", "open_emotion")
        """Who judges."""
        classes: float = Field(default=0.0, ge=0)
        """Weight of the Kullback-Leibler divergence of the classes seen in the face from those seen in the photo."""
        temperature: float = Field(default=1.0, gt=0)
        """What the photo's class scores are divided by; below 1 the most likely class counts for more, so that a
        neutral face with a doubt is to look neutral."""
        image_size: ImageSize = Field(default=96, ge=16)
        """Side of the pictures, pixels."""
        varied: bool = True
        """Draw pose, skin, light, sharpness and background; else grey faces are seen from the front."""
        turn_degrees: float = Field(default=12.0, ge=0, le=60)
        """Standard deviation of the head's turn; pitch has half of it, roll a third."""
        skin: float = Field(default=0.5, ge=0, le=1)
        """Share of faces with a skin; the others are grey."""
        detail: float = Field(default=0.4, gt=0, le=1)
        """Smallest sharpness, of 1."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset({"geometry"})

    def __init__(self, params: Params, backbone: EmotionBackbone) -> None:
        super().__init__(params)
        self.backbone = backbone.requires_grad_(False)
        self.asset_paths = {**self.backbone.asset_paths}
        self._parts: tuple[Parts, ...] = ()  # a tuple hides them from nn.Module

    def attach(self, parts: Parts) -> None:
        self._parts = (parts,)

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        with torch.no_grad():
            wanted: EmotionPrediction = self.backbone(capture.crop.image)
        seen: EmotionPrediction = self.backbone(self.shown(capture))
        return self.compare(seen, wanted)

    def _terms(self, seen: EmotionPrediction, wanted: EmotionPrediction) -> list[Float[Tensor, ""]]:
        classes = self.params.classes
        return super()._terms(seen, wanted) + ([classes * self._divergence(seen, wanted)] if classes else [])

    def shown(self, capture: Capture) -> Float[Tensor, "B 3 S S"]:
        """What the judge is shown.

        Raises:
            RecipeError: Before ``attach``.
        """
        if not self._parts:
            raise RecipeError("shown_emotion draws with the renderer of a method: call attach(parts) first")
        p, parts = self.params, self._parts[0]
        variety = Variety(math.radians(p.turn_degrees), p.skin, p.detail) if p.varied else None
        geometry = self.need(capture.geometry, "a geometry")
        head = capture.parameters.global_pose
        return show_faces(parts.face_model, parts.renderer, geometry, head, p.image_size, variety)

    def _divergence(self, seen: EmotionPrediction, wanted: EmotionPrediction) -> Float[Tensor, ""]:
        lacking = "a backbone that tells classes: set their weight to 0"
        logits, of_photo = (self.need(one.logits, lacking) for one in (seen, wanted))
        known = (of_photo.detach() / self.params.temperature).log_softmax(1)
        return F.kl_div(logits.log_softmax(1), known, reduction="batchmean", log_target=True)
