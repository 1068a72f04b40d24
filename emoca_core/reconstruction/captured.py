"""One reconstructed face: what a method's parts say of it."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from emoca_core.export.arkit import arkit_rig, code_rig, has_arkit_names, residual_mm
from emoca_core.export.camera import crop_camera_to_photo
from emoca_core.export.codes import FORMAT, describe_camera, describe_codes, describe_landmarks
from emoca_core.export.detail import displaced_mesh
from emoca_core.export.mesh import textured_mesh
from emoca_core.export.overlay import Window, grey_picture, overlay_picture
from emoca_core.files import sha256_of
from emoca_core.images.crops import crops_to_batch
from emoca_core.interfaces import (
    CapturedFace,
    ExpressionRig,
    FaceEmotion,
    FaceMesh,
    FaceParameters,
    Photo,
    PhotoCamera,
    Quality,
)
from emoca_core.method import Method
from emoca_core.reconstruction.glances import Glances
from emoca_core.reconstruction.quality import judge
from emoca_core.reconstruction.saving import DEFAULT_WRITE, build_exporters, save_face
from emoca_core.rendering.detail import detail_normals
from emoca_core.rendering.uv_space import UvSpace
from emoca_core.version import VERSION
from emoca_core.vocabulary.arkit import ARKIT_NAMES


@dataclass(frozen=True, kw_only=True, repr=False)
class ReconstructedFace(CapturedFace):
    """A captured face whose mesh, pictures and ARKit values are made by the method that reconstructed it.

    Attributes:
        method: What reconstructed it.
        glance: What its encoder took from the pixels in a glance, if it does: a batch of one on the CPU.
    """

    method: Method
    glance: Float[torch.Tensor, "1 G"] | None = None

    def __repr__(self) -> str:
        return f"CapturedFace({self.photo.path.name!r}, face {self.index}, method {self.recipe!r})"

    @property
    def recipe(self) -> str:
        """Name of the method."""
        return self.method.name

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
    def rig(self) -> ExpressionRig | None:
        """The person's neutral face and what leads to the captured one; ``None`` for a neutral face."""
        make = arkit_rig if has_arkit_names(self.method.face_model) else code_rig
        return make(self.method.face_model, self._on_device(), self.geometry)

    @property
    def arkit(self) -> Mapping[str, float] | None:
        """The 52 ARKit values in [0, 1]: weights of the rig where the face model has them, else the landmarker's."""
        if self.rig is not None and self.rig.source == "arkit":
            return self.rig.weights
        return self.detected_arkit

    @cached_property
    def quality(self) -> Quality:
        """Whether the face can be trusted, and why not."""
        residual = None if self._arkit_residual_mm is None else self._arkit_residual_mm["mean"]
        return judge(self.detection, self.landmarks, self.parameters, self.photo.size, residual)

    @cached_property
    def emotion(self) -> FaceEmotion | None:
        """What the method's emotion backbone reads in it, or the one that its encoder works with."""
        glances = Glances.of(self.method, self.crop.policy)
        reading = glances.emotion(self._glanced(glances)) if glances.size else None
        return reading.of_face(0) if reading is not None and reading.columns() else None

    @property
    def detected_arkit(self) -> Mapping[str, float] | None:
        """The landmarker's own scores."""
        scores = self.detection.blendshapes
        return None if scores is None else dict(zip(ARKIT_NAMES, map(float, scores), strict=True))

    @cached_property
    def mesh(self) -> FaceMesh:
        """The face with texture or vertex colours, and with its rig."""
        return textured_mesh(self.method.face_model, self._on_device(), self.vertices.astype(np.float64), self.rig)

    @cached_property
    def detail_mesh(self) -> FaceMesh | None:
        """The dense mesh with wrinkles, without texture picture; ``None`` for methods without detail."""
        detail, surface = self.method.detail, self._surface()
        if detail is None or surface is None:
            return None
        dense: FaceMesh = displaced_mesh(*surface, detail.mask, detail.fixed_displacement)
        return dense

    def overlay(self) -> Image.Image | None:
        """Photo, landmarks, mesh over the photo, mesh alone; ``None`` without a camera."""
        if self.camera is None or self.landmarks is None:
            return None
        caption = f"{self.photo.path.name}  ·  face {self.index}  ·  {self.recipe}"
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

    def grey_picture(self, window: Window) -> Image.Image | None:
        """The grey mesh alone in a window of the photo, with its wrinkles; ``None`` without a camera."""
        if self.camera is None:
            return None
        method = self.method
        return grey_picture(self.mesh, self.camera, window, method.renderer, method.device, self._detail_normals())

    def record(self) -> dict[str, Any]:
        """Everything but the mesh, JSON-ready."""
        photo, detection = self.photo, self.detection
        return {
            "format": FORMAT,
            "recipe": {"name": self.recipe, "parts": describe_recipe(self.method)},
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
            "arkit": self._describe_arkit(),
            "arkit_detected": self.detected_arkit,
            "emotion": None if self.emotion is None else asdict(self.emotion),
        }

    def save(self, folder: Path | str, write: Sequence[str] = DEFAULT_WRITE) -> list[Path]:
        """Write files; see ``CapturedFace``."""
        return save_face(self, Path(folder), list(build_exporters(write).values()))

    @cached_property
    def _arkit_residual_mm(self) -> dict[str, float] | None:
        if self.rig is None or self.rig.source != "arkit":
            return None
        return residual_mm(self.rig, self.vertices.astype(np.float64))

    def _glanced(self, glances: Glances) -> Float[torch.Tensor, "1 G"]:
        """What the encoder saw, if that is all; else the photo is looked at again, by the backbone."""
        if self.glance is not None and glances.backbone is None:
            return self.glance
        cropped = glances.rule(self.photo.pixels, self.detection)
        crop = crops_to_batch([cropped], [self.detection], [self.photo.size])
        return glances.at(crop.map(lambda tensor: tensor.to(self.method.device))).cpu()

    def _describe_arkit(self) -> dict[str, Any] | None:
        if self.rig is not None and self._arkit_residual_mm is not None:
            return {"source": "fit", "residual_mm": self._arkit_residual_mm, "values": self.rig.weights}
        return None if self.detected_arkit is None else {"source": "landmarker", "values": self.detected_arkit}

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
    """Name and SHA-256 of every file that the parts were built from; read once for each method."""
    if method not in _ASSETS:
        paths = sorted(method.asset_paths().items())
        _ASSETS[method] = {name: {"file": path.name, "sha256": sha256_of(path)} for name, path in paths}
    return _ASSETS[method]


_ASSETS: WeakKeyDictionary[Method, dict[str, dict[str, str]]] = WeakKeyDictionary()


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
