"""FLAME, in every edition that shares its file format: 2019, 2020, 2023 and 2023 Open."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from emoca_core.errors import AssetFormatError
from emoca_core.formats import Content, Format
from emoca_core.interfaces import Albedo, FaceGeometry, FaceParameters
from emoca_core.registry.spec import ComponentParams, ImageSize
from emoca_plugins.face_models import flame_files
from emoca_plugins.face_models.jointed import JointedHead
from emoca_plugins.face_models.morphable import check_indices, first_columns, from_planes, planes
from emoca_plugins.face_models.texture_model import TextureModel

IDENTITY_COLUMNS = 300
"""``shapedirs`` holds 300 identity components, then 100 of expression."""

Edition = Literal["flame", "flame_2023", "flame_2023_open"]
Texture = Literal["none", "grey", "flame", "bfm"]
_TEXTURES = {"flame": flame_files.FLAME_TEXTURE, "bfm": flame_files.FLAME_ALBEDO_FROM_BFM}


class Flame(JointedHead):
    """Li et al., "Learning a model of facial shape and expression from 4D scans", SIGGRAPH Asia 2017.

    5,023 vertices in metres, joints root, neck, jaw, left eye, right eye. Blocks: ``shape``, ``expression`` (standard
    deviations), ``global_pose``, ``neck_pose``, ``jaw_pose``, ``eye_pose`` (axis-angle), and where asked for
    ``eyelids`` (0 open to 1 closed; left, right) and ``albedo``.

    Landmarks: ``ibug68``, whose 17 contour points follow the yaw of ``global_pose`` and ``neck_pose`` (unless
    ``dynamic_contour`` is off), ``ibug68_static`` (all 68 fixed on the surface), and where asked for
    ``mediapipe105``, the points ``mediapipe_indices`` of MediaPipe's 478 (``partial_landmarks`` says so too).

    Source: the paper, eq. 1 to 5; SMPL (Loper et al. 2015) for skinning; DECA for contour rows and texture space;
    SMIRK for the eyelids, which it adds to the posed mesh.

    Attributes:
        mediapipe_indices: Which of MediaPipe's points ``mediapipe105`` are.
    """

    class Params(ComponentParams):
        edition: Edition = "flame"
        """Asset that holds the model; 2019 and 2020 are both ``flame``."""
        model: Path | None = None
        """A FLAME pickle or converted file, instead of the asset."""
        landmarks: Path | None = None
        """``landmark_embedding.npy``, instead of the asset."""
        template: Path | None = None
        """``head_template.obj``, instead of the asset."""
        shape_size: int = Field(default=100, ge=1, le=IDENTITY_COLUMNS)
        """Identity components."""
        expression_size: int = Field(default=50, ge=1, le=100)
        """Expression components."""
        dynamic_contour: bool = True
        """Whether the jaw contour of ``ibug68`` follows the yaw."""
        mediapipe_landmarks: bool = False
        """Whether to evaluate the 105 embedded MediaPipe points."""
        eyelids: bool = False
        """Whether to have the two eyelid blendshapes."""
        uv: bool = True
        """Whether to read texture coordinates from ``head_template.obj``."""
        masks: bool = False
        """Whether to read the vertex masks."""
        albedo: Texture = "none"
        """Texture model: FLAME's, BFM's brought to FLAME, a constant 0.5 (``grey``), or none."""
        albedo_size: int = Field(default=50, ge=1, le=200)
        """Texture components."""
        texture_size: ImageSize = Field(default=256, ge=1)
        """Side of the texture, pixels."""

    params: Params

    eyelid_modes: Tensor
    mediapipe_indices: Int[Tensor, "105"]

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        options = self.params
        wanted: dict[str, tuple[Path | None, Format]] = {
            options.edition: (options.model, flame_files.FLAME_MODEL),
            "flame_landmarks": (options.landmarks, flame_files.FLAME_LANDMARKS),
        }
        if options.uv:
            wanted["flame_template"] = (options.template, flame_files.FLAME_TEMPLATE)
        if options.mediapipe_landmarks:
            wanted["flame_mediapipe_landmarks"] = (None, flame_files.FLAME_MEDIAPIPE_LANDMARKS)
        if options.eyelids:
            wanted |= {f"flame_eyelid_{side}": (None, flame_files.FLAME_EYELID) for side in ("left", "right")}
        if options.masks:
            wanted["flame_masks"] = (None, flame_files.FLAME_MASKS)
        if options.albedo in _TEXTURES:
            texture = _TEXTURES[options.albedo]
            wanted[texture.assets[0]] = (None, texture)
        assets = self._open_assets(wanted)
        self._register_surface(assets[options.edition])
        self._embed_landmarks(assets["flame_landmarks"], assets.get("flame_mediapipe_landmarks"))
        self._register_extras(assets)
        self.blocks = {
            "shape": options.shape_size,
            "expression": options.expression_size,
            "global_pose": 3,
            "neck_pose": 3,
            "jaw_pose": 3,
            "eye_pose": 6,
            **({"eyelids": 2} if options.eyelids else {}),
            **({"albedo": options.albedo_size} if self.texture else {}),
        }

    def _register_surface(self, model: Content) -> None:
        template, columns = model.array("v_template"), model.array("shapedirs")
        shape = first_columns(columns[..., :IDENTITY_COLUMNS], self.params.shape_size, "identity", model.path)
        expression = columns[..., IDENTITY_COLUMNS:]
        expression = first_columns(expression, self.params.expression_size, "expression", model.path)
        basis = np.moveaxis(np.concatenate([shape, expression], axis=2), 2, 0)
        regressor = model.array("J_regressor")
        modes = np.concatenate([template[None], basis, np.moveaxis(model.array("posedirs"), 2, 0)])
        # joints are linear in the shape: regressing them from the mean and each mode once saves a pass per forward
        skeleton = regressor @ template, regressor @ basis, model.array("parents"), model.array("weights")
        self._register_skeleton(modes, *skeleton)
        check_indices(model.array("faces"), len(template), "f", model.path)
        self._constant("faces", model.array("faces"))

    @property
    def partial_landmarks(self) -> Mapping[str, tuple[str, Int[Tensor, "105"]]]:
        """MediaPipe's 478, of which the published embedding has 105."""
        with_mediapipe = self.params.mediapipe_landmarks
        return {"mediapipe478": ("mediapipe105", self.mediapipe_indices)} if with_mediapipe else {}

    def _embed_landmarks(self, embedding: Content, mediapipe: Content | None) -> None:
        tables = {
            name: (embedding.array(f"{prefix}_lmk_faces_idx"), embedding.array(f"{prefix}_lmk_bary_coords"))
            for name, prefix in (("inner", "static"), ("ibug68_static", "full"), ("contour", "dynamic"))
        }
        if mediapipe is not None:
            tables["mediapipe105"] = mediapipe.array("lmk_face_idx"), mediapipe.array("lmk_b_coords")
            self._constant("mediapipe_indices", mediapipe.array("landmark_indices"))
        for name, (triangles, _) in tables.items():
            check_indices(triangles, len(self.faces), f"{name} lmk_faces_idx", embedding.path)
        self._register_landmarks(tables.pop("contour"), tables)

    def _register_extras(self, assets: dict[str, Content]) -> None:
        vertices = len(self.skinning_weights)
        if self.params.eyelids:
            lids = [assets[f"flame_eyelid_{side}"] for side in ("left", "right")]
            if any(lid.shapes["offsets"] != (vertices, 3) for lid in lids):
                raise AssetFormatError(f"{lids[0].path}: eyelids must move {vertices} vertices")
            self._constant("eyelid_modes", planes(np.stack([lid.array("offsets") for lid in lids])))
        if self.params.uv:
            self._register_uv(assets["flame_template"])
        if self.params.masks:
            indices = assets["flame_masks"]
            for name in indices.shapes:
                check_indices(indices.array(name), vertices, name, indices.path)
            self._register_masks({n: np.isin(np.arange(vertices), indices.array(n)) for n in indices.shapes})
        self.texture: TextureModel | None = None
        if self.params.albedo in _TEXTURES:
            content = assets[_TEXTURES[self.params.albedo].assets[0]]
            self.texture = TextureModel(content, self.params.albedo_size, self.params.texture_size)

    def _register_uv(self, template: Content) -> None:
        """The template must be the model's own mesh, or its texture coordinates would land elsewhere.

        Raises:
            AssetFormatError: Another mesh.
        """
        if not np.array_equal(template.array("faces"), self.faces.numpy()):
            raise AssetFormatError(f"{template.path} is not the template of this FLAME: its triangles are others")
        self._constant("uv", template.array("uv"))
        self._constant("uv_faces", template.array("uv_faces"))

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        shape, rotations = self._block(parameters, "shape"), self._rotations(parameters)
        bend = rotations[:, 1:] - torch.eye(3, dtype=shape.dtype, device=shape.device)
        others = torch.cat([self._block(parameters, "expression"), bend.flatten(1)], 1)
        vertices = self._posed(shape, others, rotations, self.joints(parameters))
        if self.params.eyelids:
            vertices = vertices + from_planes(self._block(parameters, "eyelids") @ self.eyelid_modes)
        sets = self._fixed_landmarks(vertices)
        dynamic, inner = sets["ibug68_static"], sets.pop("inner")
        if self.params.dynamic_contour:
            dynamic = torch.cat([self._contour(vertices, rotations), inner], 1)
        return FaceGeometry(vertices, {"ibug68": dynamic, **sets})

    def _code(self, parameters: FaceParameters) -> Float[Tensor, "B K"]:
        return torch.cat([self._block(parameters, "shape"), self._block(parameters, "expression")], 1)

    def joints(self, parameters: FaceParameters) -> Float[Tensor, "B 5 3"]:
        """Rest positions of root, neck, jaw, left eye, right eye, metres."""
        return self._joints(self._code(parameters))

    def albedo(self, parameters: FaceParameters) -> Albedo:
        """The texture of each face; constant 0.5 with ``albedo: grey``, as DECA has it without a texture model."""
        if self.texture is not None:
            return Albedo(texture=self.texture(self._block(parameters, "albedo")))
        if self.params.albedo == "grey":
            size = self.params.texture_size
            return Albedo(texture=self.joint_mean.new_full((len(parameters), 3, size, size), 0.5))
        return Albedo()
