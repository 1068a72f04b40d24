"""The open head: a FLAME-like morphable head distilled from CC0 MakeHuman data, free for any use."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emoca_core.geometry.skinning import linear_blend_skinning
from emoca_core.geometry.surface_points import barycentric_points, dynamic_contour_points
from emoca_core.interfaces import Albedo, Block, FaceGeometry, FaceModel, FaceParameters
from emoca_core.registry.spec import ComponentParams, ImageSize
from emoca_core.vocabulary.arkit import emotion_prototype
from emoca_plugins.face_models.fused_pose import (
    can_fuse,
    fused_contour_row,
    fused_points,
    fused_skinning,
    pose_rotations,
)
from emoca_plugins.face_models.open_head_albedo import OpenHeadAlbedo
from emoca_plugins.face_models.open_head_data import read_open_head_arrays


class OpenHead(FaceModel):
    """100 identity modes, the 52 ARKit expressions, five joints, a texture atlas and an albedo model.

    Coordinates are metres, origin in the face. Blocks:

    - ``shape``: principal components in standard deviations of random adults.
    - ``expression``: activations of ``emoca_core.vocabulary.arkit.ARKIT_NAMES``, normally in [0, 1]. They add up.
      The eyeLook shapes move the lids only; ``gaze_of_expression`` gives the eye rotation they stand for.
    - ``jaw_pose``: rotation of the jaw joint. Pitch ``jaw_open_angle`` (20.7 degrees) is the same as ``jawOpen`` = 1:
      use one of the two.
    - ``global_pose``, ``neck_pose``, ``eye_pose``: rotations of root, neck and eyeballs.
    - ``albedo``: see ``OpenHeadAlbedo`` and ``albedo_names``.

    Landmarks: ``ibug68`` (jaw contour follows the yaw of ``global_pose`` and ``neck_pose``), ``ibug68_static``
    (contour of the frontal view), ``mediapipe478``.

    Attributes:
        parents: Parent of each joint: root, neck, jaw, left eye, right eye.
        jaw_open_angle: Radians.
        mirror: For every vertex its partner on the other side of the face.

    Source: distilled from MakeHuman's base mesh, targets and ARKit shapes (CC0) by `tools/open_head`; see
    `docs/open-head.md`.
    """

    class Params(ComponentParams):
        """Options of the open head."""

        shape_size: int = 100
        """Identity modes used, 1 to 100; the first 50 explain 98 % of the variance."""
        mediapipe_landmarks: bool = True
        """Whether to evaluate the 478 MediaPipe points too."""
        texture_size: ImageSize = 512
        """Side of the albedo texture, pixels; 512 is what the data hold."""

    params: Params

    modes: Tensor
    joint_template: Tensor
    joint_modes: Tensor
    skinning_weights: Tensor
    mirror: Tensor
    eye_looks: Tensor
    face_part: Tensor
    semantic_directions: Tensor
    semantic_means: Tensor
    static_triangle: Tensor
    static_weights: Tensor
    contour_triangle: Tensor
    contour_weights: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        data = read_open_head_arrays("open_head")
        count = self.params.shape_size
        if not 1 <= count <= len(data["shape_modes"]):
            raise ValueError(f"shape_size must be 1 to {len(data['shape_modes'])}, got {count}")
        self.expression_names = tuple(str(name) for name in data["expression_names"])
        self.parents = tuple(int(parent) for parent in data["joint_parents"])
        self.jaw_open_angle = float(data["jaw_open_angle"].item())
        self.semantic_names = tuple(str(name) for name in data["semantic_names"])
        self.mask_names = tuple(str(name) for name in data["mask_names"])
        self.part_names = tuple(str(name) for name in data["part_names"])
        self._register_surface(data, count)
        self._register_landmarks(data)
        self.appearance = OpenHeadAlbedo(self.params.texture_size)
        self.albedo_names = self.appearance.names
        self.blocks: Mapping[Block, int] = {
            "shape": count,
            "expression": len(self.expression_names),
            "global_pose": 3,
            "neck_pose": 3,
            "jaw_pose": 3,
            "eye_pose": 6,
            "albedo": len(self.albedo_names),
        }

    def _register_surface(self, data: Mapping[str, np.ndarray], count: int) -> None:
        corrective = data["jaw_corrective"][None] / np.float32(math.sin(self.jaw_open_angle))
        modes = np.concatenate([data["shape_modes"][:count], data["expression_modes"], corrective]).astype(np.float32)
        vertices = modes.shape[1]
        # coordinate planes instead of points: skinning then works on contiguous runs. The template is mode 0.
        template = data["vertices"].T.reshape(1, -1)
        rows = np.concatenate([template, modes.transpose(0, 2, 1).reshape(len(modes), -1)])
        self._constant("modes", rows.T)
        self.modes = self.modes.T  # in memory all modes of a coordinate lie together
        self._constant("joint_template", data["joints"].reshape(-1))
        self._constant("joint_modes", data["joint_modes"][:count].reshape(count, -1).astype(np.float32))
        self._constant("skinning_weights", data["skinning_weights"])
        self._constant("faces", data["faces"].astype(np.int64))
        self._constant("_uv", data["uv"])
        self._constant("_uv_faces", data["uv_faces"].astype(np.int64))
        self._constant("_masks", np.unpackbits(data["masks"], axis=1)[:, :vertices].astype(bool))
        self._constant("face_part", data["face_part"].astype(np.int64))
        self._constant("mirror", data["mirror"].astype(np.int64))
        self._constant("eye_looks", np.radians(data["eye_look_degrees"]))
        self._constant("semantic_directions", data["semantic_directions"][:, :count])
        self._constant("semantic_means", data["semantic_means"])

    def _register_landmarks(self, data: Mapping[str, np.ndarray]) -> None:
        """The contour table, and all fixed points behind each other: 68 iBUG, 478 MediaPipe."""
        embeddings = {
            "contour": ("contour",),
            "static": ("ibug68", "mediapipe478") if self.params.mediapipe_landmarks else ("ibug68",),
        }
        for buffer, names in embeddings.items():
            triangles = np.concatenate([data[f"{name}_triangle"] for name in names])
            self._constant(f"{buffer}_triangle", triangles.astype(np.int64))
            self._constant(f"{buffer}_weights", np.concatenate([data[f"{name}_weights"] for name in names]))

    def _constant(self, name: str, value: np.ndarray) -> None:
        """A buffer that moves with the module and is not part of checkpoints."""
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)), persistent=False)

    @property
    def uv(self) -> Float[Tensor, "U 2"]:  # type: ignore[override]
        """Texture coordinates of the project's own atlas."""
        return self._uv  # type: ignore[return-value]

    @property
    def uv_faces(self) -> Int[Tensor, "F 3"]:  # type: ignore[override]
        """Triangles into ``uv``."""
        return self._uv_faces  # type: ignore[return-value]

    @property
    def vertex_masks(self) -> Mapping[str, Bool[Tensor, "V"]]:  # type: ignore[override]
        """Regions by name: face, skin, lips, eyelids, nose, brows, forehead, cheeks, chin, ears, neck, scalp, ..."""
        return dict(zip(self.mask_names, self._masks, strict=True))  # type: ignore[arg-type]

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        """Pose the head.

        Args:
            parameters: Blocks of ``self.blocks``; absent ones are zero, short ones are padded with zeros.

        Returns:
            Vertices and landmarks, metres.

        Raises:
            ValueError: A block is longer than the model's.
        """
        shape = self._block(parameters, "shape")
        expression = self._block(parameters, "expression")
        poses = [self._block(parameters, name) for name in ("global_pose", "neck_pose", "jaw_pose", "eye_pose")]
        code = torch.cat([torch.ones_like(shape[:, :1]), shape, expression, poses[2][:, :1].sin()], 1)
        joints = torch.addmm(self.joint_template, shape, self.joint_modes).reshape(len(code), -1, 3)
        rotations = pose_rotations(torch.cat(poses, 1))
        vertices = self._posed(code, rotations, joints)
        return FaceGeometry(vertices, self._landmarks(vertices, rotations[:, 0] @ rotations[:, 1]))

    def _posed(
        self, code: Float[Tensor, "B _"], rotations: Float[Tensor, "B 5 3 3"], joints: Float[Tensor, "B 5 3"]
    ) -> Float[Tensor, "B V 3"]:
        """Posed vertices for a factor of every mode; skinned in one pass where no derivative is wanted."""
        if can_fuse(code, rotations, joints, self.modes, self.skinning_weights):
            return fused_skinning(self.modes.T @ code.T, rotations, joints, self.parents, self.skinning_weights)
        rest = torch.mm(code, self.modes).reshape(len(code), 3, -1).mT
        return linear_blend_skinning(rest, rotations, joints, self.parents, self.skinning_weights)[0]

    def albedo(self, parameters: FaceParameters) -> Albedo:
        """Texture of each face for its ``albedo`` block (names and units: ``albedo_names``)."""
        return Albedo(texture=self.appearance(self._block(parameters, "albedo")))

    def albedo_changes(self) -> Iterator[Albedo]:
        """Derivatives of the texture at the average code, for each number."""
        return (Albedo(texture=change[None]) for change in self.appearance.changes())

    def joints(self, parameters: FaceParameters) -> Float[Tensor, "B 5 3"]:
        """Rest positions of root, neck, jaw, left eye, right eye for the ``shape`` block, metres."""
        shape = self._block(parameters, "shape")
        return torch.addmm(self.joint_template, shape, self.joint_modes).reshape(len(shape), -1, 3)

    def gaze_of_expression(self, expression: Float[Tensor, "B 52"]) -> Float[Tensor, "B 6"]:
        """Eye rotations (an ``eye_pose``) that the eyeLook activations of an expression stand for, radians."""
        left = torch.tensor([name.startswith("eyeLook") and name.endswith("Left") for name in self.expression_names])
        looks = self.eye_looks.to(expression)
        sides = [expression[:, keep] @ looks[keep] for keep in (left, ~left)]
        still = torch.zeros_like(expression[:, :1])
        return torch.cat([x for side in sides for x in (side, still)], 1)

    def emotion(self, name: str, intensity: float = 1.0) -> FaceParameters:
        """Expression, jaw and gaze of an emotion prototype, as a batch of one.

        Args:
            name: One of ``emoca_core.vocabulary.arkit.emotion_prototypes()``.
            intensity: 0 is neutral, 1 the full expression.

        Raises:
            UnknownNameError: There is no such prototype.
        """
        prototype = emotion_prototype(name, intensity)
        pitch = prototype.gaze_pitch
        return FaceParameters(
            expression=self.joint_template.new_tensor([prototype.vector()]),
            jaw_pose=self.joint_template.new_tensor([[prototype.jaw_open * self.jaw_open_angle, 0.0, 0.0]]),
            eye_pose=self.joint_template.new_tensor([[pitch, 0.0, 0.0, pitch, 0.0, 0.0]]),
            units={"expression": "activation"},
        )

    def semantic_shape(self, **phenotypes: float) -> Float[Tensor, "1 S"]:
        """Identity code of the average person with given phenotypes.

        Args:
            **phenotypes: Any of ``semantic_names``, on MakeHuman's scales: gender 0 (male) to 1 (female), age 0.5
                (young adult) to 1 (old), weight and muscle 0 to 1, shares of african, asian, caucasian.

        Raises:
            UnknownNameError: Not a phenotype of the model.
        """
        from emoca_core.errors import unknown_name

        code = torch.zeros_like(self.semantic_directions[:1])
        for name, value in phenotypes.items():
            if name not in self.semantic_names:
                raise unknown_name("phenotype of the open head", name, self.semantic_names)
            row = self.semantic_names.index(name)
            code = code + (value - self.semantic_means[row]) * self.semantic_directions[row]
        return code

    def _landmarks(
        self, vertices: Float[Tensor, "B V 3"], head_rotation: Float[Tensor, "B 3 3"]
    ) -> Mapping[str, Float[Tensor, "B _ 3"]]:
        if can_fuse(vertices, head_rotation):
            static, contour = self._fused_points(vertices, head_rotation)
        else:
            static = barycentric_points(vertices, self.faces, self.static_triangle, self.static_weights)
            tables = self.contour_triangle, self.contour_weights
            contour = dynamic_contour_points(vertices, self.faces, head_rotation, *tables)
        points = {"ibug68": torch.cat([contour, static[:, 17:68]], 1), "ibug68_static": static[:, :68]}
        return {**points, "mediapipe478": static[:, 68:]} if self.params.mediapipe_landmarks else points

    def _fused_points(
        self, vertices: Float[Tensor, "B V 3"], head_rotation: Float[Tensor, "B 3 3"]
    ) -> tuple[Float[Tensor, "B _ 3"], Float[Tensor, "B 17 3"]]:
        same = torch.zeros(len(vertices), dtype=torch.long)
        static = self.faces[self.static_triangle][None], self.static_weights[None], same
        contour = self.faces[self.contour_triangle], self.contour_weights, fused_contour_row(head_rotation)
        return fused_points(vertices, *static), fused_points(vertices, *contour)

    def _block(self, parameters: FaceParameters, name: Block) -> Float[Tensor, "B D"]:
        """A block in the model's dtype, padded to its size."""
        size = self.blocks[name]
        value: Tensor | None = getattr(parameters, name)
        if value is None:
            return self.joint_template.new_zeros(len(parameters), size)
        if value.shape[1] > size:
            raise ValueError(f"the open head's {name} has {size} numbers, got {value.shape[1]}")
        value = value.to(self.joint_template)
        return value if value.shape[1] == size else torch.nn.functional.pad(value, (0, size - value.shape[1]))
