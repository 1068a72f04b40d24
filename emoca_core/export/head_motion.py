"""A person through a clip as an animation that one camera sees: what formats with animation write."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from emoca_core.geometry.rotations import matrix_to_quaternion
from emoca_core.interfaces import CV_AXES, CapturedSequence, PhotoCamera

_HOLD = 1e-3
"""Seconds before a cut or a gap's end up to which the last pose is held."""


@dataclass(frozen=True)
class HeadMotion:
    """Keys of an animation; between them, everything changes evenly.

    Attributes:
        times: Seconds since the clip's first frame.
        heads: Where the neutral head of the rig is in the scene, rigid; metres.
        weights: Of the rig's targets.
        camera: What sees the scene; ``None`` where nothing is known.
        show_times: When the person appears or goes away, beginning with 0; seconds.
        is_shown: Whether the person is there from then on.
    """

    times: Float[ndarray, "K"]
    heads: Float[ndarray, "K 4 4"]
    weights: Float[ndarray, "K T"]
    camera: PhotoCamera | None
    show_times: Float[ndarray, "S"]
    is_shown: Bool[ndarray, "S"]


def head_motion(sequence: CapturedSequence) -> HeadMotion:
    """The animation of a sequence: at the time of each frame, exactly what was captured.

    Nothing moves across cuts and long gaps: the last pose is held until just before, and the person is hidden from a
    frame after the last one that shows them. The scene has the camera's axes: the camera stays, the head moves. Where
    a method finds another lens in every frame, the head keeps its place and size in the picture.
    """
    rig, camera = sequence.rig, None
    heads = rig.heads
    if sequence.cameras is not None:
        camera, views = _one_camera(sequence.cameras, _transformed(heads, rig.mesh.vertices.mean(axis=0)))
        heads = views @ heads
    broken = np.flatnonzero(sequence.is_back | (sequence.flagged("cut") & (np.arange(len(sequence)) > 0)))
    keys = np.insert(np.arange(len(sequence)), broken, broken - 1)
    times = np.insert(sequence.times, broken, _just_before(sequence.times, broken))
    show_times, is_shown = _appearances(sequence)
    return HeadMotion(times, heads[keys], rig.weights[keys], camera, show_times, is_shown)


def _just_before(times: Float[ndarray, "N"], rows: ndarray) -> Float[ndarray, "R"]:
    steps = times[rows] - times[rows - 1]
    return np.asarray(times[rows] - np.minimum(_HOLD, steps / 4))


def _appearances(sequence: CapturedSequence) -> tuple[Float[ndarray, "S"], Bool[ndarray, "S"]]:
    back = np.flatnonzero(sequence.is_back)
    gone = sequence.times[back - 1] + sequence.frame_interval
    changes = np.stack([gone, sequence.times[back]], axis=1).ravel()
    shown = np.tile([False, True], len(back))
    if sequence.times[0] > sequence.frame_interval / 2:
        return np.concatenate([[0.0, sequence.times[0]], changes]), np.concatenate([[False, True], shown])
    return np.concatenate([[0.0], changes]), np.concatenate([[True], shown])


def _one_camera(
    cameras: Sequence[PhotoCamera], centres: Float[ndarray, "N 3"]
) -> tuple[PhotoCamera, Float[ndarray, "N 4 4"]]:
    """A camera that stays in the origin, and what moves model space before it as each of the cameras did.

    Args:
        cameras: Of each frame.
        centres: Middle of the head in each, which keeps its place and its size in the picture; metres.
    """
    pinholes = [camera.long_focal_equivalent() for camera in cameras]
    lenses = np.array([camera.intrinsics for camera in pinholes])
    turns = np.array([camera.rotation for camera in pinholes])
    seen = np.einsum("nij,nj->ni", turns, centres) + np.array([camera.translation for camera in pinholes])
    lens = np.diag([*np.median(lenses[:, [0, 1], [0, 1]], axis=0), 1.0])
    lens[:2, 2] = np.median([camera.intrinsics[:2, 2] for camera in cameras], axis=0)
    zoom = np.sqrt(lens[0, 0] * lens[1, 1] / (lenses[:, 0, 0] * lenses[:, 1, 1]))
    pixels = np.einsum("nij,nj->ni", lenses, seen / seen[:, 2:])
    placed = (zoom * seen[:, 2])[:, None] * (pixels @ np.linalg.inv(lens).T)
    views = np.tile(np.eye(4), (len(cameras), 1, 1))
    views[:, :3, :3] = CV_AXES @ turns
    views[:, :3, 3] = (placed - np.einsum("nij,nj->ni", turns, centres)) @ CV_AXES
    return PhotoCamera("perspective", lens, CV_AXES, np.zeros(3), cameras[0].photo_size), views


def _transformed(transforms: Float[ndarray, "N 4 4"], point: Float[ndarray, "3"]) -> Float[ndarray, "N 3"]:
    return np.asarray(transforms[:, :3, :3] @ point + transforms[:, :3, 3])


def continuous_quaternions(rotations: Float[ndarray, "N 3 3"]) -> Float[ndarray, "N 4"]:
    """Unit quaternions (x, y, z, w) of which each is on the side of the one before, so that they can be blended."""
    quaternions = matrix_to_quaternion(torch.from_numpy(rotations)).numpy()[:, [1, 2, 3, 0]]
    jumps = (quaternions[1:] * quaternions[:-1]).sum(axis=1) < 0
    return np.asarray(quaternions * np.where(np.cumsum(np.append(False, jumps)) % 2, -1.0, 1.0)[:, None])
