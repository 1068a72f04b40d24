"""A recipe, assembled: the parts of a method behind one object that turns face crops into captures."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import nn

from emoca_core import catalogue as catalogues
from emoca_core.catalogue import Catalogue, Recipe
from emoca_core.errors import EmocaError, MissingAssetError, RecipeError
from emoca_core.interfaces import (
    Capture,
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
    Renderer,
    Rendering,
)
from emoca_core.registry import Registry, get_registry
from emoca_core.rendering.detail import detail_maps, detail_normals, render_detail
from emoca_core.rendering.face import render_face
from emoca_core.rendering.masks import Composition, comparison_mask, compose, face_region, rendered_mask
from emoca_core.rendering.topology import require_uv
from emoca_core.rendering.uv_space import UvSpace
from emoca_core.spec import Kind

REGION_SIZE = 256
"""Side of the map of the face region where there is no detail model, texels."""
EMOTIONS = frozenset({"emotion_of_input", "emotion_of_rendering"})
EVERYTHING = EMOTIONS | {"detail_rendering", "displacement", "detail_maps"}
"""Fields of a capture that cost something and can be left out."""


class Method(nn.Module):
    """What a recipe describes: landmarker, encoder, face model, renderer, and what else it names.

    Attributes:
        name: Name of the recipe.
        recipe: The resolved recipe.
        landmarker: Finds faces; ``None`` for methods that start from crops.
        encoder: Crop to parameters.
        face_model: Parameters to geometry and albedo.
        renderer: Geometry to pixels.
        detail: Detail code and displacement, if the recipe has it.
        emotion_backbone: Reads emotion in the photo and in the rendering, if the recipe has it.
    """

    landmarker: Landmarker | None
    encoder: Encoder
    face_model: FaceModel
    renderer: Renderer
    detail: DetailModel | None
    emotion_backbone: EmotionBackbone | None

    def __init__(self, name: str, recipe: Recipe, parts: Mapping[Kind, Any]) -> None:
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
        for kind in catalogues.PARTS:
            setattr(self, kind, parts.get(kind))
        self.encoder.attach(self.face_model, self.renderer)  # some learn here what they predict
        _check_fit(name, self.encoder, self.face_model, self.detail)
        self._uv_spaces: dict[tuple[int, torch.device, torch.dtype], UvSpace] = {}
        self._regions: dict[tuple[torch.device, torch.dtype], Float[torch.Tensor, "1 1 T T"] | None] = {}

    @property
    def device(self) -> torch.device:
        """Where the tensors of the face model are."""
        return self.face_model.faces.device

    def encode(self, crop: FaceCrop) -> FaceParameters:
        """Estimate the code of every face of a batch, with its detail where the method has one."""
        parameters = cast(FaceParameters, self.encoder(crop))
        return self.detail(crop, parameters) if self.detail else parameters

    def render(
        self, geometry: FaceGeometry, parameters: FaceParameters, image_size: tuple[int, int]
    ) -> Rendering | None:
        """The coarse picture of size (height, width) with the estimated camera, albedo and light.

        ``None`` when the code has no camera.
        """
        if parameters.camera is None:
            return None
        albedo = self.face_model.albedo(parameters)
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
    ) -> Capture:
        """What a code looks like: the second half of ``forward``, and what training adds to it.

        Args:
            crop: The photos.
            parameters: Their codes.
            composition: How training compares picture and photo; fills ``mask``, ``picture`` and ``detail_maps``.
            fields: Which of the fields ``EVERYTHING`` are wanted; the others are always filled.
        """
        geometry = self.face_model(parameters)
        rendering = self.render(geometry, parameters, crop.size)
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

    def reconstruct(self, photos: str | Path | Iterable[str | Path], **options: Any) -> list[Any]:
        """Find, capture and return every face of some photos; options as in ``emoca_core.reconstruct``."""
        from emoca_core.reconstruct import reconstruct

        return reconstruct(self, photos, **options)

    def asset_paths(self) -> dict[str, Path]:
        """Files that the parts were built from, by asset name."""
        parts = [getattr(self, kind) for kind in catalogues.PARTS]
        return {name: path for part in parts if part is not None for name, path in part.asset_paths.items()}

    def _emotion(self, image: torch.Tensor) -> EmotionPrediction | None:
        return self.emotion_backbone(image) if self.emotion_backbone else None


def load_method(
    name: str,
    *,
    registry_file: str | Path | None = None,
    change: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Method:
    """Assemble a recipe by name, ready for inference.

    Args:
        name: A recipe of the catalogue (``emoca list`` prints them); or a trained method: a run folder of
            ``emoca train``, a folder of ``emoca package``, or its repository on the Hugging Face hub.
        registry_file: Your own registry.yaml, merged on top of the catalogue.
        change: Merged into the recipe, e.g. ``{"renderer": {"uses": "pytorch3d"}}``.
        device: ``"auto"`` takes CUDA where there is one, else the CPU; or a torch device name.

    Raises:
        UnknownNameError: No such recipe, component or preset.
        MissingAssetError: Files that you have to provide; the message lists all of them.
        AssetFormatError: A folder whose weights do not fit, or were trained on top of others than are here.
        RecipeError: Parts that cannot be built or do not fit together; the message lists all reasons.
    """
    from emoca_core.trained.folder import find_method

    registry = get_registry()
    catalogue = catalogues.get_catalogue(registry_file, registry)
    recipe, trained = find_method(name, catalogue, registry)
    if change:
        plain = recipe.model_dump(by_alias=True, exclude_none=True)
        recipe = Recipe.model_validate(catalogues.merge(plain, change))
    parts = build_parts(recipe, catalogue, registry)
    method = Method(trained.name if trained else name, recipe, parts)
    if trained:
        from emoca_core.trained.weights import load_trained

        load_trained(parts, trained)
    return method.eval().to(pick_device(device))


def build_parts(recipe: Recipe, catalogue: Catalogue, registry: Registry) -> dict[Kind, Any]:
    """Build every part of a recipe, and report everything that is missing or wrong at once.

    Raises:
        MissingAssetError: Only files are missing; all of them are listed.
        RecipeError: Something else is wrong; everything is listed.
    """
    parts: dict[Kind, Any] = {}
    errors: list[EmocaError] = []
    for kind, use in recipe.parts().items():
        try:
            parts[kind] = registry.build(kind, use.uses, catalogue.params(kind, use))
        except EmocaError as error:
            errors.append(error)
    if errors:
        raise _joined(errors)
    return parts


def pick_device(name: str) -> torch.device:
    """``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        EmocaError: Not a device, or not available on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise EmocaError(
            f"device '{name}' cannot be used: {str(error).splitlines()[0]}. Try 'cpu' or 'auto'."
        ) from None


def _joined(errors: list[EmocaError]) -> EmocaError:
    if len(errors) == 1:
        return errors[0]
    kind: Callable[[str], EmocaError] = (
        MissingAssetError if all(isinstance(e, MissingAssetError) for e in errors) else RecipeError
    )
    return kind("\n".join(str(error) for error in errors))


def _check_fit(name: str, encoder: Encoder, face_model: FaceModel, detail: DetailModel | None) -> None:
    """Refuse an encoder whose coefficients the face model does not have, before anything is computed."""
    needed = dict(encoder.blocks)
    for block in ("shape", "expression", "albedo"):
        size, available = needed.get(block, 0), face_model.blocks.get(block, 0)
        if size > available and (available or block != "albedo"):  # without an appearance, its code is ignored
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
