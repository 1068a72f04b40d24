"""The unknowns of the fit as one vector per face: what its columns mean, where they start, what is expected of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.interfaces import Block, FaceParameters
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.landmark_fit.camera import View
from emoca_plugins.encoders.landmark_fit.solver import Prior

JAW_NAMES = ("jawOpen", "jawLeft", "jawRight")
"""Coefficients that do what a jaw joint does; a fit uses one or the other."""
JAW_OPEN_ANGLE = math.radians(20.7)
"""Rotation that equals jawOpen = 1 in the open head; only what is expected of a jaw joint depends on it."""
GAZE_RANGE = math.radians(30)
"""Rotation of an eye at eyeLook* = 1; only the expectation in the absence of iris points depends on it."""

_FREE = 1e-2  # precision of unknowns that only the image decides (rotation, place): keeps the system regular, no more
_JAW_LOOSENESS = 1.5  # of the opening of the jaw, which landmarks show well, against other activations
_JAW_SIDE_SIGMA, _JAW_LIMIT = (0.04, 0.02), (0.75, 0.15, 0.08)
_GAZE_SIGMA, _GAZE_LIMIT = (0.15, 0.20, 0.02), (0.6, 0.7, 0.1)
Part = Literal["lens", "shape", "rotation", "place", "expression", "jaw", "gaze", "eyelids"]


@dataclass(frozen=True)
class Strength:
    """How strongly the fit is held to what is expected, as standard deviations.

    Attributes:
        shape: Of identity coefficients, in the model's sigma.
        expression: Of expression coefficients of models without ARKit names, in the model's sigma.
        activation: Of ARKit activations around their blendshape scores, or around zero without scores.
        lens: Of the logarithm of how many times the assumed focal length the lens has, where it is unknown.
    """

    shape: float
    expression: float
    activation: float
    lens: float


@dataclass(frozen=True)
class Unknowns:
    """Column ranges of the vector of unknowns for one face model.

    The vector is [lens 1 | shape | rotation 3 | place 3 | expression | jaw 3 | gaze 3 | eyelids 2]; parts that the
    model lacks, and a lens that is known, have no columns. ``lens`` is the logarithm of how many times as long it is as
    assumed. ``place`` is (x/z, y/z, log z) of the model's origin in camera axes for the assumed lens; a longer one
    takes the head as much further away, so that these entries hardly interact. ``gaze`` is pitch and yaw of both eyes
    and half the angle by which they converge.

    Attributes:
        columns: Where each part is.
        expression_names: Names of the expression coefficients where they are ARKit's, else empty.
        unused: Expression coefficients that are kept at zero because a joint does their work.
    """

    columns: Mapping[Part, slice]
    expression_names: tuple[str, ...]
    unused: tuple[int, ...]

    @classmethod
    def of(
        cls,
        blocks: Mapping[Block, int],
        expression_names: Sequence[str],
        jaw: Literal["joint", "coefficients"],
        lens: bool = False,
    ) -> "Unknowns":
        """Choose the unknowns for a model with these blocks.

        Args:
            blocks: Sizes of the model's blocks.
            expression_names: Names of its expression coefficients; empty if they have none.
            jaw: What opens the mouth where a model has both a jaw joint and jaw coefficients.
            lens: Whether the focal length is one of them, the same for all faces of a person.
        """
        named = tuple(expression_names) if set(expression_names) & set(ARKIT_NAMES) else ()
        joint = "jaw_pose" in blocks and (jaw == "joint" or "jawOpen" not in named)
        unused = tuple(i for i, name in enumerate(named) if joint and name in JAW_NAMES)
        widths: dict[Part, int] = {
            "lens": int(lens),
            "shape": blocks.get("shape", 0),
            "rotation": 3,
            "place": 3,
            "expression": blocks.get("expression", 0),
            "jaw": 3 if joint else 0,
            "gaze": 3 if "eye_pose" in blocks else 0,
            "eyelids": 2 if "eyelids" in blocks else 0,
        }
        columns: dict[Part, slice] = {}
        end = 0
        for part, width in widths.items():
            columns[part] = slice(end, end + width)
            end += width
        return cls(columns, named, unused)

    @property
    def size(self) -> int:
        """Number of unknowns per face."""
        return int(self.columns["eyelids"].stop)

    @property
    def shared(self) -> int:
        """Number of unknowns that all faces of a person share; they are the first columns."""
        return int(self.columns["shape"].stop)

    def has(self, part: Part) -> bool:
        """Whether the model has this part."""
        return bool(self.columns[part].stop > self.columns[part].start)

    @property
    def directed(self) -> tuple[int, ...]:
        """All columns but lens and place: they move points along directions that are nearly fixed to the head."""
        place = self.columns["place"]
        return (*range(self.columns["lens"].stop, place.start), *range(place.stop, self.size))

    def lens(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B"]:
        """How many times as long as assumed the lens is; 1 where it is known."""
        return x[:, self.columns["lens"]].sum(1).exp()

    def translation(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 3"]:
        """Model origin in camera axes, metres."""
        u, v, log_depth = x[:, self.columns["place"]].unbind(1)
        depth = log_depth.exp()
        return torch.stack([u * depth, v * depth, depth * self.lens(x)], dim=1)

    def parameters(self, x: Float[Tensor, "B P"], shape: Float[Tensor, "1 S"] | None = None) -> FaceParameters:
        """The face code behind the unknowns, without its camera; with a shape that is known, where one is given."""
        known = None if shape is None else shape.expand(len(x), -1)
        return FaceParameters(
            shape=x[:, self.columns["shape"]] if self.has("shape") else known,
            expression=x[:, self.columns["expression"]] if self.has("expression") else None,
            global_pose=x[:, self.columns["rotation"]],
            jaw_pose=x[:, self.columns["jaw"]] if self.has("jaw") else None,
            eye_pose=gaze_to_eye_pose(x[:, self.columns["gaze"]]) if self.has("gaze") else None,
            eyelids=x[:, self.columns["eyelids"]] if self.has("eyelids") else None,
            units={"expression": "activation"} if self.expression_names else {},
        )

    def prior(self, scores: Float[Tensor, "B 52"], strength: Strength) -> Prior:
        """Expected values, their precision and the bounds.

        Args:
            scores: ARKit activations of each face in the order of ``ARKIT_NAMES``; zeros if nothing is known.
            strength: How strongly the fit is held to them.
        """
        mean, sigma = scores.new_zeros(len(scores), self.size), scores.new_full((len(scores), self.size), _FREE**-0.5)
        upper = scores.new_full((len(scores), self.size), math.inf)
        lower = -upper
        at = self.columns
        sigma[:, at["lens"]] = strength.lens
        sigma[:, at["shape"]] = strength.shape
        sigma[:, at["expression"]] = strength.expression
        if self.expression_names:
            mean[:, at["expression"]] = self._named(scores)
            sigma[:, at["expression"]] = strength.activation
            lower[:, at["expression"]], upper[:, at["expression"]] = 0.0, 1.0
            kept = [at["expression"].start + i for i in self.unused]
            mean[:, kept] = upper[:, kept] = 0.0
        if self.has("jaw"):
            mean[:, at["jaw"].start] = JAW_OPEN_ANGLE * _score(scores, "jawOpen")
            opening = _JAW_LOOSENESS * strength.activation * JAW_OPEN_ANGLE
            _set_range(sigma, lower, upper, at["jaw"], (opening, *_JAW_SIDE_SIGMA), _JAW_LIMIT)
            lower[:, at["jaw"].start] = 0.0  # teeth stop a jaw from closing further
        if self.has("gaze"):
            mean[:, at["gaze"]] = gaze_from_scores(scores)
            _set_range(sigma, lower, upper, at["gaze"], _GAZE_SIGMA, _GAZE_LIMIT)
        if self.has("eyelids"):
            blink = [_score(scores, "eyeBlinkLeft"), _score(scores, "eyeBlinkRight")]
            mean[:, at["eyelids"]] = torch.stack(blink, dim=1)
            sigma[:, at["eyelids"]] = strength.activation
            lower[:, at["eyelids"]], upper[:, at["eyelids"]] = 0.0, 1.0
        return Prior(mean, sigma.square().reciprocal(), lower, upper)

    def start(self, prior: Prior, view: View, nearest: float) -> Float[Tensor, "B P"]:
        """The expected face where the head was found; with a lens that takes it no nearer than so many metres."""
        x = prior.mean.clone()
        x[:, self.columns["lens"]] = (nearest / view.translation[:, 2].median()).log().clamp_min(0)
        x[:, self.columns["rotation"]] = view.rotation
        depth = view.translation[:, 2:]
        x[:, self.columns["place"]] = torch.cat([view.translation[:, :2] / depth, depth.log()], dim=1)
        return x

    def around(self, prior: Prior, x: Float[Tensor, "B P"]) -> Prior:
        """The prior with rotation and place expected where they are, for a regular system that pulls nowhere."""
        mean = prior.mean.clone()
        for part in ("rotation", "place"):
            mean[:, self.columns[part]] = x[:, self.columns[part]]
        return Prior(mean, prior.precision, prior.lower, prior.upper)

    def _named(self, scores: Float[Tensor, "B 52"]) -> Float[Tensor, "B E"]:
        """Scores in the model's order; coefficients that ARKit does not have are expected to be zero."""
        padded = torch.nn.functional.pad(scores, (0, 1))
        order = {name: i for i, name in enumerate(ARKIT_NAMES)}
        return padded[:, [order.get(name, -1) for name in self.expression_names]]


def gaze_to_eye_pose(gaze: Float[Tensor, "B 3"]) -> Float[Tensor, "B 6"]:
    """Pitch (down is positive), yaw (to the subject's left) and half the vergence to axis-angle, left eye first."""
    pitch, yaw, inwards = gaze.unbind(1)
    zero = torch.zeros_like(pitch)
    return torch.stack([pitch, yaw - inwards, zero, pitch, yaw + inwards, zero], dim=1)


def gaze_from_scores(scores: Float[Tensor, "B 52"]) -> Float[Tensor, "B 3"]:
    """Mean gaze that the eyeLook* scores stand for."""
    down = [_score(scores, f"eyeLookDown{s}") - _score(scores, f"eyeLookUp{s}") for s in ("Left", "Right")]
    left = _score(scores, "eyeLookOutLeft") - _score(scores, "eyeLookInLeft")
    right = _score(scores, "eyeLookInRight") - _score(scores, "eyeLookOutRight")
    pitch, yaw = (down[0] + down[1]) / 2, (left + right) / 2
    return GAZE_RANGE * torch.stack([pitch, yaw, torch.zeros_like(yaw)], dim=1)


def _score(scores: Float[Tensor, "B 52"], name: str) -> Float[Tensor, "B"]:
    return scores[:, ARKIT_NAMES.index(name)]


def _set_range(
    sigma: Float[Tensor, "B P"],
    lower: Float[Tensor, "B P"],
    upper: Float[Tensor, "B P"],
    columns: slice,
    sigmas: Sequence[float],
    limits: Sequence[float],
) -> None:
    """Fill the columns of one joint, the same for every face."""
    limit = sigma.new_tensor(limits)
    sigma[:, columns] = sigma.new_tensor(sigmas)
    lower[:, columns], upper[:, columns] = -limit, limit
