"""The head of one person through a clip: targets, their weights in every frame, and how the head moves.

Everything is computed over many frames at once, in slices, so that memory does not grow with the clip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.export.arkit import EXPRESSIVE, ArkitSolver, at_rest, has_arkit_names, posed_with
from emoca_core.export.mesh import textured_mesh
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Block, ExpressionRig, FaceGeometry, FaceModel, FaceParameters, SequenceRig
from emoca_core.kernels.threads import for_each, one_thread
from emoca_core.progress import progress_bar
from emoca_core.video.head_path import HeadPoints
from emoca_core.vocabulary.arkit import ARKIT_NAMES

_SLICE = 64
"""Frames in one piece of the work."""
_INNER = slice(17, None)
"""Landmarks that do not wander with the contour of the head."""
_TURNS = 0.4 * np.eye(3)
"""Rotations that show where a joint is, radians."""
_JOINT_UNIT = 0.2
"""Radians by which a joint is turned for its target; rotations are nearly linear up to there."""
_MOST_SEEN = 256
"""Frames that tell what else moves."""
_MOST_OTHERS = 24
"""Targets for what else moves."""
_FINE_M = 2e-5
"""Root mean square over vertices and frames; what is left below is not worth a target."""
_DECIMALS = 6

Meshes = Callable[[slice], tuple[Float[ndarray, "N V 3"], Float[ndarray, "N 68 3"]]]
"""Vertices and landmarks of some frames in the axes of the head, metres."""


def sequence_rig(
    face_model: FaceModel, parameters: FaceParameters, geometry: Callable[[slice], FaceGeometry]
) -> SequenceRig:
    """The neutral head of a person, its targets, and the weights with which they give the captured meshes.

    The targets are the 52 of ARKit where the face model has their names (``ArkitSolver``). Other models give one
    target for each coefficient and each joint that moves, weighted as in the code (``expression_0``, ``jaw_pose_0``:
    for joints, 1 is a radian), and some for what these leave over because joints turn (``other_0``): its principal
    components.

    Args:
        face_model: What poses the mesh.
        parameters: Codes of one person in all frames, on the CPU.
        geometry: The posed meshes of some frames, on the CPU.
    """
    person = parameters.map(lambda tensor: tensor[:1].to(face_model.faces.device))
    unturned = at_rest(person).replace(global_pose=None, neck_pose=None)
    heads = _head_movement(face_model, unturned, parameters)

    def meshes(rows: slice) -> tuple[Float[ndarray, "N V 3"], Float[ndarray, "N 68 3"]]:
        posed, moved = geometry(rows), torch.from_numpy(heads[rows].astype(np.float32))
        parts = posed.vertices, posed.landmarks["ibug68"]
        vertices, points = ((part - moved[:, None, :3, 3]) @ moved[:, :3, :3] for part in parts)
        return vertices.numpy(), points.numpy()

    make = _ArkitTargets.of if has_arkit_names(face_model) else _CodeTargets.of
    targets: _Targets = make(face_model, unturned, parameters, meshes)
    weights = np.empty((len(parameters), len(targets.names)), np.float32)
    residual = np.empty(len(parameters))
    starts = range(0, len(parameters), _SLICE)

    def weigh(number: int) -> None:
        rows = slice(starts[number], min(starts[number] + _SLICE, len(parameters)))
        with one_thread():
            weights[rows], residual[rows] = _weigh(targets, rows, *meshes(rows))
        bar.update(rows.stop - rows.start)

    with progress_bar(total=len(parameters), label="expressions", unit="frame") as bar:
        for_each(len(starts), weigh)
    rig = ExpressionRig(targets.neutral, targets.moves, dict.fromkeys(targets.names, 0.0), targets.source)
    return SequenceRig(
        mesh=textured_mesh(face_model, person, targets.neutral, rig),
        names=targets.names,
        weights=weights,
        source=targets.source,
        heads=heads,
        residual_mm=residual,
    )


def _head_movement(
    face_model: FaceModel, person: FaceParameters, parameters: FaceParameters
) -> Float[ndarray, "N 4 4"]:
    """How ``global_pose`` and ``neck_pose`` move the head in every frame: model space, metres."""
    moved = np.tile(np.eye(4), (len(parameters), 1, 1))
    for block in ("global_pose", "neck_pose"):
        pose = getattr(parameters, block)
        if pose is None or block not in face_model.blocks:
            continue
        turns = rotation_vector_to_matrix(pose.double()).numpy()
        pivot = _pivot(face_model, person, block)
        one = np.tile(np.eye(4), (len(parameters), 1, 1))
        one[:, :3, :3], one[:, :3, 3] = turns, pivot - turns @ pivot
        moved = moved @ one
    return moved


def head_points(face_model: FaceModel, parameters: FaceParameters) -> HeadPoints:
    """Landmarks of one person's head at rest that do not wander with its contour, and where it turns.

    Args:
        face_model: One with ``global_pose``.
        parameters: Of the person; their first row counts.
    """
    person = parameters.map(lambda tensor: tensor[:1].to(face_model.faces.device))
    unturned = at_rest(person).replace(global_pose=None, neck_pose=None)
    points = posed_with(face_model, unturned, global_pose=torch.zeros(1, 3)).landmarks["ibug68"][0, _INNER]
    return HeadPoints(points.cpu(), torch.from_numpy(_pivot(face_model, unturned, "global_pose")))


def _pivot(face_model: FaceModel, person: FaceParameters, block: Block) -> Float[ndarray, "3"]:
    """The point that a rotation of the head leaves where it is."""
    vectors = torch.from_numpy(np.concatenate([np.zeros((1, 3)), _TURNS])).float()
    points = (
        posed_with(face_model, person, **{block: vectors}).landmarks["ibug68"][:, _INNER].mean(dim=1).double().cpu()
    )
    turns = rotation_vector_to_matrix(vectors[1:].double())
    shifts = points[1:] - points[0] @ turns.mT
    still = torch.eye(3, dtype=torch.float64) - turns
    return np.asarray(torch.linalg.lstsq(still.reshape(-1, 3), shifts.reshape(-1, 1)).solution[:, 0].numpy())


def _weigh(
    targets: "_Targets", rows: slice, vertices: Float[ndarray, "N V 3"], landmarks: Float[ndarray, "N 68 3"]
) -> tuple[Float[ndarray, "N T"], Float[ndarray, "N"]]:
    """Weights of some frames, and how far the weighted targets stay away from the mesh: mean distance, millimetres."""
    moved = vertices - targets.neutral.astype(np.float32)
    weights = targets.weights(rows, moved, landmarks).round(_DECIMALS)
    one, all_moves = torch.from_numpy(weights), torch.from_numpy(targets.moves).flatten(1)
    left = torch.from_numpy(moved) - (one.float() @ all_moves.float()).reshape(moved.shape)
    return weights, 1000 * left.norm(dim=2).mean(dim=1).numpy()


class _Targets(Protocol):
    """A neutral head, its targets, and a way to weigh them."""

    @property
    def neutral(self) -> Float[ndarray, "V 3"]:
        """Metres."""

    @property
    def moves(self) -> Float[ndarray, "T V 3"]:
        """What each target adds, metres."""

    @property
    def names(self) -> Sequence[str]:
        """Of the targets."""

    @property
    def source(self) -> Literal["arkit", "code"]:
        """See ``SequenceRig``."""

    def weights(
        self, rows: slice, moved: Float[ndarray, "N V 3"], landmarks: Float[ndarray, "N 68 3"]
    ) -> Float[ndarray, "N T"]:
        """Of some frames.

        Args:
            rows: Which.
            moved: What their vertices add to ``neutral``, metres.
            landmarks: Metres.
        """


@dataclass(frozen=True)
class _ArkitTargets:
    """The 52 of ARKit."""

    solver: ArkitSolver
    parameters: FaceParameters
    names: Sequence[str] = ARKIT_NAMES
    source: Literal["arkit"] = "arkit"

    @classmethod
    def of(
        cls, face_model: FaceModel, person: FaceParameters, parameters: FaceParameters, meshes: Meshes
    ) -> "_ArkitTargets":
        return cls(ArkitSolver.of(face_model, person), parameters)

    @property
    def neutral(self) -> Float[ndarray, "V 3"]:
        return self.solver.neutral

    @property
    def moves(self) -> Float[ndarray, "52 V 3"]:
        return self.solver.targets

    def weights(
        self, rows: slice, moved: Float[ndarray, "N V 3"], landmarks: Float[ndarray, "N 68 3"]
    ) -> Float[ndarray, "N 52"]:
        return self.solver(moved, landmarks, self.parameters.map(lambda tensor: tensor[rows]))


@dataclass(frozen=True)
class _CodeTargets:
    """One for each number of the code that moves the face, and the principal components of what these leave over.

    Attributes:
        values: The numbers of the code in every frame.
    """

    neutral: Float[ndarray, "V 3"]
    moves: Float[ndarray, "T V 3"]
    names: Sequence[str]
    values: Float[ndarray, "N C"]
    source: Literal["code"] = "code"

    @classmethod
    def of(
        cls, face_model: FaceModel, person: FaceParameters, parameters: FaceParameters, meshes: Meshes
    ) -> "_CodeTargets":
        names, blocks, values = _coefficients(face_model, parameters)
        vertices = posed_with(face_model, person, **blocks).vertices.double().cpu().numpy()
        units = np.array([_JOINT_UNIT if "_pose_" in name else 1.0 for name in names])
        moves = (vertices[1:] - vertices[0]) / units[:, None, None]
        own = cls(vertices[0], moves, names, values)
        others = _principal_components(own._sample(meshes))
        names = [*names, *(f"other_{i}" for i in range(len(others)))]
        return cls(own.neutral, np.concatenate([moves, others]), names, values)

    def weights(
        self, rows: slice, moved: Float[ndarray, "N V 3"], landmarks: Float[ndarray, "N 68 3"]
    ) -> Float[ndarray, "N T"]:
        others = self.moves[self.values.shape[1] :].reshape(-1, moved[0].size)  # orthogonal to one another
        shares = self._left_over(self.values[rows], moved) @ others.T / np.square(others).sum(axis=1)
        return np.concatenate([self.values[rows], shares], axis=1)

    def _left_over(self, values: Float[ndarray, "N C"], moved: Float[ndarray, "N V 3"]) -> Float[ndarray, "N _"]:
        own = self.moves[: values.shape[1]].reshape(values.shape[1], -1)
        return np.asarray(moved.reshape(len(moved), -1) - values @ own)

    def _sample(self, meshes: Meshes) -> Float[ndarray, "N _"]:
        """What is left over in some frames of the whole clip."""
        some = np.unique(np.linspace(0, len(self.values) - 1, _MOST_SEEN).round().astype(int)).tolist()
        rows = [slice(row, row + 1) for row in some]
        return np.concatenate([self._left_over(self.values[r], meshes(r)[0] - self.neutral) for r in rows])


def _coefficients(
    face_model: FaceModel, parameters: FaceParameters
) -> tuple[list[str], dict[str, Float[Tensor, "_ _"]], Float[ndarray, "N C"]]:
    """Names and values of the coefficients that are not always zero; blocks with none of them, then with one at a time.

    Joints are turned by ``_JOINT_UNIT``.
    """
    blocks = {name: block for name in EXPRESSIVE if (block := getattr(parameters, name)) is not None}
    blocks = {name: block for name, block in blocks.items() if name in face_model.blocks}
    moving = {name: block.abs().amax(dim=0).nonzero()[:, 0].tolist() for name, block in blocks.items()}
    own = dict(enumerate(face_model.expression_names))
    names = [
        own.get(i, f"expression_{i}") if name == "expression" else f"{name}_{i}"
        for name, kept in moving.items()
        for i in kept
    ]
    posed, row = {name: torch.zeros(1 + len(names), block.shape[1]) for name, block in blocks.items()}, 1
    for name, kept in moving.items():
        unit = _JOINT_UNIT if name.endswith("_pose") else 1.0
        posed[name][range(row, row + len(kept)), kept] = unit
        row += len(kept)
    values = [block[:, moving[name]] for name, block in blocks.items()]
    return names, posed, torch.cat(values, dim=1).double().numpy()


def _principal_components(left_over: Float[ndarray, "N D"]) -> Float[ndarray, "T _ 3"]:
    """Movements that explain what is left over to ``_FINE_M``, each of the size at which it occurs at most."""
    power, turned = np.linalg.eigh(left_over @ left_over.T)
    power, turned = np.maximum(power[::-1], 0.0), turned[:, ::-1]
    left = np.append(power[::-1].cumsum()[::-1], 0.0)  # after the first so many
    count = min(int((left > left_over.size / 3 * _FINE_M**2).sum()), _MOST_OTHERS)
    largest = np.abs(turned[:, :count]).max(axis=0, initial=0.0)
    return np.asarray((turned[:, :count] * largest).T @ left_over).reshape(count, -1, 3)
