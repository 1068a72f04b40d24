"""The energy of rendered faces: one for each, of any terms of the registry."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Albedo, Camera, Capture, EmotionBackbone, EmotionPrediction, FaceCrop, FaceParameters
from emoca_core.method import Method, Objective
from emoca_core.method.method import EVERYTHING, PICTURES
from emoca_core.optimisation.settings import OptimisationSettings
from emoca_core.rendering.masks import Composition, compose

T = TypeVar("T")


@dataclass(frozen=True)
class Energy:
    """What terms say of codes, each rendered and compared with one photo.

    Attributes:
        method: Whose emotion backbone is the judge.
        objective: The terms.
        photo: The target: a batch of one, of the size at which faces are rendered.
        seen_in_photo: What the judge sees in it.
        settings: Background and wrinkles.
    """

    method: Method
    objective: Objective
    photo: FaceCrop
    seen_in_photo: EmotionPrediction
    settings: OptimisationSettings

    @classmethod
    def of(
        cls,
        method: Method,
        judge: EmotionBackbone,
        terms: Mapping[str, object],
        crop: FaceCrop,
        settings: OptimisationSettings,
    ) -> "Energy":
        """Terms of the registry, as ``losses`` of a recipe, with a judge of its own.

        Args:
            method: Decodes and renders.
            judge: In place of the method's own emotion backbone.
            terms: By name.
            crop: The target: a batch of one.
            settings: Size, background and wrinkles.

        Raises:
            RecipeError: The method makes no picture, or a term cannot be computed.
        """
        method = method.looking_through(judge)
        if "camera" not in method.encoder.blocks:
            raise RecipeError(
                f"recipe '{method.name}' estimates no camera, so that there is no picture to judge: choose another one"
            )
        if settings.detail and method.detail is None:
            raise RecipeError(f"recipe '{method.name}' has no wrinkles: leave out detail")
        objective = Objective.of(method, terms, "detail" if settings.detail else "coarse")
        photo = resized(crop.map(lambda tensor: tensor.to(method.device)), settings.size)
        with torch.no_grad():
            seen = judge(photo.image)
        return cls(method, objective, photo, seen, settings)

    def captures(self, code: FaceParameters, albedo: Albedo | None = None) -> Capture:
        """What the terms look at, of a batch of codes."""
        read = self.objective.required(self.objective.losses) & EVERYTHING
        fields = (read | PICTURES) - {"emotion_of_input"}  # which the judge sees, whatever the terms read
        crop = self.photo.map(lambda tensor: tensor.expand(len(code), *tensor.shape[1:]))
        composition = Composition(background=self.settings.background)
        if not self.settings.detail:
            capture: Capture = self.method.decode(crop, code, composition, fields, albedo)
        else:
            wanted = (fields | {"detail_rendering"}) - {"emotion_of_rendering"}
            capture = self._with_wrinkles(self.method.decode(crop, code, composition, wanted, albedo))
        return replace(capture, emotion_of_input=_each(self.seen_in_photo, lambda t: t.expand(len(code), *t.shape[1:])))

    def _with_wrinkles(self, capture: Capture) -> Capture:
        """The capture whose picture has them."""
        assert capture.detail_rendering is not None and capture.mask is not None and self.method.emotion_backbone
        image = capture.detail_rendering.image
        picture = compose(self.settings.background, image, capture.mask, capture.crop.image)
        return replace(capture, picture=picture, emotion_of_rendering=self.method.emotion_backbone(picture))

    def terms(self, capture: Capture) -> dict[str, Float[Tensor, "B"]]:
        """Every term, unweighted, of each face alone: some losses would mix the faces of a batch."""
        rows = [capture] if len(capture.parameters) == 1 else [_row(capture, i) for i in range(len(capture.parameters))]
        return {name: torch.stack([loss(row) for row in rows]) for name, loss in self.objective.losses.items()}

    def total(self, terms: Mapping[str, Float[Tensor, "B"]]) -> Float[Tensor, "B"]:
        """The weighted sum of the terms that drive."""
        return torch.stack([weight * terms[name] for name, weight in self.objective.weights.items()]).sum(0)


def resized(crop: FaceCrop, side: int) -> FaceCrop:
    """A crop whose picture has another size; landmarks and camera do not depend on it."""
    image = F.interpolate(crop.image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    mask = None if crop.mask is None else F.interpolate(crop.mask, size=(side, side), mode="area")
    return replace(crop, image=image.clamp(0, 1), mask=mask)


def _row(capture: Capture, row: int) -> Capture:
    """One face of a batch."""
    one = _each(replace(capture, partial_landmarks=None), lambda tensor: tensor[row : row + 1])
    return replace(one, partial_landmarks=capture.partial_landmarks)  # which are the same for all


def _each(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """Dataclasses and mappings, however deep, with every tensor replaced by ``change(tensor)``."""
    changed: object = value
    if isinstance(value, Tensor):
        changed = change(value)
    elif isinstance(value, Camera):
        changed = value.map(change)
    elif isinstance(value, Mapping):
        changed = {key: _each(item, change) for key, item in value.items()}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = replace(value, **{f.name: _each(getattr(value, f.name), change) for f in dataclasses.fields(value)})
    return changed  # type: ignore[return-value]
