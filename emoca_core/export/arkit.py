"""The 52 ARKit values of a captured face, and the person's own targets that they drive.

The values answer two questions at once: how does any ARKit head make this expression, and with which weights do the
person's own targets give the captured mesh. A target is what this face does at 1: eyeLook* moves the lids and turns the
eyeball, jawOpen, jawLeft and jawRight turn the jaw joint, and eyeBlink* closes this eye until its lids touch. Viewers
add targets up linearly while joints turn, so a residual stays; it is reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.bounded_minimum import bounded_minimum
from emoca_core.interfaces import Block, ExpressionRig, FaceGeometry, FaceModel, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import IBUG68, IBUG68_EYELID_PAIRS

EXPRESSIVE: tuple[Block, ...] = ("expression", "jaw_pose", "eye_pose", "eyelids")
"""Blocks that are zero in the neutral face of a person."""

SIDES = ("Left", "Right")
_JAW: Mapping[str, tuple[float, float, float]] = {
    "jawOpen": (0.3, 0.0, 0.0),
    "jawLeft": (0.0, 0.1, 0.0),
    "jawRight": (0.0, -0.1, 0.0),
}
"""What a jaw joint does (jawForward is a shift): a rotation vector of about the size at 1, radians."""
_JAW_STEPS = 3
"""How often that size is corrected: rotations are not quite linear."""
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


@runtime_checkable
class GazeModel(Protocol):
    """A face model that leaves the turning of the eyeballs to ``eye_pose``."""

    def gaze_of_expression(self, expression: Float[Tensor, "B 52"]) -> Float[Tensor, "B 6"]:
        """Eye rotations that the eyeLook activations of an expression stand for, radians."""


def has_arkit_names(face_model: FaceModel) -> bool:
    """Whether the 52 ARKit activations are among the expression coefficients of a model."""
    return set(ARKIT_NAMES) <= set(face_model.expression_names)


def arkit_rig(face_model: FaceModel, parameters: FaceParameters, captured: FaceGeometry) -> ExpressionRig:
    """The person's neutral face, the 52 ARKit targets, and the values in [0, 1] that give the captured face.

    Bounded least squares over the displacement of all vertices. An eye that is closed is a blink: from a closure of 0.5
    to one of 0.75, a growing share of the closure is a lower bound of eyeBlink, and the hidden eyeball counts less.

    Args:
        face_model: A model for which ``has_arkit_names`` holds.
        parameters: The code of one face, on the model's device.
        captured: The same face, posed.
    """
    code, count = _at_rest(parameters), len(ARKIT_NAMES)
    posed = _arkit_poses(face_model, code)
    vertices, points = _numpy(posed.vertices), _numpy(posed.landmarks["ibug68"])
    neutral = vertices[0]
    targets, eyes = np.split(vertices[1:] - neutral, [count])
    expected = _expected(face_model, parameters)
    lower, upper, weight = np.zeros(count), np.ones(count), np.ones(len(neutral))
    upper[ARKIT_NAMES.index(_NEVER_MEASURED)] = 0.0
    moved = _numpy(captured.vertices)[0] - neutral
    for side, eye in zip(SIDES, eyes, strict=True):
        blink, wide = (ARKIT_NAMES.index(f"eye{name}{side}") for name in ("Blink", "Wide"))
        scale, closure = _lids(side, points[0], points[1 + blink], _numpy(captured.landmarks["ibug68"])[0])
        share = _smooth_step((closure - _HALF_CLOSED) / (_CLOSED - _HALF_CLOSED))
        targets[blink] *= scale
        expected[blink] /= scale
        lower[blink], upper[wide] = max(closure, _CLOSED_BLINK) * share, 1 - share
        ball = np.abs(eye).max(axis=1) > _STILL
        weight[ball] = 1 - (1 - _HIDDEN) * share
        for looks in _OPPOSITE_LOOKS:  # where the eyeball turns
            first, second = (ARKIT_NAMES.index(f"eye{look}{side}") for look in looks)
            turn = ((targets[first] - targets[second]) * moved)[ball if ball.any() else ...].sum()
            upper[second if turn > 0 else first] = 0.0
    solve = _LeastSquares.of(targets * weight[:, None], moved * weight[:, None], expected)
    values = solve(lower, upper)
    for pair in _OPPOSITES:
        first, second = map(ARKIT_NAMES.index, pair)
        weaker = first if values[first] < values[second] else second
        upper[weaker] = lower[weaker]
    values = solve(lower, upper)
    return ExpressionRig(neutral, targets, dict(zip(ARKIT_NAMES, values.tolist(), strict=True)), "arkit")


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
    vertices = _numpy(_posed(face_model, _at_rest(parameters), expression=units).vertices)
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


def _at_rest(parameters: FaceParameters) -> FaceParameters:
    """The same person with the same head pose, without expression, and without what does not move vertices."""
    still = {name: torch.zeros_like(block) for name in EXPRESSIVE if (block := getattr(parameters, name)) is not None}
    return parameters.replace(**still, camera=None, lighting=None, detail=None, albedo=None)


def _posed(model: FaceModel, code: FaceParameters, **blocks: Float[Tensor, "B _"]) -> FaceGeometry:
    """One face for each row of the blocks; blocks that the model does not have are left out."""
    device = model.faces.device
    count = len(next(iter(blocks.values())))
    known = {name: block.to(device) for name, block in blocks.items() if name in model.blocks}
    with torch.no_grad():
        geometry: FaceGeometry = model(code.map(lambda t: t.expand(count, *t.shape[1:])).replace(**known))
    return geometry


def _arkit_poses(model: FaceModel, code: FaceParameters) -> FaceGeometry:
    """At rest; each ARKit expression, with joints where these do it; the left and the right eye turned."""
    rows, names = [1 + ARKIT_NAMES.index(name) for name in _JAW], list(model.expression_names)
    total = len(ARKIT_NAMES) + 3
    expression, jaw, eyes = torch.zeros(total, len(names)), torch.zeros(total, 3), torch.zeros(total, 6)
    expression[1:-2] = torch.eye(len(names))[[names.index(name) for name in ARKIT_NAMES]]
    if "jaw_pose" in model.blocks:
        jaw[rows], expression[rows] = _jaw_poses(model), 0.0
    if isinstance(model, GazeModel):
        eyes = model.gaze_of_expression(expression.to(model.faces.device)).cpu()
        eyes[-2, 1] = eyes[-1, 4] = 0.1
    return _posed(model, code, expression=expression, jaw_pose=jaw, eye_pose=eyes)


def _expected(model: FaceModel, parameters: FaceParameters) -> Float[ndarray, "52"]:
    """The values that the code itself names; NaN for those that jaw and eyes share in."""
    code = np.zeros(len(model.expression_names))
    if parameters.expression is not None:
        code[: parameters.expression.shape[1]] = _numpy(parameters.expression)[0]
    named = dict(zip(model.expression_names, np.clip(code, 0, 1).tolist(), strict=True))
    joints = {*_JAW, *(name for name in ARKIT_NAMES if name.startswith("eyeLook"))}
    return np.array([np.nan if name in joints else named[name] for name in ARKIT_NAMES])


def _jaw_poses(model: FaceModel) -> Float[Tensor, "J 3"]:
    """Rotations of the jaw joint that come closest to the model's own jaw expressions at 1, on its average face.

    Found once for each model.
    """
    if model not in _JAW_POSES_OF:
        names = list(model.expression_names)
        poses = torch.zeros(2 * len(_JAW) + 1, 3)
        expression = torch.zeros(len(poses), len(names))
        expression[1 + len(_JAW) :] = torch.eye(len(names))[[names.index(name) for name in _JAW]]
        poses[1 : 1 + len(_JAW)] = torch.tensor(list(_JAW.values()))
        for _ in range(_JAW_STEPS):
            vertices = _posed(model, FaceParameters(), expression=expression, jaw_pose=poses).vertices.double().cpu()
            turned, shown = (vertices[1:] - vertices[0]).flatten(1).chunk(2)
            poses[1 : 1 + len(_JAW)] *= ((turned * shown).sum(1) / turned.square().sum(1))[:, None]
        _JAW_POSES_OF[model] = poses[1 : 1 + len(_JAW)]
    return _JAW_POSES_OF[model]


_JAW_POSES_OF: WeakKeyDictionary[FaceModel, Tensor] = WeakKeyDictionary()


def _lids(
    side: str, rest: Float[ndarray, "68 3"], blink: Float[ndarray, "68 3"], captured: Float[ndarray, "68 3"]
) -> tuple[float, float]:
    """By how much the model's blink has to be scaled to close the eye, and how far the captured eye is closed."""
    pairs = IBUG68_EYELID_PAIRS[np.isin(IBUG68_EYELID_PAIRS[:, 0], IBUG68[f"{side.lower()}_eye"])]
    gaps = [(points[pairs[:, 0]] - points[pairs[:, 1]]).mean(axis=0) for points in (rest, blink, captured)]
    opening = float(np.linalg.norm(gaps[0]))
    at_blink, at_capture = (float(gap @ gaps[0]) / max(opening, _STILL) for gap in gaps[1:])  # signed: lids may cross
    travel = (1 - _CONTACT) * opening
    if opening - at_blink <= _STILL:
        return 1.0, 0.0
    scale = np.clip(travel / (opening - at_blink), *_BLINK_SCALE)
    return float(scale), float(np.clip((opening - at_capture) / max(travel, _STILL), 0, 1))


@dataclass(frozen=True)
class _LeastSquares:
    """Weights with which targets add up to a movement, reduced from all coordinates to as many rows as targets."""

    normal: Float[ndarray, "N N"]
    right: Float[ndarray, "N"]

    @classmethod
    def of(
        cls, targets: Float[ndarray, "N V 3"], moved: Float[ndarray, "V 3"], expected: Float[ndarray, "N"]
    ) -> "_LeastSquares":
        """The problem, with a tie to ``expected`` where that is a number."""
        columns = targets.reshape(len(targets), -1)
        normal, tie = columns @ columns.T, np.where(np.isnan(expected), 0.0, len(moved) * _LOYALTY_M**2)
        normal += np.diag(tie + _DAMPING * normal.diagonal() + _STILL**2)
        return cls(normal, columns @ moved.ravel() + tie * np.nan_to_num(expected))

    def __call__(self, lower: Float[ndarray, "N"], upper: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
        """The best weights within bounds."""
        return bounded_minimum(self.normal, self.right, lower, upper).round(_DECIMALS)


def _smooth_step(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def _numpy(tensor: Float[Tensor, "*shape"]) -> Float[ndarray, "*shape"]:
    return tensor.detach().double().cpu().numpy()
