"""One reconstructed face: what is known of it, and how it is saved."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from emoca_core.export.arkit import arkit_activations, has_arkit_names
from emoca_core.export.camera import PhotoCamera, camera_to_gltf, crop_camera_to_photo
from emoca_core.export.codes import (
    FORMAT,
    describe_camera,
    describe_codes,
    describe_landmarks,
    write_codes,
    write_record,
)
from emoca_core.export.detail import displaced_mesh
from emoca_core.export.gltf import write_glb
from emoca_core.export.mesh import FaceMesh
from emoca_core.export.obj import write_obj
from emoca_core.export.overlay import overlay_picture
from emoca_core.files import atomic_write, sha256_of
from emoca_core.images.photos import Photo
from emoca_core.interfaces import Detection, FaceGeometry, FaceParameters, Quality
from emoca_core.method import Method
from emoca_core.reconstruction.quality import judge
from emoca_core.rendering.detail import detail_normals
from emoca_core.rendering.uv_space import UvSpace
from emoca_core.version import VERSION
from emoca_core.vocabulary.arkit import ARKIT_NAMES

RECORD = "face.json"
"""Written last: a face is complete when this file is there."""

THUMBNAIL_WIDTH = 960


@dataclass(frozen=True)
class CropRecord:
    """How the face was cut out.

    Attributes:
        policy: ``"native"`` or ``"shared"``.
        rule: Name of the crop rule.
        size: Height and width of the crop, pixels.
        crop_to_image: Crop pixels to photo pixels.
    """

    policy: str
    rule: str
    size: tuple[int, int]
    crop_to_image: Float[ndarray, "3 3"]


@dataclass(frozen=True)
class CapturedFace:
    """One face of one photo.

    Attributes:
        method: What reconstructed it.
        photo: Where it is.
        index: Number of the face in the photo; 0 is the largest.
        detection: What the landmarker found.
        crop: How it was cut out.
        parameters: Its code: a batch of one on the CPU.
        geometry: Its mesh: a batch of one on the CPU.
        displacement: Its wrinkles in UV space, metres: a batch of one on the CPU; ``None`` for methods without detail.
    """

    method: Method
    photo: Photo
    index: int
    detection: Detection
    crop: CropRecord
    parameters: FaceParameters
    geometry: FaceGeometry
    displacement: Float[torch.Tensor, "1 1 T T"] | None = None

    def __repr__(self) -> str:
        return f"CapturedFace({self.photo.path.name!r}, face {self.index}, method {self.method.name!r})"

    @property
    def vertices(self) -> Float[ndarray, "V 3"]:
        """Posed mesh in model space: metres; x to the subject's left, y up, z out of the face."""
        return self.geometry.vertices[0].numpy()

    @property
    def codes(self) -> dict[str, Float[ndarray, "D"]]:
        """Every block of the face code."""
        return {name: block[0].numpy() for name, block in self.parameters.blocks().items()}

    @cached_property
    def camera(self) -> PhotoCamera | None:
        """Camera of the whole photo; ``None`` for methods without one."""
        camera = self.parameters.camera
        if camera is None:
            return None
        return crop_camera_to_photo(camera, self.crop.size, self.crop.crop_to_image, self.photo.size)

    @cached_property
    def landmarks(self) -> Float[ndarray, "68 2"] | None:
        """The 68 landmarks of the mesh in photo pixels; ``None`` without a camera."""
        points = self.geometry.landmarks["ibug68"][0].double().numpy()
        return None if self.camera is None else self.camera.project(points)

    @cached_property
    def arkit(self) -> dict[str, float] | None:
        """The 52 ARKit activations: fitted where the face model has them, else the landmarker's, else ``None``."""
        if has_arkit_names(self.method.face_model):
            return arkit_activations(self.method.face_model, self._on_device())
        return self.detected_arkit

    @cached_property
    def quality(self) -> Quality:
        """Whether the face can be trusted, and why not."""
        return judge(self.detection, self.landmarks, self.parameters)

    @property
    def detected_arkit(self) -> dict[str, float] | None:
        """The landmarker's own scores."""
        scores = self.detection.blendshapes
        return None if scores is None else dict(zip(ARKIT_NAMES, map(float, scores), strict=True))

    @cached_property
    def mesh(self) -> FaceMesh:
        """The face with texture or vertex colours, and one morph target for each named expression."""
        model = self.method.face_model
        parameters = self._on_device()
        with torch.no_grad():
            albedo = model.albedo(parameters)
            morphs = self._morph_targets(parameters)
        texture, colors = albedo.texture, albedo.vertex_colors
        return FaceMesh(
            vertices=self.vertices.astype(np.float64),
            faces=model.faces.cpu().numpy(),
            uv=None if model.uv is None else model.uv.cpu().double().numpy(),
            uv_faces=None if model.uv_faces is None else model.uv_faces.cpu().numpy(),
            texture=None if texture is None else _to_uint8(texture[0]),
            vertex_colors=None if colors is None else colors[0].cpu().double().numpy(),
            morph_targets=morphs,
        )

    @cached_property
    def detail_mesh(self) -> FaceMesh | None:
        """The dense mesh with wrinkles, without texture picture; ``None`` for methods without detail."""
        detail, surface = self.method.detail, self._surface()
        if detail is None or surface is None:
            return None
        return displaced_mesh(*surface, detail.mask, detail.fixed_displacement)

    def overlay(self) -> Image.Image | None:
        """Photo, landmarks, mesh over the photo, mesh alone; ``None`` without a camera."""
        if self.camera is None or self.landmarks is None:
            return None
        caption = f"{self.photo.path.name}  ·  face {self.index}  ·  {self.method.name}"
        return overlay_picture(
            self.photo.pixels,
            self.camera,
            self.mesh,
            self.landmarks,
            self.detection.landmarks,
            self.method.renderer,
            self.method.device,
            caption,
            self._detail_normals(),
        )

    def record(self) -> dict[str, Any]:
        """Everything but the mesh, JSON-ready."""
        photo, detection, arkit = self.photo, self.detection, self.arkit
        fitted = has_arkit_names(self.method.face_model)
        return {
            "format": FORMAT,
            "recipe": {"name": self.method.name, "parts": describe_recipe(self.method)},
            "versions": versions(),
            "assets": describe_assets(self.method),
            "photo": describe_photo(photo),
            "face": {
                "index": self.index,
                "score": float(detection.score),
                "box_px": np.round(detection.box.astype(np.float64), 3).tolist(),
                "notes": list(detection.notes),
            },
            "quality": self.quality.describe(),
            "crop": {
                "policy": self.crop.policy,
                "rule": self.crop.rule,
                "size": {"width": self.crop.size[1], "height": self.crop.size[0]},
                "crop_to_image": self.crop.crop_to_image.tolist(),
            },
            "codes": describe_codes(self.parameters),
            "camera": self.camera and describe_camera(self.camera),
            "landmarks": None if self.landmarks is None else describe_landmarks(self.landmarks, detection.landmarks),
            "arkit": arkit and {"source": "fit" if fitted else "landmarker", "values": arkit},
            "arkit_detected": self.detected_arkit,
        }

    def save(self, folder: Path | str) -> list[Path]:
        """Write face.glb, face.obj (with material and texture), face.safetensors, overlay.png and face.json.

        Methods with detail also write face_detail.obj, the dense mesh with wrinkles.

        Each file appears whole or not at all, and ``face.json`` comes last.

        Args:
            folder: Made where it does not exist.

        Returns:
            The files written.

        Raises:
            OSError: The folder cannot be written, or the disk is full.
        """
        folder = Path(folder)
        (folder / RECORD).unlink(missing_ok=True)
        record = self.record()
        extras = {"photo": self.photo.path.name, "recipe": self.method.name, "arkit": self.arkit}
        gltf = None if self.camera is None else camera_to_gltf(self.camera)
        write_glb(folder / "face.glb", self.mesh, gltf, {k: v for k, v in extras.items() if v is not None})
        written = [folder / "face.glb", *write_obj(folder / "face.obj", self.mesh)]
        if self.detail_mesh is not None:
            written += write_obj(folder / "face_detail.obj", self.detail_mesh)
        write_codes(folder / "face.safetensors", self.parameters)
        written.append(folder / "face.safetensors")
        if (overlay := self.overlay()) is not None:
            written += _save_pictures(folder, overlay)
        record["files"] = [path.name for path in written]
        write_record(folder / RECORD, record)
        return [*written, folder / RECORD]

    def _on_device(self) -> FaceParameters:
        device = self.method.device
        return self.parameters.map(lambda tensor: tensor.to(device))

    def _surface(self) -> tuple[UvSpace, torch.Tensor, torch.Tensor] | None:
        """UV space, vertices and displacement on the method's device."""
        if self.method.detail is None or self.displacement is None:
            return None
        device = self.method.device
        return self.method.uv_space(self.method.detail), self.geometry.vertices.to(device), self.displacement.to(device)

    def _detail_normals(self) -> Float[torch.Tensor, "1 3 T T"] | None:
        """Blended whatever the preset says: outside the mask there is nothing to see but the seams of UV space."""
        detail, surface = self.method.detail, self._surface()
        if detail is None or surface is None:
            return None
        with torch.no_grad():
            return detail_normals(*surface, detail.mask, detail.fixed_displacement, blend=True)

    def _morph_targets(self, parameters: FaceParameters) -> Mapping[str, Float[ndarray, "V 3"]]:
        """What one more unit of each named expression does to the posed mesh."""
        model = self.method.face_model
        names = model.expression_names
        if not names or "expression" not in model.blocks:
            return {}
        count = len(names)
        repeated = parameters.map(lambda tensor: tensor.expand(count + 1, *tensor.shape[1:]))
        start = torch.zeros(count + 1, count, device=self.method.device)
        if repeated.expression is not None:
            start[:, : repeated.expression.shape[1]] = repeated.expression[:, :count]
        step = torch.cat([start.new_zeros(1, count), torch.eye(count, device=start.device)])
        vertices = model(repeated.replace(expression=start + step)).vertices
        moved = (vertices[1:] - vertices[:1]).double().cpu().numpy()
        return dict(zip(names, moved, strict=True))


def versions() -> dict[str, str]:
    """What computed the result."""
    return {"emoca_core": VERSION, "torch": torch.__version__, "python": platform.python_version()}


def describe_recipe(method: Method) -> dict[str, Any]:
    """Name and parameters of every part, JSON-ready: defaults included, so that the result can be repeated."""
    parts = method.recipe.parts()
    return {
        kind: {"uses": use.uses, "params": getattr(method, kind).params.model_dump(mode="json")}
        for kind, use in parts.items()
    }


def describe_assets(method: Method) -> dict[str, dict[str, str]]:
    """Name and SHA-256 of every file that the parts were built from."""
    return {name: {"file": path.name, "sha256": sha256_of(path)} for name, path in sorted(method.asset_paths().items())}


def describe_photo(photo: Photo) -> dict[str, Any]:
    """Name, content and size of a photo, JSON-ready. The folder is left out: results travel."""
    height, width = photo.size
    return {
        "file": photo.path.name,
        "sha256": photo.sha256,
        "width": width,
        "height": height,
        "notes": list(photo.notes),
    }


def _save_pictures(folder: Path, overlay: Image.Image) -> list[Path]:
    with atomic_write(folder / "overlay.png") as temporary:
        overlay.save(temporary)
    height = round(overlay.height * THUMBNAIL_WIDTH / overlay.width)
    with atomic_write(folder / "thumbnail.jpg") as temporary:
        overlay.resize((THUMBNAIL_WIDTH, height), Image.Resampling.LANCZOS).save(temporary, quality=88)
    return [folder / "overlay.png", folder / "thumbnail.jpg"]


def _to_uint8(texture: Float[torch.Tensor, "3 T T"]) -> UInt8[ndarray, "T T 3"]:
    return (texture.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
