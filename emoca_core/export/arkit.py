"""The 52 ARKit values of a captured face, and the person's own targets that they drive.

The values answer two questions at once: how does any ARKit head make this expression, and with which weights do the
person's own targets give the captured mesh. A target is what this face does at 1: eyeLook* moves the lids and turns the
eyeball, jawOpen, jawLeft and jawRight turn the jaw joint, and eyeBlink* closes this eye until its lids touch. Viewers
add targets up linearly while joints turn, so a residual stays; it is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from emoca_core.export.arkit_joints import JAW, GazeModel, asked_values, jaw_poses
from emoca_core.geometry.bounded_minimum import bounded_minimum
from emoca_core.interfaces import Block, ExpressionRig, FaceGeometry, FaceModel, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import IBUG68, IBUG68_EYELID_PAIRS

EXPRESSIVE: tuple[Block, ...] = ("expression", "jaw_pose", "eye_pose", "eyelids")
"""Blocks that are zero in the neutral face of a person."""

SIDES = ("Left", "Right")
_OPPOSITES = (
    ("eyeBlinkLeft", "eyeWideLeft"),
    ("eyeBlinkRight", "eyeWideRight"),
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
)
_OPPOSITE_LOOKS = (("LookIn", "LookOut"), ("LookUp", "LookDown"))
"""Never both: they would undo each other on this face, and do something else on another."""
_NEVER_MEASURED = "tongueOut"
"""No landmarker sees the tongue, so a fit would only use it to explain what is something else."""

_CONTACT = 0.06
"""Gap of the lids' landmarks at which the lids touch, of the gap at rest: the landmarks lie on the outer edges."""
_BLINK_SCALE = (0.5, 1.5)
"""Within which a model's eyeBlink is scaled to close an eye; beyond, its landmarks do not tell."""
_HALF_CLOSED, _CLOSED = 0.5, 0.75
"""Closure from which on a narrowed eye is read as a blink, and from which on as nothing else."""
_CLOSED_BLINK = 0.8
"""The least eyeBlink of a closed eye."""
_FARTHEST = 2.0
"""By how much a target reaches further on the face of a code that asks for more than 1."""
_HIDDEN = 0.5
"""Weight of the eyeball behind closed lids: enough to choose a gaze, too little to open the lids for it."""

_LOYALTY_M = 1e-3
"""A value that departs by 1 from the code costs as much as vertices that are off by so much, metres: so lips do not
explain the arc of a turning jaw. Values that joints share in have no such tie."""
_DAMPING = 1e-6
"""Of the normal equations, relative: keeps them regular, no more."""
_DECIMALS = 6
_STILL = 1e-6
"""Metres; less is not a movement."""


def has_arkit_names(face_model: FaceModel) -> bool:
    """Whether the 52 ARKit activations are among the expression coefficients of a model."""
    return set(ARKIT_NAMES) <= set(face_model.expression_names)


def arkit_rig(face_model: FaceModel, parameters: FaceParameters, captured: FaceGeometry) -> ExpressionRig:
    """The person's neutral face, the 52 ARKit targets, and the values in [0, 1] that give the captured face.

    Bounded least squares over the displacement of all vertices. Where the code goes beyond 1, the value is 1 and the
    target of this face goes as far, up to twice what 1 stands for. An eye that is closed is a blink: from a closure of
    0.5 to one of 0.75, a growing share of the closure is a lower bound of eyeBlink, and the hidden eyeball counts less.

    Args:
        face_model: A model for which ``has_arkit_names`` holds.
        parameters: The code of one face, on the model's device.
        captured: The same face, posed.
    """
    reach = asked_values(face_model, parameters)[0].clip(1, _FARTHEST)
    solver = ArkitSolver.of(face_model, parameters, reach)
    landmarks = _numpy(captured.landmarks["ibug68"])
    values = solver(_numpy(captured.vertices) - solver.neutral, landmarks, parameters)[0]
    weights = dict(zip(ARKIT_NAMES, values.tolist(), strict=True))
    return ExpressionRig(solver.neutral, solver.targets, weights, "arkit")


@dataclass(frozen=True)
class ArkitSolver:
    """What does not change while one person is captured: the targets, and all that can be computed of them before.

    Attributes:
        face_model: A model for which ``has_arkit_names`` holds.
        neutral: The person at rest, metres.
        targets: What each of ``ARKIT_NAMES`` adds at 1, metres.
        reach: How far they go, in units of what 1 stands for.
        products: Scalar products of the targets.
        eyes: The left and the right one.
    """

    face_model: FaceModel
    neutral: Float[ndarray, "V 3"]
    targets: Float[ndarray, "52 V 3"]
    reach: Float[ndarray, "52"]
    products: Float[ndarray, "52 52"]
    eyes: tuple["_Eye", "_Eye"]

    @classmethod
    def of(
        cls, face_model: FaceModel, person: FaceParameters, reach: Float[ndarray, "52"] | None = None
    ) -> "ArkitSolver":
        """The solver for a person, in the axes of their ``global_pose`` and ``neck_pose``.

        Args:
            face_model: A model for which ``has_arkit_names`` holds.
            person: A batch of one.
            reach: How far the targets go, in units of what 1 stands for; but lids touch at 1.
        """
        reach = np.ones(len(ARKIT_NAMES)) if reach is None else reach.copy()
        reach[[ARKIT_NAMES.index(f"eyeBlink{side}") for side in SIDES]] = 1.0
        posed = _arkit_poses(face_model, at_rest(person), reach)
        vertices, points = _numpy(posed.vertices), _numpy(posed.landmarks["ibug68"])
        neutral = vertices[0]
        targets, turned = np.split(vertices[1:] - neutral, [len(ARKIT_NAMES)])
        lids = [_Lids.of(side, points) for side in SIDES]
        for one in lids:
            targets[one.blink] *= one.scale
        left, right = (_Eye.of(one, targets, eye) for one, eye in zip(lids, turned, strict=True))
        columns = targets.reshape(len(targets), -1)
        return cls(face_model, neutral, targets, reach, columns @ columns.T, (left, right))

    def __call__(
        self, moved: Float[ndarray, "N V 3"], landmarks: Float[ndarray, "N 68 3"], parameters: FaceParameters
    ) -> Float[ndarray, "N 52"]:
        """The values of some captures.

        Args:
            moved: What is added to ``neutral``, in its axes; metres.
            landmarks: The captured ones, in the same axes.
            parameters: Their codes.
        """
        expected = self._expected(parameters)
        lower, upper = np.zeros_like(expected), np.ones_like(expected)
        upper[:, ARKIT_NAMES.index(_NEVER_MEASURED)] = 0.0
        right = _products(moved, self.targets)
        matrix = np.repeat(self.products[None], len(moved), axis=0)
        for eye in self.eyes:
            blink, wide = eye.lids.blink, ARKIT_NAMES.index(f"eyeWide{eye.lids.side}")
            closure = eye.lids.closure(landmarks)
            share = _smooth_step((closure - _HALF_CLOSED) / (_CLOSED - _HALF_CLOSED))
            expected[:, blink] /= eye.lids.scale
            lower[:, blink], upper[:, wide] = np.maximum(closure, _CLOSED_BLINK) * share, 1 - share
            ball = moved[:, eye.ball].reshape(len(moved), -1)
            for (first, second), turn in zip(eye.looks, eye.turns @ ball.T, strict=True):  # where the eyeball turns
                upper[np.arange(len(moved)), np.where(turn > 0, second, first)] = 0.0
            hidden = 1 - (1 - (1 - _HIDDEN) * share) ** 2
            matrix -= hidden[:, None, None] * eye.products
            right -= hidden[:, None] * _products(ball, eye.columns)
        return self._solve(matrix, right, expected, lower, upper)

    def _expected(self, parameters: FaceParameters) -> Float[ndarray, "N 52"]:
        """The values that the codes themselves name; NaN for those that jaw and eyes share in."""
        named = (asked_values(self.face_model, parameters) / self.reach).clip(0, 1)
        named[:, [name in JAW or name.startswith("eyeLook") for name in ARKIT_NAMES]] = np.nan
        return np.asarray(named)

    def _solve(
        self,
        matrix: Float[ndarray, "N 52 52"],
        right: Float[ndarray, "N 52"],
        expected: Float[ndarray, "N 52"],
        lower: Float[ndarray, "N 52"],
        upper: Float[ndarray, "N 52"],
    ) -> Float[ndarray, "N 52"]:
        """The best values within bounds, tied to what is expected; then again without the weaker ones of opposites."""
        tie = np.where(np.isnan(expected), 0.0, len(self.neutral) * _LOYALTY_M**2)
        diagonal = np.arange(len(ARKIT_NAMES))
        matrix[:, diagonal, diagonal] += tie + _DAMPING * matrix[:, diagonal, diagonal] + _STILL**2
        right = right + tie * np.nan_to_num(expected)
        values = bounded_minimum(matrix, right, lower, upper)
        rows = np.arange(len(values))
        for pair in _OPPOSITES:
            first, second = map(ARKIT_NAMES.index, pair)
            weaker = np.where(values[:, first] < values[:, second], first, second)
            upper[rows, weaker] = lower[rows, weaker]
        values = bounded_minimum(matrix, right, lower, upper)
        return np.asarray(np.round(np.clip(values, lower, upper), _DECIMALS))


def code_rig(face_model: FaceModel, parameters: FaceParameters, captured: FaceGeometry) -> ExpressionRig | None:
    """The person's neutral face and what leads to the captured one, for models without the ARKit names.

    One target for each named coefficient, weighted as in the code, and one named ``expression`` (weight 1) for all that
    these leave: coefficients without names, jaw, eyes and lids.

    Returns:
        ``None`` for a face that is neutral.
    """
    names = face_model.expression_names
    size = face_model.blocks.get("expression", 0)
    units = torch.cat([torch.zeros(1, size), torch.eye(size)[: len(names)]])
    vertices = _numpy(posed_with(face_model, at_rest(parameters), expression=units).vertices)
    neutral, targets = vertices[0], vertices[1:] - vertices[0]
    values = np.zeros(len(names))
    if names and parameters.expression is not None:
        values[: parameters.expression.shape[1]] = _numpy(parameters.expression)[0]
    rest = _numpy(captured.vertices)[0] - neutral - np.tensordot(values, targets, axes=1)
    weights = dict(zip(names, values.tolist(), strict=True))
    if np.abs(rest).max() > _STILL:
        weights["expression"], targets = 1.0, np.concatenate([targets, rest[None]])
    return ExpressionRig(neutral, targets, weights, "code") if weights else None


def residual_mm(rig: ExpressionRig, vertices: Float[ndarray, "V 3"]) -> dict[str, float]:
    """How far the weighted targets stay away from the captured mesh: mean and largest distance, millimetres."""
    distance = 1000 * np.linalg.norm(rig.posed() - vertices, axis=1)
    return {"mean": round(float(distance.mean()), 4), "max": round(float(distance.max()), 4)}


def at_rest(parameters: FaceParameters) -> FaceParameters:
    """The same person with the same head pose, without expression, and without what does not move vertices."""
    still = {name: torch.zeros_like(block) for name in EXPRESSIVE if (block := getattr(parameters, name)) is not None}
    return parameters.replace(**still, camera=None, lighting=None, detail=None, albedo=None)


def posed_with(model: FaceModel, code: FaceParameters, **blocks: Float[Tensor, "B _"]) -> FaceGeometry:
    """One face for each row of the blocks; blocks that the model does not have are left out."""
    device = model.faces.device
    count = len(next(iter(blocks.values())))
    known = {name: block.to(device) for name, block in blocks.items() if name in model.blocks}
    with torch.no_grad():
        geometry: FaceGeometry = model(code.map(lambda t: t.expand(count, *t.shape[1:])).replace(**known))
    return geometry


def _arkit_poses(model: FaceModel, code: FaceParameters, reach: Float[ndarray, "52"]) -> FaceGeometry:
    """At rest; each ARKit expression, with joints where these do it; the left and the right eye turned."""
    rows, names = [1 + ARKIT_NAMES.index(name) for name in JAW], list(model.expression_names)
    total, far = len(ARKIT_NAMES) + 3, torch.from_numpy(reach).float()[:, None]
    expression, jaw, eyes = torch.zeros(total, len(names)), torch.zeros(total, 3), torch.zeros(total, 6)
    expression[1:-2] = torch.eye(len(names))[[names.index(name) for name in ARKIT_NAMES]]
    if "jaw_pose" in model.blocks:
        jaw[rows], expression[rows] = far[[row - 1 for row in rows]] * jaw_poses(model), 0.0
    if isinstance(model, GazeModel):
        eyes = model.gaze_of_expression(expression.to(model.faces.device)).cpu()
        eyes[1:-2] *= far
        far = torch.where(eyes[1:-2].any(1, keepdim=True), 1.0, far)  # of a look only the eyeball
        eyes[-2, 1] = eyes[-1, 4] = 0.1
    expression[1:-2] *= far
    return posed_with(model, code, expression=expression, jaw_pose=jaw, eye_pose=eyes)


@dataclass(frozen=True)
class _Lids:
    """How far an eye is open.

    Attributes:
        side: Of ``SIDES``.
        rest: From the lower to the upper lid at rest, metres.
        closes: Whether the model's blink narrows the eye.
        scale: Of the model's blink, so that it closes the eye.
    """

    side: str
    rest: Float[ndarray, "3"]
    closes: bool
    scale: float

    @classmethod
    def of(cls, side: str, posed: Float[ndarray, "_ 68 3"]) -> "_Lids":
        """From the landmarks at rest, and of each ARKit expression."""
        rest, blink = _opening(side, posed[[0, 1 + ARKIT_NAMES.index(f"eyeBlink{side}")]])
        opening = float(np.linalg.norm(rest))
        narrowed = opening - float(blink @ rest) / max(opening, _STILL)  # signed: lids may cross
        scale = float(np.clip((1 - _CONTACT) * opening / max(narrowed, _STILL), *_BLINK_SCALE))
        return cls(side, rest, narrowed > _STILL, scale if narrowed > _STILL else 1.0)

    @property
    def blink(self) -> int:
        """Number of its eyeBlink."""
        return ARKIT_NAMES.index(f"eyeBlink{self.side}")

    def closure(self, landmarks: Float[ndarray, "N 68 3"]) -> Float[ndarray, "N"]:
        """How far it is closed in captures: 0 at rest, 1 where the lids touch; 0 where the model cannot close it."""
        opening = float(np.linalg.norm(self.rest))
        left = _opening(self.side, landmarks) @ self.rest / max(opening, _STILL)
        share = np.clip((opening - left) / max((1 - _CONTACT) * opening, _STILL), 0, 1)
        return np.asarray(share * self.closes)


@dataclass(frozen=True)
class _Eye:
    """What the rules of one eye need.

    Attributes:
        lids: Of this eye.
        ball: Which vertices turn with the eyeball; all where none do.
        looks: Numbers of opposite eyeLook values.
        turns: The difference of their targets at the ball.
        columns: All targets at the eyeball; zero where none turns.
        products: Their scalar products.
    """

    lids: _Lids
    ball: Bool[ndarray, "V"]
    looks: Sequence[tuple[int, int]]
    turns: Float[ndarray, "2 _"]
    columns: Float[ndarray, "52 _"]
    products: Float[ndarray, "52 52"]

    @classmethod
    def of(cls, lids: _Lids, targets: Float[ndarray, "52 V 3"], turned: Float[ndarray, "V 3"]) -> "_Eye":
        """The left or the right eye.

        Args:
            lids: Of this eye.
            targets: What each expression adds.
            turned: What the turning of the eyeball adds.
        """
        turns = np.abs(turned).max(axis=1) > _STILL
        ball = turns if turns.any() else np.ones_like(turns)
        pairs = [[ARKIT_NAMES.index(f"eye{look}{lids.side}") for look in looks] for looks in _OPPOSITE_LOOKS]
        at_ball = targets[:, ball].reshape(len(targets), -1)
        columns = at_ball if turns.any() else np.zeros_like(at_ball)
        differences = np.stack([at_ball[first] - at_ball[second] for first, second in pairs])
        return cls(lids, ball, [(first, second) for first, second in pairs], differences, columns, columns @ columns.T)


def _opening(side: str, points: Float[ndarray, "N 68 3"]) -> Float[ndarray, "N 3"]:
    """From the lower to the upper lid."""
    pairs = IBUG68_EYELID_PAIRS[np.isin(IBUG68_EYELID_PAIRS[:, 0], IBUG68[f"{side.lower()}_eye"])]
    return np.asarray((points[:, pairs[:, 0]] - points[:, pairs[:, 1]]).mean(axis=1))


def _products(moved: Float[ndarray, "N *D"], targets: Float[ndarray, "T *D"]) -> Float[ndarray, "N T"]:
    """Scalar products, by torch, which uses as many threads as it is told to."""
    one, other = (torch.from_numpy(np.ascontiguousarray(each)).double().flatten(1) for each in (moved, targets))
    return np.asarray(one @ other.mT)


def _smooth_step(x: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _numpy(tensor: Float[Tensor, "*shape"]) -> Float[ndarray, "*shape"]:
    return tensor.detach().double().cpu().numpy()
