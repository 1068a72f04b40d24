"""Movement of one mesh for another: deformation transfer, and heads without targets that get theirs by it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from emoca_core.errors import AssetFormatError, RecipeError
from emoca_core.interfaces import CapturedSequence, ExpressionRig, FaceMesh, SequenceRig
from emoca_core.limits import TEXT_BYTES
from emoca_core.parsing import read_text
from emoca_core.weights.read_obj import read_obj

Pairs = Int[ndarray, "P 2"]


@dataclass(frozen=True)
class DeformationTransfer:
    """Deforms a mesh as another one is deformed: every triangle is turned, stretched and sheared as its partner.

    The system is factorised once; every deformation is then a back substitution. Triangles without a partner keep their
    form. Each connected piece is held at its least moved triangle, whose middle moves as its partner's does, in
    proportion to the size of the meshes.

    Source: Sumner and Popovic, Deformation Transfer for Triangle Meshes, SIGGRAPH 2004.

    Args:
        source: The mesh that is deformed, at rest.
        source_faces: Its triangles.
        target: The mesh that shall follow, at rest, in the same axes.
        target_faces: Its triangles.
        pairs: Numbers of a triangle of the source and of its partner in the target.
    """

    source: Float[ndarray, "V 3"]
    source_faces: Int[ndarray, "F 3"]
    target: Float[ndarray, "W 3"]
    target_faces: Int[ndarray, "G 3"]
    pairs: Int[ndarray, "P 2"]

    def __call__(self, moved: Float[ndarray, "K V 3"]) -> Float[ndarray, "K W 3"]:
        """What each deformation of the source adds to the target.

        Args:
            moved: What it adds to the source.
        """
        count, faces = len(self.target), len(self.target_faces)
        partner = np.full(faces, -1)
        partner[self.pairs[:, 1]] = self.pairs[:, 0]
        paired = partner >= 0
        gradients = _gradient_matrix(self.target, self.target_faces)
        held, shifts = self._held(moved, partner)
        corners = self.target_faces[held]
        rows = np.repeat(np.arange(len(held)), 3)
        pins = sparse.csr_matrix((np.full(corners.size, 1 / 3), (rows, corners.ravel())), (len(held), count + faces))
        places = self.target[corners].mean(axis=1)
        system = sparse.vstack([gradients, pins]).tocsc()
        solve = splu((system.T @ system).tocsc())
        rest = np.linalg.inv(_frames(self.source, self.source_faces))
        added = np.empty((len(moved), count, 3))
        for number, displacement in enumerate(moved):
            wanted = np.tile(np.eye(3), (faces, 1, 1))
            posed = _frames(self.source + displacement, self.source_faces)
            wanted[paired] = (posed @ rest)[partner[paired]]
            right = np.vstack([wanted.transpose(0, 2, 1).reshape(-1, 3), places + shifts[number]])
            added[number] = solve.solve(system.T @ right)[:count] - self.target
        return added

    def _held(
        self, moved: Float[ndarray, "K V 3"], partner: Int[ndarray, "G"]
    ) -> tuple[Int[ndarray, "A"], Float[ndarray, "K A 3"]]:
        """The least moved triangle of every piece of the target, and how its middle moves in each deformation."""
        paired = partner >= 0
        follows = np.zeros((len(moved), len(self.target_faces), 3))
        follows[:, paired] = moved[:, self.source_faces[partner[paired]]].mean(axis=2)
        edges = self.target_faces[:, [0, 1, 1, 2]].reshape(-1, 2).T
        graph = sparse.coo_matrix((np.ones(edges.shape[1]), edges), (len(self.target),) * 2)
        label = connected_components(graph, directed=False)[1][self.target_faces[:, 0]]
        order = np.lexsort([np.linalg.norm(follows, axis=2).max(axis=0), ~paired, label])
        held = order[np.unique(label[order], return_index=True)[1]]
        return held, follows[:, held] * (_size(self.target) / _size(self.source))


def _frames(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "F 3 3"]:
    """Two edges of each triangle and its normal, as columns; the normal is as long as the root of twice its area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    length = np.sqrt(np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30))
    return np.stack([b - a, c - a, normal / length], axis=2)


def _gradient_matrix(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> sparse.csr_matrix:
    """What turns vertices, and a fourth point for each triangle, into the transposed gradients of all triangles."""
    count, number = len(vertices), len(faces)
    inverse = np.linalg.inv(_frames(vertices, faces))  # rows: what b - a, c - a and the fourth edge contribute
    weights = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
    points = np.concatenate([faces, count + np.arange(number)[:, None]], axis=1)
    rows = np.broadcast_to(3 * np.arange(number)[:, None, None] + np.arange(3), (number, 4, 3))
    columns = np.broadcast_to(points[:, :, None], (number, 4, 3))
    return sparse.csr_matrix((weights.ravel(), (rows.ravel(), columns.ravel())), (3 * number, count + number))


def _size(vertices: Float[ndarray, "V 3"]) -> float:
    """Root mean square distance from the middle."""
    return float(np.sqrt(np.square(vertices - vertices.mean(axis=0)).sum(axis=1).mean()))


# heads without targets


def transferred_rig(sequence: CapturedSequence, path: Path, pairs: Path | None = None) -> SequenceRig:
    """The rig of a head without targets: an OBJ mesh that gets the person's targets by deformation transfer.

    The mesh looks along z with y up, in any unit: it is brought to the size and the place of the person's head. Without
    ``pairs`` it has the triangles of the person's face model, in their order.

    Args:
        sequence: Whose rig and weights are taken.
        path: The mesh.
        pairs: CSV with two columns: numbers, from 0, of a triangle of the person's mesh and of its partner.

    Raises:
        AssetFormatError: No mesh, or pairs that do not fit.
        RecipeError: The mesh has other triangles, and there are no pairs.
    """
    rig = sequence.rig
    mesh, own = read_obj(path), rig.mesh.rig
    assert own is not None
    if pairs is None:
        if mesh.faces.shape != rig.mesh.faces.shape or not (mesh.faces == rig.mesh.faces).all():
            raise RecipeError(
                f"{path} has {len(mesh.faces)} triangles that are not those of the face model ({len(rig.mesh.faces)}): "
                "give pairs of triangles with --pairs FILE"
            )
        chosen: Pairs = np.repeat(np.arange(len(mesh.faces))[:, None], 2, axis=1)
    else:
        chosen = read_pairs(pairs, len(rig.mesh.faces), len(mesh.faces))
    placed = _placed(mesh.vertices, mesh.faces[chosen[:, 1]], rig.mesh.vertices, rig.mesh.faces[chosen[:, 0]])
    if np.linalg.norm(np.cross(*_edges(placed, mesh.faces)), axis=1).min() <= 0:
        raise AssetFormatError(f"{path} has triangles without area: remove them")
    transfer = DeformationTransfer(rig.mesh.vertices, rig.mesh.faces, placed, mesh.faces, chosen)
    targets = transfer(own.targets)
    has_uv = len(mesh.uv_faces) > 0
    head = FaceMesh(
        vertices=placed,
        faces=mesh.faces,
        uv=mesh.uv if has_uv else None,
        uv_faces=mesh.uv_faces if has_uv else None,
        rig=ExpressionRig(placed, targets, dict(own.weights), own.source),
    )
    return SequenceRig(head, rig.names, rig.weights, rig.source, rig.heads, rig.residual_mm)


def read_pairs(path: Path, source: int, target: int) -> Int[ndarray, "P 2"]:
    """Pairs of triangles.

    Args:
        path: CSV; a first line that holds no numbers is a header.
        source: Triangles of the one mesh.
        target: Triangles of the other.

    Raises:
        AssetFormatError: A line that is no pair, a triangle that is not there, or one of the target that stands twice.
    """
    rows = [row for row in csv.reader(read_text(path, TEXT_BYTES).splitlines()) if row]
    if rows and not rows[0][0].strip().lstrip("-").isdigit():
        rows = rows[1:]
    try:
        pairs = np.array(rows, dtype=np.int64).reshape(len(rows), 2)
    except (ValueError, OverflowError):
        raise AssetFormatError(f"{path} holds no pairs of triangles: two whole numbers on each line") from None
    if not len(pairs) or pairs.min() < 0 or (pairs.max(axis=0) >= [source, target]).any():
        raise AssetFormatError(f"{path} names triangles that are not there: {source} and {target} are, from 0")
    if len(np.unique(pairs[:, 1])) != len(pairs):
        raise AssetFormatError(f"{path} names a triangle of the second column twice")
    return pairs


def _edges(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> tuple[ndarray, ndarray]:
    corners = vertices[faces]
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]


def _placed(
    vertices: Float[ndarray, "W 3"],
    faces: Int[ndarray, "P 3"],
    like: Float[ndarray, "V 3"],
    partners: Int[ndarray, "P 3"],
) -> Float[ndarray, "W 3"]:
    """A mesh scaled and moved so that paired triangles lie where their partners are."""
    own, other = (points[corners].mean(axis=1) for points, corners in ((vertices, faces), (like, partners)))
    size = _size(own)
    scale = _size(other) / size if size > 0 else 1.0
    return np.asarray(other.mean(axis=0) + scale * (vertices - own.mean(axis=0)))
