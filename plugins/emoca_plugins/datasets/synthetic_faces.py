"""Rendered faces with known truth: endless, seeded, the same on every machine and in every worker."""

import math
from collections.abc import Sequence
from operator import itemgetter

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from emoca_core.errors import RecipeError
from emoca_core.interfaces import (
    BASIC_EXPRESSIONS,
    FaceDataset,
    FaceGeometry,
    FaceModel,
    FaceParameters,
    FaceSample,
    PerspectiveCamera,
    Renderer,
)
from emoca_core.registry.spec import DatasetLength, ImageSize, Seed, UsedComponent, uses
from emoca_core.rendering.face import render_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.datasets.synthetic_draws import normal, uniform_draws
from emoca_plugins.datasets.synthetic_emotions import Emotions, draw_emotions
from emoca_plugins.datasets.synthetic_photo import Photographer, Shot
from emoca_plugins.datasets.synthetic_scene import (
    backgrounds,
    camera_around,
    draw_lighting,
    hard_lighting,
    photograph,
)
from emoca_plugins.datasets.synthetic_variety import VarietyParams

GROUP = 4
"""Faces that are rendered together, filled up where fewer are wanted. Matrix products of another number of faces add in
another order, and pixels at an edge would differ by up to 5e-4."""
WIDE_POSE = (35.0, 75.0, 40.0)
"""Largest pitch, yaw and roll of wide poses, degrees."""


class SyntheticFaces(FaceDataset):
    """Faces of a model with ARKit expressions, in random identity, albedo, pose, light, framing and emotion.

    Face ``i`` depends on ``seed`` and ``i`` alone. A sample carries its class, valence and arousal, the whole code, the
    geometry, and the 68 landmarks. Identities repeat (``faces_per_identity``), so that exchange losses and folds by
    person have something to work with. ``DataLoader`` renders whole batches at once.

    Source: this project; emotions from ``emoca_core.vocabulary.arkit``, valence and arousal as in
    ``synthetic_emotions``.
    """

    class Params(VarietyParams):
        length: DatasetLength = Field(default=100_000, ge=1)
        """Number of faces; any number costs the same."""
        seed: Seed = 0
        """Another seed gives other faces."""
        image_size: ImageSize = Field(default=224, ge=16)
        """Side of the images, pixels."""
        labels: tuple[str, ...] = BASIC_EXPRESSIONS
        """Expression classes that are drawn, equally often."""
        face_model: UsedComponent = uses("face_model", "open_head", texture_size=256)
        """A face model with ARKit expressions."""
        renderer: UsedComponent = uses("renderer", "zbuffer")
        """What draws the faces."""
        identity_sigma: float = Field(default=0.75, ge=0)
        """Spread of identities, standard deviations of the model; the model's own 1.0 looks sculpted."""
        albedo_sigma: float = Field(default=0.8, ge=0)
        """Spread of albedo codes, standard deviations of the model."""
        faces_per_identity: int = Field(default=4, ge=1)
        """Consecutive faces that are the same person."""
        yaw_degrees: float = Field(default=30.0, ge=0, le=90)
        """Standard deviation of the head's turn; pitch has half of it, roll a third."""
        activation_noise: float = Field(default=0.08, ge=0)
        """Mean strength of random activations on top of the emotion, [0, 1]."""

    params: Params

    def __init__(self, params: Params, face_model: FaceModel, renderer: Renderer) -> None:
        super().__init__(params)
        self.face_model, self.renderer = face_model, renderer
        if self.face_model.expression_names != ARKIT_NAMES:
            raise RecipeError(f"synthetic_faces needs ARKit expressions; {self.params.face_model.uses} has none")
        self.photographer = Photographer(self.params, self.params.seed, face_model, renderer)
        self.expressions = torch.arange(self.params.length) % len(self.params.labels)

    def __len__(self) -> int:
        return self.params.length

    def identities(self) -> Int[Tensor, "N"]:
        return torch.arange(len(self)) // self.params.faces_per_identity

    def __getitem__(self, index: int) -> FaceSample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[FaceSample]:
        """Render several faces at once; ``DataLoader`` calls this."""
        samples: list[FaceSample] = []
        for start in range(0, len(indices), GROUP):
            group = list(indices[start : start + GROUP])
            samples += self._rendered(group + group[-1:] * (GROUP - len(group)))[: len(group)]
        return samples

    @torch.no_grad()
    def _rendered(self, indices: Sequence[int]) -> list[FaceSample]:
        parameters, emotions, geometry = self._pose(indices)
        assert isinstance(parameters.camera, PerspectiveCamera)
        landmarks = parameters.camera.project(geometry.landmarks["ibug68"])[..., :2]
        shot = self._shot(indices, parameters, geometry) if self.params.variety else None
        images = self._plain(indices, parameters, geometry) if shot is None else shot.image
        if shot is not None and self.params.hide_landmarks:
            landmarks = landmarks.masked_fill(shot.hidden[..., None], torch.nan)
        return [
            FaceSample(
                image=images[row],
                key=f"synthetic/{self.params.seed}/{index}",
                expression=int(self.expressions[index]),
                valence=float(emotions.valence[row]),
                arousal=float(emotions.arousal[row]),
                identity=f"synthetic-{self.params.seed}-{index // self.params.faces_per_identity}",
                landmarks=landmarks[row],
                mask=None if shot is None else shot.mask[row],
                parameters=parameters.map(itemgetter(slice(row, row + 1))),
                geometry=geometry.map(itemgetter(slice(row, row + 1))),
            )
            for row, index in enumerate(indices)
        ]

    def _plain(
        self, indices: Sequence[int], parameters: FaceParameters, geometry: FaceGeometry
    ) -> Float[Tensor, "B 3 S S"]:
        """Bare heads before a smooth field of colour, or before photos."""
        size, draws, albedo = self.params.image_size, self._draws(indices), self.face_model.albedo(parameters)
        assert parameters.camera is not None
        head = (self.renderer, self.face_model, geometry, parameters.camera, albedo, parameters.lighting)
        behind = backgrounds(draws[:, 700:800], size)
        if self.params.backgrounds:
            behind = self.photographer.background(indices, size)
        return photograph(render_face(*head, (size, size)), behind, draws[:, 800:810])

    def _shot(self, indices: Sequence[int], parameters: FaceParameters, geometry: FaceGeometry) -> Shot:
        people = [index // self.params.faces_per_identity for index in indices]
        return self.photographer(indices, people, parameters, geometry, self.params.image_size)

    def draw(self, indices: Sequence[int]) -> tuple[FaceParameters, Emotions]:
        """Codes and emotions of some faces."""
        return self._pose(indices)[:2]

    def _pose(self, indices: Sequence[int]) -> tuple[FaceParameters, Emotions, FaceGeometry]:
        draws, blocks = self._draws(indices), self.face_model.blocks
        people = self._draws([index // self.params.faces_per_identity for index in indices], stream=1)
        emotions = draw_emotions(
            self.expressions[list(indices)], draws[:, :200], self.params.labels, self.params.activation_noise
        )
        turn = normal(draws[:, 200:203])
        spread = math.radians(self.params.yaw_degrees) * turn.new_tensor([0.5, 1.0, 1 / 3])
        jaw = getattr(self.face_model, "jaw_open_angle", 0.36) * emotions.jaw_open
        still = torch.zeros_like(jaw)
        gaze = 0.12 * normal(draws[:, 203:205]) + torch.stack([emotions.gaze_pitch, still], 1)
        eyes = torch.cat([gaze, still[:, None]], 1).repeat(1, 2)
        parameters = FaceParameters(
            shape=self.params.identity_sigma * normal(people[:, : blocks["shape"]]),
            expression=emotions.activations,
            global_pose=self._turned(indices, (turn * spread).clamp(-1.3, 1.3)),
            jaw_pose=torch.stack([jaw, still, still], 1),
            eye_pose=eyes,
            albedo=self.params.albedo_sigma * normal(people[:, 500 : 500 + blocks["albedo"]]),
            lighting=hard_lighting(
                self.photographer.draws("light", indices),
                draw_lighting(draws[:, 300:340]),
                self.params.share("strong_light"),
            ),
            units={"expression": "activation"},
        )
        geometry: FaceGeometry = self.face_model(parameters)
        camera = camera_around(geometry.landmarks["ibug68"], draws[:, 340:350])
        return parameters.replace(camera=camera), emotions, geometry

    def _turned(self, indices: Sequence[int], pose: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        """The same poses, and wide ones for a share of the faces."""
        draws = self.photographer.draws("pose", indices)
        wide = draws.chance(self.params.share("wide_pose"))
        return torch.where(wide[:, None], draws.uniform(-1.0, 1.0, 3) * pose.new_tensor(WIDE_POSE).deg2rad(), pose)

    def _draws(self, indices: Sequence[int], stream: int = 0) -> Float[Tensor, "B D"]:
        return uniform_draws(self.params.seed, stream, indices)
