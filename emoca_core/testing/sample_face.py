"""A captured face for the conformance kit of exporters: half an ellipsoid of no particular method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from emoca_core.geometry.normals import grid_faces
from emoca_core.interfaces import (
    CapturedFace,
    CropRecord,
    Detection,
    ExpressionRig,
    FaceMesh,
    FaceParameters,
    Photo,
    PhotoCamera,
    Quality,
)
from emoca_core.interfaces.samples import SIZES, SURFACE, sample_geometry, sample_parameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES

_SIDE = 64


@dataclass(frozen=True)
class SampleFace(CapturedFace):
    """A face whose mesh, camera and pictures are made up; ``bare`` leaves out all that a method may lack."""

    bare: bool = False

    @property
    def recipe(self) -> str:
        """A name that no recipe has."""
        return "sample"

    @property
    def camera(self) -> PhotoCamera | None:
        """Half a metre away, in the middle."""
        if self.bare:
            return None
        lens = np.array([[90.0, 0.0, 31.5], [0.0, 90.0, 31.5], [0.0, 0.0, 1.0]])
        return PhotoCamera("perspective", lens, np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.5]), (_SIDE, _SIDE))

    @property
    def landmarks(self) -> Float[ndarray, "68 2"] | None:
        """Where the camera puts those of the geometry."""
        return (
            None if self.camera is None else self.camera.project(self.geometry.landmarks["ibug68"][0].double().numpy())
        )

    @property
    def mesh(self) -> FaceMesh:
        """The ellipsoid with a chequered texture, or without anything."""
        faces = grid_faces(*SURFACE).numpy()
        vertices = self.vertices.astype(np.float64)
        if self.bare:
            return FaceMesh(vertices, faces)
        random = np.random.default_rng(3)
        targets = 1e-3 * random.normal(size=(len(ARKIT_NAMES), *vertices.shape))
        weights = self.arkit or {}
        neutral = vertices - np.tensordot(np.array(list(weights.values())), targets, axes=1)
        return FaceMesh(
            vertices=vertices,
            faces=faces,
            uv=0.5 + 4 * vertices[:, :2],
            uv_faces=faces,
            texture=np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((4, 4)))[..., None].astype(np.uint8)
            * np.array([255, 200, 180], np.uint8),
            rig=ExpressionRig(neutral, targets, weights, "arkit"),
        )

    @property
    def detail_mesh(self) -> FaceMesh | None:
        """A coarser form of the mesh."""
        return (
            None
            if self.bare
            else replace(self.mesh, faces=self.mesh.faces[::2], uv=None, uv_faces=None, texture=None, rig=None)
        )

    @property
    def arkit(self) -> Mapping[str, float] | None:
        """From 0 to 1 in steps."""
        return (
            None
            if self.bare
            else dict(zip(ARKIT_NAMES, np.linspace(0, 1, len(ARKIT_NAMES)).round(6).tolist(), strict=True))
        )

    @property
    def quality(self) -> Quality:
        """Good."""
        return Quality("good", (), {})

    @property
    def detected_arkit(self) -> Mapping[str, float] | None:
        """None."""
        return None

    def overlay(self) -> Image.Image | None:
        """A grey picture."""
        return None if self.bare else Image.new("RGB", (1200, 300), (128, 128, 128))

    def record(self) -> dict[str, object]:
        """The least that a record holds."""
        return {"format": "emoca-codes-1", "recipe": {"name": self.recipe}, "arkit": self.arkit}

    def save(self, folder: Path | str, write: Sequence[str] = ()) -> list[Path]:
        """Nothing saves it but the exporter under test.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


def sample_face(bare: bool = False) -> SampleFace:
    """A face with everything that an exporter may meet, or one with the least.

    Args:
        bare: Without texture, targets, camera, wrinkles, ARKit values and most of the code.
    """
    parameters = sample_parameters(SIZES, 1)
    geometry = sample_geometry(1)
    points = 30 + 20 * geometry.landmarks["ibug68"][0, :, :2].numpy()
    return SampleFace(
        photo=Photo(np.full((_SIDE, _SIDE, 3), 90, np.uint8), Path("sample ‘1’.png"), "0" * 64),
        index=0,
        detection=Detection(np.array([10.0, 10.0, 50.0, 50.0]), 0.9, {"ibug68": points}),
        crop=CropRecord("native", "upright", (_SIDE, _SIDE), np.eye(3)),
        parameters=FaceParameters(shape=parameters.shape) if bare else parameters,
        geometry=geometry,
        bare=bare,
    )
