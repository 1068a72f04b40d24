"""Names on the command line to what can be probed: recipes, emotion backbones, and backbones trained here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from emoca_core.datasets.encoded import CARD, Encoded
from emoca_core.errors import ComponentImportError, MissingAssetError, RecipeError, unknown_name
from emoca_core.images.crops import CropPolicy
from emoca_core.interfaces import Component, EmotionBackbone, Encoder, FaceModel, Landmarker, Parts, Renderer
from emoca_core.method.assembly import build_part, takes_parts
from emoca_core.probe.codes import BackboneSource, CodeSource, EncodedSource, RecipeSource
from emoca_core.probe.found_again import FoundAgainSource
from emoca_core.probe.visible import VisibleSource
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, Recipe, backbones_by_name, get_catalogue
from emoca_core.registry.spec import Kind
from emoca_core.runs.cards import EmotionCard
from emoca_core.runs.loading import load_trained, trained_backbone
from emoca_core.runs.trained_folder import TrainedFolder, find_method, find_trained


@dataclass(frozen=True)
class Unavailable:
    """A method that was asked for and cannot run here."""

    name: str
    reason: str


def find_sources(
    names: Sequence[str],
    crop: CropPolicy = "shared",
    device: torch.device | None = None,
    visible: bool = False,
    finder: str | None = None,
) -> tuple[list[CodeSource], list[Unavailable]]:
    """What the names mean, and those that lack a file or a package.

    Args:
        names: Recipes, emotion backbones, presets of them, run folders of ``emoca train``, packages, or folders of
            ``emoca encode``.
        crop: How faces are cut for methods that have a rule of their own.
        device: Where encoders run; the CPU by default.
        visible: After each method what its face model shows of the code, too.
        finder: Recipe that finds a code again in portraits of each method's faces, one more row after it.

    Raises:
        UnknownNameError: A name that means nothing; the message lists what exists.
        RecipeError: A recipe that does not say what its probe reads, or lacks it.
    """
    registry, catalogue, device = get_registry(), get_catalogue(), device or torch.device("cpu")
    found: list[CodeSource] = []
    unavailable = []
    shows: dict[str, Callable[[RecipeSource, Catalogue, Registry], CodeSource]] = {}
    if visible:
        shows["visible"] = _displaced
    if finder is not None:
        fitting = cache(partial(_named, finder, catalogue, registry, "native", device))
        shows["found again"] = partial(_found_again, fitting)
    for name in names:
        try:
            source = _source(name, catalogue, registry, crop, device)
        except (MissingAssetError, ComponentImportError) as error:
            unavailable.append(Unavailable(name, _reason(error)))
            continue
        found.append(source)
        if not isinstance(source, RecipeSource):
            continue
        for mark, show in shows.items():
            try:
                found.append(show(source, catalogue, registry))
            except (MissingAssetError, ComponentImportError, RecipeError) as error:
                unavailable.append(Unavailable(f"{name} ({mark})", _reason(error)))
    return found, unavailable


def _displaced(source: RecipeSource, catalogue: Catalogue, registry: Registry) -> VisibleSource:
    """What a method's face shows, by where the vertices are."""
    face_model = _part_of(source, "face_model", catalogue, registry)
    assert isinstance(face_model, FaceModel)  # as the registry has made sure
    return VisibleSource(source, face_model)


def _found_again(
    fitting: Callable[[], RecipeSource], source: RecipeSource, catalogue: Catalogue, registry: Registry
) -> FoundAgainSource:
    """The same, by what another recipe finds in portraits."""
    finder = fitting()
    face_model, renderer = (_part_of(source, kind, catalogue, registry) for kind in ("face_model", "renderer"))
    landmarker = _part_of(finder, "landmarker", catalogue, registry)
    assert isinstance(face_model, FaceModel) and isinstance(renderer, Renderer) and isinstance(landmarker, Landmarker)
    return FoundAgainSource(source, face_model, renderer, finder, landmarker)


def _named(name: str, catalogue: Catalogue, registry: Registry, crop: CropPolicy, device: torch.device) -> RecipeSource:
    return recipe_source(name, *find_method(name, catalogue, registry), catalogue, registry, crop, device)


def _part_of(source: RecipeSource, kind: Kind, catalogue: Catalogue, registry: Registry) -> Component:
    """A part that the codes of a method may do without."""
    part = source.parts.get(kind)
    if part is None:
        if kind not in source.recipe.parts():
            raise RecipeError(f"recipe '{source.name}' has no {kind}")
        part = build_part(kind, source.recipe, catalogue, registry, source.parts)
    return part.eval().to(source.device) if isinstance(part, nn.Module) else part


def _source(name: str, catalogue: Catalogue, registry: Registry, crop: CropPolicy, device: torch.device) -> CodeSource:
    if name in catalogue.recipes:
        return _named(name, catalogue, registry, crop, device)
    backbones = backbones_by_name(catalogue, registry)
    if name in backbones:
        use = backbones[name]
        backbone = registry.build("emotion_backbone", use.uses, catalogue.params("emotion_backbone", use))
        return _backbone_source(name, use.uses, backbone, device)
    if (Path(name) / CARD).is_file():
        return EncodedSource(Path(name).name, Encoded.open(name))
    trained = find_trained(name)
    if trained is None:
        raise unknown_name("recipe, emotion backbone or run folder", name, {*catalogue.recipes, *backbones})
    if isinstance(trained.card, EmotionCard):
        uses = trained.card.emotion_backbone.uses
        return _backbone_source(trained.name, uses, trained_backbone(trained, registry), device)
    return recipe_source(trained.name, trained.recipe(registry), trained, catalogue, registry, crop, device)


def recipe_source(
    name: str,
    recipe: Recipe,
    trained: TrainedFolder | None,
    catalogue: Catalogue,
    registry: Registry,
    crop: CropPolicy,
    device: torch.device,
) -> RecipeSource:
    """A method as it enters the probe: no more parts than its code needs.

    The face model and the renderer, whose files are licensed more often than the encoder's, are built only where the
    encoder inverts them.

    Raises:
        RecipeError: The recipe does not say which blocks its probe reads, or its parts do not predict them.
        MissingAssetError: A part that is needed lacks a file.
    """
    if not recipe.probe:
        raise RecipeError(f"recipe '{name}' has no 'probe': list the blocks to read, e.g. [shape, expression]")
    parts: dict[Kind, Component] = {}

    def build(kind: Kind) -> Component:
        part = build_part(kind, recipe, catalogue, registry, parts)
        if isinstance(part, nn.Module):
            part.eval().to(device)
        parts[kind] = part
        return part

    if takes_parts("encoder", recipe, registry):
        build("face_model"), build("renderer")
    encoder = build("encoder")
    assert isinstance(encoder, Encoder)  # as the registry has made sure
    if "detail" in recipe.probe and "detail" in recipe.parts():
        build("detail")
    if _not_predicted(recipe, encoder, parts):
        build("face_model"), build("renderer")
        encoder.attach(Parts.of(parts))
    if missing := _not_predicted(recipe, encoder, parts):
        raise RecipeError(
            f"recipe '{name}': its probe reads {', '.join(missing)}, but its encoder predicts "
            f"{', '.join(encoder.blocks)}"
        )
    if trained is not None:
        load_trained(parts, trained)
    for part in parts.values():
        if isinstance(part, nn.Module):
            part.eval().to(device)  # once more: networks may have been made when the encoder met its face model
    return RecipeSource(name, recipe, encoder, parts, recipe.probe, device, crop)


def _backbone_source(name: str, uses: str, backbone: EmotionBackbone, device: torch.device) -> BackboneSource:
    card = {"uses": uses, "params": backbone.params.model_dump(mode="json")}
    return BackboneSource(name, backbone.eval().to(device), card)


def _reason(error: Exception) -> str:
    """The message on one line, without the folders of this machine: results are published."""
    lines = (line.strip() for line in str(error).splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("searched"))


def _not_predicted(recipe: Recipe, encoder: Encoder, parts: Mapping[Kind, Component]) -> list[str]:
    predicted = {*encoder.blocks, *(["detail"] if "detail" in parts else [])}
    return [block for block in recipe.probe if block not in predicted]
