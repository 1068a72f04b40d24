"""Analysis by synthesis: fits any face model with landmarks to the points and pixels of a crop."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from emoca_core.errors import EmocaError, RecipeError
from emoca_core.geometry.rotations import matrix_to_rotation_vector, rotation_vector_to_matrix
from emoca_core.interfaces import (
    Block,
    CropRule,
    Encoder,
    FaceCrop,
    FaceModel,
    FaceParameters,
    Parts,
    PerspectiveCamera,
    Renderer,
)
from emoca_core.kernels.threads import for_each, one_thread
from emoca_core.registry.spec import ComponentParams, ImageSize
from emoca_plugins.encoders.landmark_fit import photometric
from emoca_plugins.encoders.landmark_fit.camera import (
    Intrinsics,
    View,
    assumed_intrinsics,
    place,
    scaled_orthographic_rotation,
)
from emoca_plugins.encoders.landmark_fit.objective import Directions, LandmarkObjective
from emoca_plugins.encoders.landmark_fit.points import Targets, match_points
from emoca_plugins.encoders.landmark_fit.solver import Sharing, levenberg_marquardt
from emoca_plugins.encoders.landmark_fit.unknowns import Part, Strength, Unknowns
from emoca_plugins.encoders.point_crops import UprightCrop

_BLOCK_OF: Mapping[Part, Block] = {
    "shape": "shape",
    "expression": "expression",
    "rotation": "global_pose",
    "jaw": "jaw_pose",
    "gaze": "eye_pose",
    "eyelids": "eyelids",
}
_KNOWN = ("shape", "albedo", "lighting")
_FRAME_STEPS = 3  # where the person is known, more change nothing
_PERSON_STEPS = 6  # and where many frames tell of the person
_PERSON_LANDMARKS = 32
_TOLD_TOGETHER = 1.6
"""As so many photos all frames of a person count against the prior on the shape: a landmarker errs in nearly the same
way in all of them. More bring the meshes nearer to the landmarks, and further from the truth."""
_FEW_FACES = 8
_FEW_FRAMES = 16
_PHOTO_ROUNDS, _PHOTO_STEPS = 3, 4
_FULLY_TURNED = math.radians(60)


@dataclass(frozen=True)
class _Inverted:
    """What the fit inverts. A plain object, so that the modules are not registered a second time."""

    face_model: FaceModel
    renderer: Renderer
    landmark_counts: Mapping[str, int]


class LandmarkFit(Encoder):
    """Fits camera, pose, identity, expression, jaw and gaze to landmarks, then light and albedo to the photo.

    Robust Levenberg-Marquardt over the whole batch at once; see ``docs/landmark-fit.md``. Only landmarks are required;
    blendshape scores, the crop's place in its photo and shared identities are used where they are known.

    Source: analysis by synthesis of morphable models, Blanz and Vetter, SIGGRAPH 1999; the objective is this project's.
    """

    class Params(ComponentParams):
        field_of_view: float = Field(default=53.13, gt=1, lt=170)
        """Assumed over the diagonal of the whole photo, degrees; 53.13 makes the focal length equal the diagonal."""
        minimum_distance: float = Field(default=0.6, ge=0.1)
        """Metres. A face that would be nearer is taken as a cut-out of a larger photo: the lens is lengthened."""
        iterations: int = Field(default=12, ge=1)
        """At most so many steps of the fit to landmarks."""
        refinements: int = Field(default=0, ge=0)
        """How often the fit is repeated with derivatives of the model at the face found. Those of the average face,
        found once, serve models that are linear but for their joints; others may need 1 or 2."""
        lens_sigma: float = Field(default=0.7, gt=0)
        """Expected distance of the logarithm of the focal length of a clip, which is found, from the assumed one's."""
        landmark_sigma: float = Field(default=0.03, gt=0)
        """Expected error of a landmark, as a fraction of the root mean square radius of the face."""
        pair_sigma: float = Field(default=0.015, gt=0)
        """Expected error of the gap between two lids or lips, the same fraction."""
        robust_limit: float = Field(default=3.0, gt=0)
        """Errors beyond so many sigmas count linearly (Huber)."""
        shape_sigma: float = Field(default=1.0, gt=0)
        """Expected size of identity coefficients, in the model's standard deviations."""
        expression_sigma: float = Field(default=1.0, gt=0)
        """Expected size of expression coefficients of models without ARKit names, in standard deviations."""
        activation_sigma: float = Field(default=0.2, gt=0)
        """Expected distance of ARKit activations from the landmarker's scores; without scores twice that from 0."""
        appearance: bool = True
        """Also fit light and albedo to the pixels; without it these blocks are absent."""
        albedo_sigma: float = Field(default=0.35, gt=0)
        """Expected size of albedo coefficients, in the model's standard deviations."""
        pixel_sigma: float = Field(default=0.06, gt=0)
        """Expected error of a pixel's colour, of 1."""
        photo_size: ImageSize = Field(default=128, ge=16)
        """Side of the picture that is compared with the rendering, pixels."""
        light_of_frames: bool = False
        """In clips, fit the light to every frame, which are decoded again for it; else one light to the best frames."""
        jaw: Literal["joint", "coefficients"] = "joint"
        """What opens the mouth of a model that has both: the jaw joint, or jawOpen, jawLeft and jawRight."""

    params: Params
    needs = frozenset({"landmarks", "blendshapes", "crop_to_image", "photo_size", "identity"})
    blocks: Mapping[Block, int] = {}
    crop_rule: CropRule = UprightCrop()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.frames_have_pixels = self.params.appearance and self.params.light_of_frames
        self.person_landmarks = _PERSON_LANDMARKS
        self._parts: _Inverted | None = None
        self._directions: dict[Hashable, Directions] = {}
        self._change: tuple[torch.device, photometric.AlbedoChange] | None = None
        self._points: tuple[torch.device, FaceModel] | None = None

    def attach(self, parts: Parts) -> None:
        face_model = parts.face_model
        counts = _landmark_counts(face_model)
        named = face_model.expression_names, self.params.jaw
        unknowns = Unknowns.of(face_model.blocks, *named)
        self._person = Unknowns.of(face_model.blocks, *named, lens=True)
        self._parts = _Inverted(face_model, parts.renderer, counts)
        self._unknowns, self._directions, self._change, self._points = unknowns, {}, None, None
        moving = {block: size for block, size in face_model.blocks.items() if block != "shape"}
        self._moving = Unknowns.of(moving, *named)
        blocks = {block: face_model.blocks[block] for part, block in _BLOCK_OF.items() if unknowns.has(part)}
        if self.params.appearance:
            if "albedo" in face_model.blocks:
                blocks["albedo"] = face_model.blocks["albedo"]
            blocks["lighting"] = 27
        self.blocks = {**blocks, "camera": 7}

    def forward(self, crop: FaceCrop) -> FaceParameters:
        p, parts = self.params, self._attached()
        with torch.inference_mode(False), torch.no_grad(), one_thread(len(crop) <= _FEW_FACES):
            crop = crop.map(_differentiable)
            parameters = self._fit_landmarks(crop, parts, self._unknowns, p.iterations)
            return self._with_appearance(crop, parameters, parts) if p.appearance else parameters

    def _attached(self) -> _Inverted:
        if self._parts is None:
            raise RecipeError("landmark_fit inverts a face model: call attach(parts) before forward.")
        return self._parts

    def encode_person(self, crop: FaceCrop, others: FaceCrop | None = None) -> FaceParameters:
        """Shape and lens of all frames and albedo of the crops jointly; the middle of their lights.

        How long the lens is, several frames tell together: of a head that is near, what is in front is larger. A
        landmarker errs in much the same way in all frames of a person: together they tell little more of the shape
        than one.
        """
        p, parts = self.params, self._attached()
        steps = p.iterations if others is None else min(p.iterations, _PERSON_STEPS)
        with torch.inference_mode(False), torch.no_grad(), one_thread(len(crop) <= _FEW_FACES):
            crop = _of_one(crop.map(_differentiable))
            every = crop if others is None else _of_one(FaceCrop.cat([crop, others.map(_differentiable)]))
            told = math.sqrt(min(1.0, _TOLD_TOGETHER / len(every)))
            unknowns = self._person if len(every) > 1 else self._unknowns
            code = self._fit_landmarks(every, parts, unknowns, steps, told=told)
            assert isinstance(code.camera, PerspectiveCamera)
            lens = code.camera.focal[:, :1] / assumed_intrinsics(every, p.field_of_view).focal[:, :1]
            if p.appearance:
                seen = code.map(lambda tensor: tensor[: len(crop)])
                code = self._with_appearance(crop, seen, parts)
        first = {name: block[:1] for name in ("shape", "albedo") if (block := getattr(code, name)) is not None}
        light = None if code.lighting is None else code.lighting.median(dim=0, keepdim=True).values
        shared = {"lens": lens.median(dim=0, keepdim=True).values}
        return FaceParameters(**first, lighting=light, others=shared, units={"lens": "raw"})

    def encode_frames(self, crop: FaceCrop, person: FaceParameters) -> FaceParameters:
        """Everything but the person, for all frames at once; smoothing joins them, so that none waits for another.

        Threads share the frames, not their tensors, which are too small to split.
        """
        if len(crop) < 2 * _FEW_FRAMES or crop.image.device.type != "cpu" or torch.get_num_threads() == 1:
            return self._encode_frames(crop, person)
        crop = replace(crop, keys=None)  # of all frames
        pieces = torch.arange(len(crop)).tensor_split(min(torch.get_num_threads(), len(crop) // _FEW_FRAMES))
        codes: list[FaceParameters | None] = [None] * len(pieces)

        def work(piece: int) -> None:
            codes[piece] = self._encode_frames(crop.map(lambda tensor: tensor[pieces[piece]]), person)

        for_each(len(pieces), work)
        return FaceParameters.cat([code for code in codes if code is not None])

    def _encode_frames(self, crop: FaceCrop, person: FaceParameters) -> FaceParameters:
        parts = self._attached()
        with torch.inference_mode(False), torch.no_grad(), one_thread():
            crop, person = crop.map(_differentiable), person.map(_differentiable)
            steps = min(self.params.iterations, _FRAME_STEPS)
            code = self._fit_landmarks(crop, parts, self._moving, steps, person)
            known = {
                n: None if (b := getattr(person, n)) is None else b.expand(len(crop), *b.shape[1:]) for n in _KNOWN
            }
            code = code.replace(**known)
            return self._with_light(crop, code, parts) if self.frames_have_pixels else code

    def _fit_landmarks(
        self,
        crop: FaceCrop,
        parts: _Inverted,
        unknowns: Unknowns,
        steps: int,
        person: FaceParameters | None = None,
        told: float = 1.0,
    ) -> FaceParameters:
        """The unknowns that explain the landmarks, with the shape and lens of a person where they are known.

        What is shared is held to what is expected by ``told`` times its sigma.
        """
        p, model = self.params, self._landmark_model(parts.face_model)
        shape, lens = (None, None) if person is None else (person.shape, person.others["lens"][:, 0])
        targets = match_points(crop, parts.landmark_counts)
        activation = p.activation_sigma * (2 if crop.blendshapes is None else 1)
        strength = Strength(told * p.shape_sigma, p.expression_sigma, activation, told * p.lens_sigma)
        prior = unknowns.prior(_scores(crop), strength)
        expected = targets.of(model(unknowns.parameters(_upright(prior.mean, unknowns), shape)).landmarks)
        nearest = 0.0 if unknowns.has("lens") else p.minimum_distance
        intrinsics, view = _first_view(crop, targets, expected, p.field_of_view, nearest, lens)
        objective = LandmarkObjective(
            model=model,
            unknowns=unknowns,
            targets=targets,
            weight=targets.weight * targets.contour_factor(_turned(view)),
            intrinsics=intrinsics,
            half_size=crop.image.new_tensor([crop.size[1] / 2, crop.size[0] / 2]),
            sigma=p.landmark_sigma,
            pair_sigma=p.pair_sigma,
            shape=shape,
        )
        x = unknowns.start(prior, view, p.minimum_distance)
        known = len(self._unknowns.directed) - len(unknowns.directed)
        directions = self._average_directions(objective).without_first(known)
        for refinement in range(p.refinements + 1):
            x = levenberg_marquardt(
                x,
                objective.residuals,
                partial(objective.jacobian, directions=directions if refinement == 0 else objective.directions(x)),
                unknowns.around(prior, x),
                Sharing.by_label(unknowns.shared, _identity(crop) if person is None else torch.arange(len(crop))),
                iterations=steps,
                robust_limit=p.robust_limit,
            )
        return unknowns.parameters(x, shape).replace(camera=objective.camera(x))

    def _with_appearance(self, crop: FaceCrop, parameters: FaceParameters, parts: _Inverted) -> FaceParameters:
        change = self._albedo_change(parts.face_model, crop.image)
        return self._lit(crop, parameters, parts, change, _identity(crop))

    def _with_light(self, crop: FaceCrop, parameters: FaceParameters, parts: _Inverted) -> FaceParameters:
        apart = torch.arange(len(crop), device=crop.image.device)
        return self._lit(crop, parameters, parts, photometric.KNOWN_ALBEDO, apart)

    def _lit(
        self,
        crop: FaceCrop,
        parameters: FaceParameters,
        parts: _Inverted,
        change: photometric.AlbedoChange,
        identity: Int[Tensor, "B"],
    ) -> FaceParameters:
        p = self.params
        return photometric.fit_appearance(
            crop,
            parameters,
            parts.face_model,
            parts.renderer,
            change,
            photometric.Strength(p.albedo_sigma, p.pixel_sigma, p.robust_limit),
            identity,
            size=p.photo_size,
            rounds=_PHOTO_ROUNDS,
            iterations=_PHOTO_STEPS,
        )

    def _average_directions(self, objective: LandmarkObjective) -> Directions:
        """Of the average face, for these landmark sets on this device; kept."""
        key = (objective.half_size.device, tuple((name, len(index)) for name, index in objective.targets.sources))
        if key not in self._directions:
            every = replace(objective, unknowns=self._unknowns, shape=None)
            self._directions[key] = every.directions(objective.half_size.new_zeros(1, self._unknowns.size))
        return self._directions[key]

    def _landmark_model(self, face_model: FaceModel) -> FaceModel:
        """Kept for each device."""
        if self._points is None or self._points[0] != face_model.faces.device:
            self._points = face_model.faces.device, face_model.for_landmarks()
        return self._points[1]

    def _albedo_change(self, face_model: FaceModel, like: Tensor) -> photometric.AlbedoChange:
        """Found at the first photo on each device, and kept."""
        if self._change is None or self._change[0] != like.device:
            self._change = like.device, photometric.albedo_change(face_model, like)
        return self._change[1]


def _differentiable(tensor: Tensor) -> Tensor:
    """Tensors made in inference mode take no part in derivatives."""
    return tensor.clone() if tensor.is_inference() else tensor


def _landmark_counts(face_model: FaceModel) -> dict[str, int]:
    """Landmark sets of a model and their sizes.

    Raises:
        RecipeError: A model that cannot be turned, or has no landmarks.
    """
    name = type(face_model).__name__
    if "global_pose" not in face_model.blocks:
        raise RecipeError(
            f"landmark_fit needs a face model with a global_pose; {name} has {sorted(face_model.blocks)}."
        )
    with torch.no_grad():
        still = torch.zeros(1, 3, device=face_model.faces.device)
        landmarks = face_model(FaceParameters(global_pose=still)).landmarks
    if "ibug68" not in landmarks:
        raise RecipeError(f"landmark_fit needs a face model with landmarks 'ibug68'; {name} has {sorted(landmarks)}.")
    return {key: int(points.shape[1]) for key, points in landmarks.items()}


def _first_view(
    crop: FaceCrop,
    targets: Targets,
    expected: Float[Tensor, "B N 3"],
    field_of_view: float,
    minimum_distance: float,
    lens: Float[Tensor, "1"] | None,
) -> tuple[Intrinsics, View]:
    """Closed-form camera and head pose of the expected, unrotated face; as many times as long a lens, if known."""
    intrinsics = assumed_intrinsics(crop, field_of_view)
    rotation, distance = scaled_orthographic_rotation(expected, intrinsics.normalised(targets.points), targets.weight)
    factor = (minimum_distance / distance).clamp_min(1.0) if lens is None else lens.expand(len(distance))
    intrinsics = intrinsics.lengthened(factor)
    turned = expected @ rotation.mT
    translation = place(turned, intrinsics.normalised(targets.points), targets.weight, distance * factor)
    if not bool(translation.isfinite().all()):
        raise EmocaError("landmark_fit: no head pose explains the landmarks; they are not those of a face.")
    return intrinsics, View(matrix_to_rotation_vector(rotation), translation)


def _turned(view: View) -> Float[Tensor, "B"]:
    """0 for a head that faces the camera, 1 for one in profile."""
    forwards = rotation_vector_to_matrix(view.rotation)[:, :, 2]
    return (torch.atan2(forwards[:, 0].abs(), forwards[:, 2]) / _FULLY_TURNED).clamp(0, 1)


def _upright(mean: Float[Tensor, "B P"], unknowns: Unknowns) -> Float[Tensor, "B P"]:
    x = mean.clone()
    x[:, unknowns.columns["rotation"]] = 0
    return x


def _scores(crop: FaceCrop) -> Float[Tensor, "B 52"]:
    """Blendshape scores, zero where unknown."""
    if crop.blendshapes is None:
        return crop.image.new_zeros(len(crop), 52)
    return crop.blendshapes.to(crop.image.dtype).nan_to_num(0.0).clamp(0, 1)


def _of_one(crop: FaceCrop) -> FaceCrop:
    """All faces are one person's."""
    return replace(crop, identity=torch.zeros(len(crop), dtype=torch.int64, device=crop.image.device))


def _identity(crop: FaceCrop) -> Int[Tensor, "B"]:
    """Label of each face's person; everybody is somebody else unless the crop says otherwise."""
    return torch.arange(len(crop), device=crop.image.device) if crop.identity is None else crop.identity
