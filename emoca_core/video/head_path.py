"""The way of a head along time, smoothed as the picture sees it.

A landmark that errs turns the head a little and moves it aside a little, so that the picture hardly changes: of a pose,
pictures tell some combinations of its numbers a hundred times better than others. What they tell badly is smoothed,
what they tell well makes up for it: far less jitter at the same distance from what was seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.rotations import matrix_to_rotation_vector, rotation_vector_to_matrix
from emoca_core.interfaces import Camera, FaceParameters
from emoca_core.video.most_probable_path import bands_of_pushes, between_neighbours, follow_movement
from emoca_core.video.smoothing import (
    DEFAULT_STRENGTH,
    MOST_AIM_NOISE,
    cutoff_of,
    mean_rotation,
    smooth_rotations,
    smooth_signal,
)

_HEAVY = 0.5
"""Of the cutoff of faces: heads are slower than lips and lids."""
_MOST_NOISE = 0.005
"""Most noise assumed in the picture, half-images: landmarks err less. What seems to err more is movement."""
_MEDIAN = 0.84
"""Of the mean of four squares of normal numbers."""
_STEP = 1e-4
"""Of derivatives: radians, half-images, and shares of a distance or size."""
_LEAST_SEEN = 1e-6
"""Share of what is seen best that everything is seen at least."""
_FEWEST = 3
_SLICE, _MEMORY = 2048, 4.0
"""Rows that are smoothed at once, and seconds beyond them that have a say."""


@dataclass(frozen=True)
class HeadPoints:
    """Points of one person's head at rest, model space, metres.

    Attributes:
        points: Where the picture shows how the head is turned.
        pivot: About which ``global_pose`` turns it.
    """

    points: Float[Tensor, "M 3"]
    pivot: Float[Tensor, "3"]


def smooth_head(
    parameters: FaceParameters,
    head: HeadPoints,
    times: Float[ndarray, "N"],
    confidence: Float[ndarray, "N"] | None = None,
    strength: float = DEFAULT_STRENGTH,
    segments: Int[ndarray, "N"] | None = None,
) -> FaceParameters:
    """Smooth how a head is turned and where it is, together and without lag; all other blocks stay.

    Turn and distance take the most probable path of a head that keeps its velocity but for random pushes, where errors
    are as large as they look in the picture once the head is where it fits best. Where the path would be further from
    what was measured than that errs, the pushes may be larger: a head that is shaken is followed.

    Args:
        parameters: One row for each frame, on the CPU, with ``global_pose`` and a camera. Its crops must be smooth.
        head: Of the person.
        times: Of the frames, seconds; they grow.
        confidence: Of the landmarker in each frame, [0, 1]; rows of 0 are filled in.
        strength: Above 0; 1 is the slowest.
        segments: Number of the stretch of each row (``find_segments``); none is influenced by another.

    Source: the Rauch-Tung-Striebel smoother of ``smooth_signal`` for several numbers at once, with the information
    that the projection of the points has of them (Gauss-Newton), less what the aim takes up (Schur complement).
    """
    camera, pose = parameters.camera, parameters.global_pose
    assert camera is not None and pose is not None
    labels = np.zeros(len(times), np.int64) if segments is None else segments
    trust = np.ones(len(times)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    turns, places = pose.double().numpy(), _places_of(camera)
    out = turns.copy(), places.copy()
    for label in np.unique(labels):
        for rows, inner in _pieces(np.flatnonzero(labels == label), times):
            if np.count_nonzero(trust[rows]) < _FEWEST:
                pieces = _filled(turns[rows], places[rows], times[rows], trust[rows])
            else:
                lens = camera.map(lambda tensor, rows=rows: tensor[rows].double())  # type: ignore[misc]
                pieces = _smooth(turns[rows], places[rows], lens, head, times[rows], trust[rows], strength)
            for whole, piece in zip(out, pieces, strict=True):
                whole[rows[inner]] = piece[inner]
    turned, moved = (torch.from_numpy(whole) for whole in out)
    placed = _placed(camera.map(torch.Tensor.double), moved).map(lambda part: part.to(pose.dtype))
    return parameters.replace(global_pose=turned.to(pose.dtype), camera=placed)


def _filled(
    turns: Float[ndarray, "N 3"], places: Float[ndarray, "N P"], times: Float[ndarray, "N"], trust: Float[ndarray, "N"]
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N P"]]:
    """Both, between frames that are too few to be smoothed."""
    return smooth_rotations(turns, times, 0.0, confidence=trust), smooth_signal(places, times, 0.0, confidence=trust)


def _pieces(rows: Int[ndarray, "K"], times: Float[ndarray, "N"]) -> Iterator[tuple[Int[ndarray, "P"], slice]]:
    """Parts of a stretch with what influences them on both sides, and which of their rows they are for."""
    for first in range(0, len(rows), _SLICE):
        last = min(first + _SLICE, len(rows))
        reach = [times[rows[first]] - _MEMORY, times[rows[last - 1]] + _MEMORY]
        begin, end = np.searchsorted(times[rows], reach).tolist()
        yield rows[begin:end], slice(first - begin, last - begin)


def _smooth(
    turns: Float[ndarray, "N 3"],
    places: Float[ndarray, "N P"],
    lens: Camera,
    head: HeadPoints,
    times: Float[ndarray, "N"],
    trust: Float[ndarray, "N"],
    strength: float,
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N P"]]:
    """Both, in the tangent space at the mean rotation."""
    matrices = rotation_vector_to_matrix(torch.from_numpy(turns))
    mean = mean_rotation(matrices, torch.from_numpy(trust))
    pose = torch.cat([matrix_to_rotation_vector(mean.mT @ matrices), torch.from_numpy(places)], dim=1)
    arms, pivot = (head.points - head.pivot).double(), head.pivot.double()

    def seen(pose: Float[Tensor, "N D"]) -> Float[Tensor, "N M 2"]:
        turned = arms @ (mean @ rotation_vector_to_matrix(pose[:, :3])).mT
        return _placed(lens, pose[:, 3:]).project(turned + pivot)[..., :2]

    smooth = _most_probable(pose.numpy(), _sight(seen, pose), _is_aim(lens), times, trust, strength)
    back = matrix_to_rotation_vector(mean @ rotation_vector_to_matrix(torch.from_numpy(smooth[:, :3])))
    return back.numpy(), smooth[:, 3:]


def _sight(seen: Callable[[Tensor], Tensor], pose: Float[Tensor, "N D"]) -> Float[ndarray, "N D D"]:
    """How the numbers of each pose move the points in the picture: by d^T sight d in the mean square."""
    steps = _STEP * torch.eye(pose.shape[1], dtype=pose.dtype)
    moved = torch.stack([(seen(pose + step) - seen(pose - step)).flatten(1) for step in steps], dim=1) / (2 * _STEP)
    sight: ndarray = (2 * moved @ moved.mT / moved.shape[2]).numpy()
    return sight


def _most_probable(
    pose: Float[ndarray, "N D"],
    sight: Float[ndarray, "N D D"],
    aim: Bool[ndarray, "D"],
    times: Float[ndarray, "N"],
    trust: Float[ndarray, "N"],
    strength: float,
) -> Float[ndarray, "N D"]:
    """The smooth path of turn and distance; the aim first fits them as well as it can in every frame."""
    rest, out = ~aim, pose.copy()
    follows = np.linalg.solve(sight[:, aim][:, :, aim], sight[:, aim][:, :, rest])
    left = sight[:, rest][:, :, rest] - sight[:, rest][:, :, aim] @ follows
    out[:, rest] = _adaptive(pose[:, rest], left, times, trust, strength)
    out[:, aim] -= (follows @ (out[:, rest] - pose[:, rest])[..., None])[..., 0]
    out[:, aim] = smooth_signal(
        out[:, aim], times, strength, confidence=trust, most_noise=MOST_AIM_NOISE, together=True
    )
    return out


def _adaptive(
    values: Float[ndarray, "N D"],
    sight: Float[ndarray, "N D D"],
    times: Float[ndarray, "N"],
    trust: Float[ndarray, "N"],
    strength: float,
) -> Float[ndarray, "N D"]:
    """Smoothed with stronger pushes where the picture tells the smooth head from the measured one.

    The pushes of each number are in proportion to what points that err make of it.
    """
    unit = np.median(np.einsum("nii->ni", sight), axis=0) ** -0.5
    sight = sight * unit[:, None] * unit + _LEAST_SEEN * np.eye(len(unit))
    errs = np.sqrt(np.median(np.einsum("nii->ni", np.linalg.inv(sight)), axis=0))
    sight, unit = sight * errs[:, None] * errs, unit * errs
    values = values / unit
    noise = max(min(_noise_in_picture(values, sight, times, trust), _MOST_NOISE**2), 1e-12)

    def departure(out: Float[ndarray, "N D"]) -> Float[ndarray, "N"]:
        away = values - out
        squares: ndarray = trust * np.einsum("ni,nij,nj->n", away, sight, away) / noise
        return squares

    push = (2 * np.pi * _HEAVY * cutoff_of(strength)) ** 4 * float(np.median(np.diff(times)))
    return unit * follow_movement(partial(_solve, values, sight, times, trust), departure, np.full(len(times), push))


def _noise_in_picture(
    values: Float[ndarray, "N D"],
    sight: Float[ndarray, "N D D"],
    times: Float[ndarray, "N"],
    trust: Float[ndarray, "N"],
) -> float:
    """Mean square by which the white part of the values moves the points."""
    seen = np.flatnonzero(trust > 0)
    rows, away, variance = between_neighbours(values[seen], times[seen])
    squares = np.einsum("ni,nij,nj->n", away, sight[seen[rows]], away) / variance
    return float(np.median(squares)) / _MEDIAN if len(rows) else 0.0


def _solve(
    values: Float[ndarray, "N D"],
    sight: Float[ndarray, "N D D"],
    times: Float[ndarray, "N"],
    trust: Float[ndarray, "N"],
    push: Float[ndarray, "N"],
) -> Float[ndarray, "N D"]:
    """The minimum of the errors, as the picture shows them, and of the squared pushes, in one banded system."""
    from scipy.linalg import solveh_banded

    count, size = values.shape
    bands = np.zeros((2 * size + 1, count, size))  # lower form: row r of column c is element (c + r, c)
    weighted = trust[:, None, None] * sight
    for below in range(size):
        columns = np.arange(size - below)
        bands[below, :, : size - below] = weighted[:, columns + below, columns]
    for apart, pushes in enumerate(bands_of_pushes(times, push)):
        bands[apart * size] += pushes[:, None]
    right = np.einsum("nij,nj->ni", weighted, values).ravel()
    solved: ndarray = solveh_banded(bands.reshape(2 * size + 1, -1), right, lower=True, overwrite_ab=True)
    return solved.reshape(count, size)


def _parts_of(camera: Camera) -> list[Tensor]:
    parts: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        parts.append(part)
        return part

    camera.map_place(keep)
    return parts


def _places_of(camera: Camera) -> Float[ndarray, "N P"]:
    """What says where the head is, as columns."""
    parts = _parts_of(camera.map(torch.Tensor.double))
    return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1).numpy()


def _is_aim(camera: Camera) -> Bool[ndarray, "D"]:
    """Which numbers of a pose say where in the picture the head is: points tell them far better than the others."""
    widths = [part[0].numel() for part in _parts_of(camera)]
    return np.array([False] * 3 + [width == 2 for width in widths for _ in range(width)])


def _placed(camera: Camera, places: Float[Tensor, "N P"]) -> Camera:
    """The camera with the head there."""
    begin = 0

    def next_columns(part: Tensor) -> Tensor:
        nonlocal begin
        first, begin = begin, begin + part[0].numel()
        return places[:, first:begin].reshape(part.shape)

    return camera.map_place(next_columns)
