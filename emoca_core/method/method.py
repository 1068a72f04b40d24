"""A recipe, assembled: the parts of a method behind one object that turns face crops into captures."""

import copy
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import nn

from emoca_core.errors import RecipeError
from emoca_core.interfaces import (
    BLOCKS,
    Albedo,
    Capture,
    Component,
    DetailMaps,
    DetailModel,
    EmotionBackbone,
    EmotionPrediction,
    Encoder,
    FaceCrop,
    FaceGeometry,
    FaceModel,
    FaceParameters,
    Landmarker,
    Parts,
    Renderer,
    Rendering,
    Tracker,
)
from emoca_core.registry.catalogue import Recipe
from emoca_core.registry.kinds import part_kinds
from emoca_core.registry.spec import Kind
from emoca_core.rendering.detail import detail_maps, detail_normals, render_detail
from emoca_core.rendering.face import render_face
from emoca_core.rendering.masks import Composition, comparison_mask, compose, face_region, rendered_mask
from emoca_core.rendering.topology import require_uv
from emoca_core.rendering.uv_space import UvSpace

REGION_SIZE = 256
"""Side of the map of the face region where there is no detail model, texels."""
EMOTIONS = frozenset({"emotion_of_input", "emotion_of_rendering"})
PICTURES = frozenset({"rendering", "mask", "picture"})
EVERYTHING = EMOTIONS | PICTURES | {"detail_rendering", "displacement", "detail_maps"}
"""Fields of a capture that cost something and can be left out."""


class Method(nn.Module):
    """What a recipe describes: landmarker, encoder, face model, renderer, and what else it names.

    Attributes:
        name: Name of the recipe.
        recipe: The resolved recipe.
        landmarker: Finds faces; ``None`` for methods that start from crops.
        tracker: Tells faces of successive frames apart; ``None`` for methods that know photos alone.
        encoder: Crop to parameters.
        face_model: Parameters to geometry and albedo.
        renderer: Geometry to pixels.
        detail: Detail code and displacement, if the recipe has it.
        emotion_backbone: Reads emotion in the photo and in the rendering, if the recipe has it.
    """

    landmarker: Landmarker | None
    tracker: Tracker | None
    encoder: Encoder
    face_model: FaceModel
    renderer: Renderer
    detail: DetailModel | None
    emotion_backbone: EmotionBackbone | None

    def __init__(self, name: str, recipe: Recipe, parts: Mapping[Kind, Component]) -> None:
        """Fit the parts together.

        Args:
            name: Name of the recipe.
            recipe: What to record with every result.
            parts: One component for each part that the recipe has.

        Raises:
            RecipeError: Parts that do not fit together.
        """
        super().__init__()
        self.name, self.recipe = name, recipe
        for kind, part in {**dict.fromkeys(part_kinds()), **parts}.items():
            setattr(self, kind, part)
        handed = Parts.of(parts)
        for part in parts.values():
            if callable(attach := getattr(part, "attach", None)):
                attach(handed)  # some learn here what they predict
        _check_fit(name, self.encoder, self.face_model, self.detail)
        self._uv_spaces: dict[tuple[int, torch.device, torch.dtype], UvSpace] = {}
        self._regions: dict[tuple[torch.device, torch.dtype], Float[torch.Tensor, "1 1 T T"] | None] = {}

    @property
    def device(self) -> torch.device:
        """Where the tensors of the face model are."""
        return self.face_model.faces.device

    def parts(self) -> dict[Kind, Component]:
        """The components that are present, by kind."""
        kinds = dict.fromkeys([*part_kinds(), *self.recipe.parts()])
        return {kind: part for kind in kinds if (part := getattr(self, kind, None)) is not None}

    def looking_through(self, backbone: EmotionBackbone) -> "Method":
        """The same parts with another emotion backbone, which the recipe does not name."""
        other = copy.copy(self)  # assembling again would make parts forget what they have computed
        other._modules = {**self._modules}
        other.recipe = self.recipe.model_copy(update={"emotion_backbone": None})
        other.emotion_backbone = backbone.to(self.device)
        return other

    def encode(self, crop: FaceCrop) -> FaceParameters:
        """Estimate the code of every face of a batch, with its detail where the method has one."""
        parameters: FaceParameters = self.encoder(crop)
        return self.detail(crop, parameters) if self.detail else parameters

    def encode_person(self, crop: FaceCrop, others: FaceCrop | None = None) -> FaceParameters:
        """What stays the same of one person, from some of their best crops; a batch of one, with its detail.

        Args:
            crop: Some of the best frames.
            others: Black crops of more frames, where the encoder has ``person_landmarks``.
        """
        person = self.encoder.encode_person(crop) if others is None else self.encoder.encode_person(crop, others)
        if self.detail is None:
            return person
        detail = self.detail(crop, self.encoder.encode_frames(crop, person)).detail
        return person.replace(detail=detail.median(dim=0, keepdim=True).values)

    def encode_frames(self, crop: FaceCrop, person: FaceParameters) -> FaceParameters:
        """The code of one person in some frames of a clip; the detail is the person's."""
        code = self.encoder.encode_frames(crop, person)
        return code if person.detail is None else code.replace(detail=person.detail.expand(len(crop), -1))

    def render(
        self,
        geometry: FaceGeometry,
        parameters: FaceParameters,
        image_size: tuple[int, int],
        albedo: Albedo | None = None,
    ) -> Rendering | None:
        """The coarse picture of size (height, width) with the estimated camera and light, and the code's own albedo.

        ``None`` when the code has no camera. Whoever renders one albedo often hands it over, which saves its making.
        """
        if parameters.camera is None:
            return None
        albedo = self.face_model.albedo(parameters) if albedo is None else albedo
        return render_face(
            self.renderer, self.face_model, geometry, parameters.camera, albedo, parameters.lighting, image_size
        )

    def uv_space(self, detail: DetailModel) -> UvSpace:
        """The face model unrolled into a square of the size of the detail model's map; made once for each device."""
        return self._uv_space(detail.map_size)

    def _uv_space(self, size: int) -> UvSpace:
        uv, _ = require_uv(self.face_model)
        key = size, uv.device, uv.dtype
        if key not in self._uv_spaces:
            with torch.inference_mode(False):  # tensors of inference could not be part of a later training
                self._uv_spaces[key] = UvSpace.of(self.renderer, self.face_model, size)
        return self._uv_spaces[key]

    def face_region(self) -> Float[torch.Tensor, "1 1 T T"] | None:
        """The face with its eyes in UV space: the detail model's mask, else the face model's region "face".

        ``None`` where neither is known, which means everywhere.
        """
        if self.detail is not None and self.detail.mask is not None:
            return self.detail.mask
        if self.face_model.uv is None:
            return None
        key = self.face_model.uv.device, self.face_model.uv.dtype
        if key not in self._regions:
            size = self.detail.map_size if self.detail else REGION_SIZE
            with torch.inference_mode(False), torch.no_grad():
                self._regions[key] = face_region(self._uv_space(size), self.face_model.vertex_masks)
        return self._regions[key]

    def render_detail(
        self,
        coarse: Rendering | None,
        geometry: FaceGeometry,
        parameters: FaceParameters,
        displacement: Float[torch.Tensor, "B 1 T T"] | None,
    ) -> Rendering | None:
        """The coarse picture with wrinkles; ``None`` without a picture, a displacement or light."""
        if self.detail is None or coarse is None or displacement is None or parameters.lighting is None:
            return None
        model, uv_space = self.detail, self.uv_space(self.detail)
        normals = detail_normals(
            uv_space, geometry.vertices, displacement, model.mask, model.fixed_displacement, model.blend_normals
        )
        with torch.no_grad():  # the detail stage never reaches the albedo
            albedo = self.face_model.albedo(parameters)
        return render_detail(uv_space, coarse, normals, albedo, parameters.lighting)

    def forward(self, crop: FaceCrop) -> Capture:
        """Everything the method knows of a batch of crops: code, geometry, pictures, displacement, emotion."""
        return self.decode(crop, self.encode(crop))

    def decode(
        self,
        crop: FaceCrop,
        parameters: FaceParameters,
        composition: Composition | None = None,
        fields: Collection[str] = EVERYTHING,
        albedo: Albedo | None = None,
    ) -> Capture:
        """What a code looks like: the second half of ``forward``, and what training adds to it.

        Args:
            crop: The photos.
            parameters: Their codes.
            composition: How training compares picture and photo; fills ``mask``, ``picture`` and ``detail_maps``.
            fields: Which of the fields ``EVERYTHING`` are wanted; the others are always filled.
            albedo: Of these codes, where it is known already.
        """
        geometry = self.face_model(parameters)
        drawn = PICTURES | {"emotion_of_rendering", "detail_rendering", "detail_maps"}
        rendering = None if drawn.isdisjoint(fields) else self.render(geometry, parameters, crop.size, albedo)
        mask = picture = None
        if composition and rendering:
            mask = comparison_mask(composition.mask, rendered_mask(rendering, self.face_region()), crop.mask)
            picture = compose(composition.background, rendering.image, mask, crop.image)
        displacement, maps, detail_rendering = None, None, None
        if self.detail and not {"displacement", "detail_rendering", "detail_maps"}.isdisjoint(fields):
            displacement = self.detail.decode(parameters)
        if "detail_rendering" in fields:
            detail_rendering = self.render_detail(rendering, geometry, parameters, displacement)
        if composition and displacement is not None and "detail_maps" in fields:
            maps = self.detail_maps(crop, geometry, parameters, displacement)
        seen = picture if picture is not None else rendering.image if rendering else None
        with torch.no_grad():
            emotion_of_input = self._emotion(crop.image) if "emotion_of_input" in fields else None
        return Capture(
            crop=crop,
            parameters=parameters,
            geometry=geometry,
            rendering=rendering,
            detail_rendering=detail_rendering,
            displacement=displacement,
            detail_maps=maps,
            mask=mask,
            picture=picture,
            emotion_of_input=emotion_of_input,
            emotion_of_rendering=self._emotion(seen) if seen is not None and "emotion_of_rendering" in fields else None,
            partial_landmarks=self.face_model.partial_landmarks,
        )

    def detail_maps(
        self,
        crop: FaceCrop,
        geometry: FaceGeometry,
        parameters: FaceParameters,
        displacement: Float[torch.Tensor, "B 1 T T"],
    ) -> DetailMaps | None:
        """The detailed surface in UV space beside the photo; ``None`` without a camera or light."""
        if self.detail is None or parameters.camera is None or parameters.lighting is None:
            return None
        model, uv_space = self.detail, self.uv_space(self.detail)
        normals = detail_normals(
            uv_space, geometry.vertices, displacement, model.mask, model.fixed_displacement, model.blend_normals
        )
        with torch.no_grad():  # the detail stage never reaches albedo and camera
            albedo = self.face_model.albedo(parameters)
            projected = parameters.camera.project(geometry.vertices)
        return detail_maps(uv_space, crop, projected, normals, albedo, parameters.lighting, self.face_region())

    def asset_paths(self) -> dict[str, Path]:
        """Files that the parts were built from, by asset name."""
        return {name: path for part in self.parts().values() for name, path in part.asset_paths.items()}

    def _emotion(self, image: torch.Tensor) -> EmotionPrediction | None:
        return self.emotion_backbone(image) if self.emotion_backbone else None


def _check_fit(name: str, encoder: Encoder, face_model: FaceModel, detail: DetailModel | None) -> None:
    """Refuse an encoder whose coefficients the face model does not have, before anything is computed."""
    needed = dict(encoder.blocks)
    own = [block for block in needed if block not in BLOCKS]
    for block in ("shape", "expression", "albedo", *own):
        size, available = needed.get(block, 0), face_model.blocks.get(block, 0)
        if size > available and (available or block in ("shape", "expression")):  # what a model has not, it ignores
            raise RecipeError(
                f"recipe '{name}': {type(encoder).__name__} predicts {size} {block} coefficients, but "
                f"{type(face_model).__name__} has {available}. Change the encoder's or the face model's parameters."
            )
    if detail is not None and face_model.uv is None:
        raise RecipeError(
            f"recipe '{name}': {type(detail).__name__} displaces the mesh in UV space, but {type(face_model).__name__} "
            "has no texture coordinates. Switch them on in the face model's parameters, or leave out the detail."
        )
    for block, size in detail.conditions.items() if detail else ():
        if needed.get(block, 0) < size:
            raise RecipeError(
                f"recipe '{name}': {type(detail).__name__} needs {size} {block} coefficients, but "
                f"{type(encoder).__name__} predicts {needed.get(block, 0)}."
            )
