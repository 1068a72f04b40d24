"""The open head: a FLAME-like morphable head distilled from CC0 MakeHuman data, free for any use."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import Albedo, Block, FaceGeometry, FaceParameters
from emoca_core.registry.spec import ComponentParams, ImageSize
from emoca_core.vocabulary.arkit import emotion_prototype
from emoca_plugins.face_models.jointed import JointedHead
from emoca_plugins.face_models.open_head_albedo import OpenHeadAlbedo
from emoca_plugins.face_models.open_head_data import read_open_head_arrays


class OpenHead(JointedHead):
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
        jaw_open_angle: Radians.
        mirror: For every vertex its partner on the other side of the face.

    Source: distilled from MakeHuman's base mesh, targets and ARKit shapes (CC0) by `tools/open_head`; see
    `docs/open-head.md`.
    """

    class Params(ComponentParams):
        shape_size: int = 100
        """Identity modes used, 1 to 100; the first 50 explain 98 % of the variance."""
        mediapipe_landmarks: bool = True
        """Whether to evaluate the 478 MediaPipe points too."""
        texture_size: ImageSize = 512
        """Side of the albedo texture, pixels; 512 is what the data hold."""

    params: Params

    mirror: Tensor
    eye_looks: Tensor
    face_part: Tensor
    semantic_directions: Tensor
    semantic_means: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        data = read_open_head_arrays("open_head")
        count = self.params.shape_size
        if not 1 <= count <= len(data["shape_modes"]):
            raise ValueError(f"shape_size must be 1 to {len(data['shape_modes'])}, got {count}")
        self.expression_names = tuple(str(name) for name in data["expression_names"])
        self.jaw_open_angle = float(data["jaw_open_angle"].item())
        self.semantic_names = tuple(str(name) for name in data["semantic_names"])
        self.part_names = tuple(str(name) for name in data["part_names"])
        self._register_surface(data, count)
        self._embed_landmarks(data)
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
        modes = (data["vertices"][None], data["shape_modes"][:count], data["expression_modes"], corrective)
        joints = data["joints"], data["joint_modes"][:count], data["joint_parents"], data["skinning_weights"]
        self._register_skeleton(np.concatenate(modes).astype(np.float32), *joints)
        for name in ("faces", "uv", "uv_faces", "face_part", "mirror", "semantic_means"):
            self._constant(name, data[name])
        masks = np.unpackbits(data["masks"], axis=1)[:, : len(data["vertices"])].astype(bool)
        self._register_masks({str(name): mask for name, mask in zip(data["mask_names"], masks, strict=True)})
        self._constant("eye_looks", np.radians(data["eye_look_degrees"]))
        self._constant("semantic_directions", data["semantic_directions"][:, :count])

    def _embed_landmarks(self, data: Mapping[str, np.ndarray]) -> None:
        names = ("contour", "ibug68", "mediapipe478") if self.params.mediapipe_landmarks else ("contour", "ibug68")
        tables = {name: (data[f"{name}_triangle"], data[f"{name}_weights"]) for name in names}
        self._register_landmarks(tables.pop("contour"), tables)

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        shape, rotations = self._block(parameters, "shape"), self._rotations(parameters)
        opening = self._block(parameters, "jaw_pose")[:, :1].sin()
        others = torch.cat([self._block(parameters, "expression"), opening], 1)
        vertices = self._posed(shape, others, rotations, self._joints(shape))
        sets = self._fixed_landmarks(vertices)
        static = sets.pop("ibug68")
        dynamic = torch.cat([self._contour(vertices, rotations), static[:, 17:]], 1)
        return FaceGeometry(vertices, {"ibug68": dynamic, "ibug68_static": static, **sets})

    def albedo(self, parameters: FaceParameters) -> Albedo:
        """Texture of each face for its ``albedo`` block (names and units: ``albedo_names``)."""
        return Albedo(texture=self.appearance(self._block(parameters, "albedo")))

    def albedo_changes(self) -> Iterator[Albedo]:
        """Derivatives of the texture at the average code, for each number."""
        return (Albedo(texture=change[None]) for change in self.appearance.changes())

    def joints(self, parameters: FaceParameters) -> Float[Tensor, "B 5 3"]:
        """Rest positions of root, neck, jaw, left eye, right eye for the ``shape`` block, metres."""
        return self._joints(self._block(parameters, "shape"))

    def gaze_of_expression(self, expression: Float[Tensor, "B 52"]) -> Float[Tensor, "B 6"]:
        """Eye rotations (an ``eye_pose``) that the eyeLook activations of an expression stand for, radians."""
        left = torch.tensor([name.startswith("eyeLook") and name.endswith("Left") for name in self.expression_names])
        looks = self.eye_looks.to(expression)
        sides = [expression[:, keep] @ looks[keep] for keep in (left, ~left)]
        still = torch.zeros_like(expression[:, :1])
        return torch.cat([x for side in sides for x in (side, still)], 1)

    def emotion(self, name: str, intensity: float = 1.0) -> FaceParameters:
        """Expression, jaw and gaze of ``emotion_prototype(name, intensity)``, as a batch of one.

        Raises:
            UnknownNameError: There is no such prototype.
        """
        prototype = emotion_prototype(name, intensity)
        pitch = prototype.gaze_pitch
        return FaceParameters(
            expression=self.joint_mean.new_tensor([prototype.vector()]),
            jaw_pose=self.joint_mean.new_tensor([[prototype.jaw_open * self.jaw_open_angle, 0.0, 0.0]]),
            eye_pose=self.joint_mean.new_tensor([[pitch, 0.0, 0.0, pitch, 0.0, 0.0]]),
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
