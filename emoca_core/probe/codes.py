"""The code of every face, computed once for each method and kept by content: probes train on the cache."""

import dataclasses
import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.datasets import Manifest
from emoca_core.datasets.encoded import Encoded
from emoca_core.files import sha256_of
from emoca_core.images.crops import SHARED_CROP, CropPolicy, choose_crop, crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import (
    Component,
    CropRule,
    DetailModel,
    EmotionBackbone,
    EmotionPrediction,
    Encoder,
    FaceCrop,
    FaceParameters,
)
from emoca_core.probe.detections import Detections, cache_folder, manifest_hash
from emoca_core.probe.processes import PART, Part, fill_parts, parts_of, read_part
from emoca_core.registry.catalogue import Recipe
from emoca_core.registry.spec import Kind
from emoca_core.weights.write_tensors import write_tensors


class CodeSource(ABC):
    """Whatever turns face crops into one vector each.

    Attributes:
        name: As shown in tables.
        crop: Name of the crop policy, recorded with the result.
    """

    name: str
    crop: CropPolicy

    @property
    @abstractmethod
    def rule(self) -> CropRule:
        """How faces are cut for it."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Names of what the vector is made of, in order: blocks of a face code, or a feature."""

    @abstractmethod
    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        """The code of every face of a batch, on the CPU."""

    def encode_rows(self, manifest: Manifest, detections: Detections, rows: Sequence[int]) -> Float[Tensor, "B D"]:
        """The codes of some rows with a face."""
        return self.encode(_crops(self.rule, manifest, detections, rows))

    def as_seen(self, codes: Float[ndarray, "N D"]) -> Float[ndarray, "N D"]:
        """The codes as the probe gets them; they are kept without what is added here."""
        return codes

    @abstractmethod
    def description(self) -> dict[str, object]:
        """Everything that the codes depend on besides the images."""


@dataclass(frozen=True)
class RecipeSource(CodeSource):
    """Blocks of a method's face code.

    Attributes:
        recipe: Which parts go together.
        encoder: Predicts the code.
        parts: The encoder and whatever else of the recipe the code needs.
        blocks: What the probe reads, in this order.
        device: Where the parts are.
    """

    name: str
    recipe: Recipe
    encoder: Encoder
    parts: Mapping[Kind, Component]
    blocks: tuple[str, ...]
    device: torch.device
    crop: CropPolicy = "shared"

    @property
    def rule(self) -> CropRule:
        """The method's own rule, or the shared one."""
        return choose_crop(self.crop, self.encoder.crop_rule)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.blocks

    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        return self.parameters(crop).select(self.blocks).float().cpu()

    def parameters(self, crop: FaceCrop) -> FaceParameters:
        """The whole code."""
        crop = crop.map(lambda tensor: tensor.to(self.device))
        parameters: FaceParameters = self.encoder(crop)
        if isinstance(detail := self.parts.get("detail"), DetailModel):
            parameters = detail(crop, parameters)
        return parameters

    def description(self) -> dict[str, object]:
        assets = {name: path for part in self.parts.values() for name, path in part.asset_paths.items()}
        return {
            "parts": {kind: part.params.model_dump(mode="json") for kind, part in self.parts.items()},
            "code": {kind: code_hash(part) for kind, part in self.parts.items()},
            "assets": {name: sha256_of(path) for name, path in assets.items() if path.is_file()},
            "blocks": list(self.blocks),
            "crop": self.crop,
        }


@dataclass(frozen=True)
class BackboneSource(CodeSource):
    """The default feature of an emotion backbone: an image network in the same table."""

    name: str
    backbone: EmotionBackbone
    card: Mapping[str, object]
    crop: CropPolicy = "shared"

    @property
    def rule(self) -> CropRule:
        """The shared rule: backbones have none of their own."""
        return SHARED_CROP

    @property
    def inputs(self) -> tuple[str, ...]:
        return (next(iter(self.backbone.feature_dims)),)

    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        device = next(self.backbone.parameters()).device
        seen: EmotionPrediction = self.backbone(crop.image.to(device))
        return seen.features[self.inputs[0]].flatten(1).float().cpu()

    def description(self) -> dict[str, object]:
        state = hashlib.sha256()
        for key, tensor in sorted(self.backbone.state_dict().items()):
            state.update(key.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return {
            "backbone": dict(self.card),
            "code": code_hash(self.backbone),
            "weights": state.hexdigest(),
            "feature": self.inputs[0],
        }


@dataclass(frozen=True)
class EncodedSource(CodeSource):
    """Codes that ``emoca encode`` wrote, by the path of the image.

    Attributes:
        encoded: The codes.
    """

    name: str
    encoded: Encoded

    @property
    def crop(self) -> CropPolicy:  # type: ignore[override]
        """How the faces were cut."""
        return self.encoded.card.crop

    @property
    def rule(self) -> CropRule:
        """Any: nothing is cut."""
        return SHARED_CROP

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.encoded.card.probe

    @cached_property
    def _codes(self) -> Float[ndarray, "N D"]:
        return self.encoded.blocks(self.inputs)

    def encode(self, crop: FaceCrop) -> Float[Tensor, "B D"]:
        return self._of(crop.keys or ())

    def encode_rows(self, manifest: Manifest, detections: Detections, rows: Sequence[int]) -> Float[Tensor, "B D"]:
        return self._of([manifest[row].path for row in rows])

    def _of(self, paths: Sequence[str]) -> Float[Tensor, "B D"]:
        return torch.from_numpy(self._codes[self.encoded.rows_of(paths)])

    def description(self) -> dict[str, object]:
        return {"encoded": self.encoded.card.made_of, "blocks": list(self.inputs)}


def code_hash(part: Component) -> str:
    """SHA-256 of the Python files beside the one that defines a part: edited code gives other codes."""
    digest = hashlib.sha256(type(part).__qualname__.encode())
    for file in sorted(Path(inspect.getfile(type(part))).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def extract_codes(
    source: CodeSource, manifest: Manifest, detections: Detections, batch_size: int = 32
) -> Float[ndarray, "N D"]:
    """Codes of all rows; NaN in rows without a face. Parts that are in the cache are read from there.

    On several processes each encodes its share of the faces and gets the codes of all.

    Args:
        source: The method.
        manifest: The images.
        detections: Their faces.
        batch_size: Faces encoded at once.

    Raises:
        EmocaError: The method cannot encode these faces.
    """
    description = {**source.description(), "images": manifest_hash(manifest), "rule": repr(source.rule)}
    description |= {"faces": detections.key} if detections.key else {}
    folder = cache_folder("codes", description)
    parts = parts_of(len(manifest), folder, PART)

    def encode(rows: range) -> Float[ndarray, "N D"]:
        return _encode_rows(source, manifest, detections, rows, batch_size)

    def write(part: Part, codes: Float[ndarray, "N D"]) -> None:
        write_tensors(part.file, {"codes": codes}, {"description": json.dumps(description, default=str)})

    fill_parts(parts, encode, write, source.name)
    codes = [read_part(part.file)["codes"] for part in parts]
    width = max(part.shape[1] for part in codes)
    return np.concatenate([part if part.shape[1] == width else np.full((len(part), width), np.nan) for part in codes])


@torch.no_grad()
def _encode_rows(
    source: CodeSource, manifest: Manifest, detections: Detections, rows: range, batch_size: int
) -> Float[ndarray, "N D"]:
    present = [row for row in rows if row in detections.faces]
    found: list[tuple[list[int], Tensor]] = []
    for start in range(0, len(present), batch_size):
        batch = present[start : start + batch_size]
        found.append((batch, source.encode_rows(manifest, detections, batch)))
    width = found[0][1].shape[1] if found else 0
    codes = np.full((len(rows), width), np.nan, np.float32)
    for batch, values in found:
        codes[np.array(batch) - rows.start] = values.numpy()
    return codes


def _crops(rule: CropRule, manifest: Manifest, detections: Detections, rows: Sequence[int]) -> FaceCrop:
    photos = [read_photo(manifest.image_path(manifest[row])) for row in rows]
    faces = [detections.faces[row] for row in rows]
    cropped = [rule(photo.pixels, face) for photo, face in zip(photos, faces, strict=True)]
    batch = crops_to_batch(cropped, faces, [photo.size for photo in photos])
    return dataclasses.replace(batch, keys=tuple(manifest[row].path for row in rows))
