"""Smoothing along time without lag: signals, rotations, crops and face codes.

Offline, every number is the estimate of a Rauch-Tung-Striebel smoother for a signal that keeps its velocity but for
random pushes, found in one banded system; it looks both ways, so nothing arrives late. Where the smoothed signal would
leave what was measured by more than the measurement's own noise, the pushes may be larger: a blink stays a blink.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import count

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.rotations import matrix_to_rotation_vector, rotation_vector_to_matrix
from emoca_core.images.warp import transform_points
from emoca_core.interfaces import IDENTITY, Camera, FaceParameters
from emoca_core.interfaces.face import Unit
from emoca_core.video.most_probable_path import fill, follow_movement, most_probable_path, noise_of

DEFAULT_STRENGTH = 0.6
LONGEST_GAP = 0.3
"""Seconds without the face over which its movement is filled in."""

_FASTEST, _SLOWEST = 20.0, 1.5
"""Hz that pass with half their amplitude at a strength just above 0, and at 1."""
_NOISE: dict[Unit, float] = {"activation": 0.01, "radians": 0.002, "spherical_harmonics": 0.01}
"""Least noise assumed, by unit: what lies below it is not worth following."""
MOST_AIM_NOISE = 0.002
"""Most noise assumed of where in the crop a camera sees the head, half-images: all landmarks together tell it to a
fraction of this. What a head that is shaken seems to have more of is movement. How far it is they tell far worse."""
_POSES = frozenset({"global_pose", "neck_pose", "jaw_pose", "eye_pose"})
"""Blocks that are rotations."""
_TOGETHER = frozenset[Unit]({"camera", "spherical_harmonics"})
"""Units of blocks whose numbers are followed or smoothed together."""


def find_segments(
    times: Float[ndarray, "N"], starts_shot: Bool[ndarray, "N"] | None = None, longest_gap: float = LONGEST_GAP
) -> Int[ndarray, "N"]:
    """Number of the stretch that each frame belongs to; nothing is smoothed or filled in from one to another.

    Args:
        times: Of the frames that show the face, seconds.
        starts_shot: Whether a cut lies between a frame and the one before it.
        longest_gap: A longer time without the face ends a stretch, seconds.
    """
    begins = np.diff(times, prepend=times[:1]) > longest_gap
    if starts_shot is not None:
        begins = begins | starts_shot
    begins[:1] = False
    return np.cumsum(begins)


def smooth_signal(
    values: Float[ndarray, "N *D"],
    times: Float[ndarray, "N"],
    strength: float = DEFAULT_STRENGTH,
    *,
    confidence: Float[ndarray, "N"] | None = None,
    segments: Int[ndarray, "N"] | None = None,
    noise: float = 0.0,
    most_noise: float = math.inf,
    together: bool = False,
) -> Float[ndarray, "N *D"]:
    """Smooth numbers along time, without lag.

    Args:
        values: One row for each frame.
        times: Of the frames, seconds; they grow.
        strength: 0 leaves what was measured as it is, 1 is the slowest.
        confidence: How far each row is to be trusted, [0, 1]; rows of 0 are filled in, whatever the strength.
        segments: Number of the stretch of each row (``find_segments``); none is influenced by another.
        noise: Least noise assumed, in the units of the values; more is found in the values themselves.
        most_noise: More is not assumed, whatever the values do.
        together: The numbers of a row are one thing, such as a position: they are followed or smoothed together.

    Returns:
        As ``values``, in float64. A stretch without a trusted row stays as it is.

    Source: Rauch, Tung and Striebel, AIAA Journal 1965, for the state (value, velocity) with white pushes; that they
    adapt is this project's.

    Example:
        >>> times = np.arange(5) / 25
        >>> smooth_signal(1 + 3 * times, times, 1.0).round(6).tolist()  # steady movement is kept to the ends
        [1.0, 1.12, 1.24, 1.36, 1.48]
    """
    rows = np.asarray(values, dtype=np.float64).reshape(len(values), math.prod(np.shape(values)[1:]))
    trust = np.ones(len(rows)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    labels = np.zeros(len(rows), np.int64) if segments is None else segments
    out = rows.copy()
    for label in np.unique(labels):
        own = labels == label
        if (strength > 0 or not trust[own].all()) and trust[own].any() and rows.size:
            limits = noise, most_noise
            out[own] = _smooth_stretch(rows[own], times[own], strength, trust[own], limits, together)
    return out.reshape(np.shape(values))


def smooth_rotations(
    vectors: Float[ndarray, "N 3"],
    times: Float[ndarray, "N"],
    strength: float = DEFAULT_STRENGTH,
    *,
    confidence: Float[ndarray, "N"] | None = None,
    segments: Int[ndarray, "N"] | None = None,
    noise: float = 0.0,
) -> Float[ndarray, "N 3"]:
    """Smooth axis-angle vectors (radians) as rotations, as ``smooth_signal`` does numbers.

    Every stretch is smoothed in the tangent space at its mean rotation, so that neither the axes of the camera nor the
    jump of rotation vectors at half a turn matter.
    """
    trust = np.ones(len(vectors)) if confidence is None else np.asarray(confidence, dtype=np.float64)
    labels = np.zeros(len(vectors), np.int64) if segments is None else segments
    out = np.asarray(vectors, dtype=np.float64).copy()
    for label in np.unique(labels):
        own = labels == label
        if trust[own].any():
            turns = rotation_vector_to_matrix(torch.from_numpy(out[own]))
            mean = mean_rotation(turns, torch.from_numpy(trust[own]))
            local = matrix_to_rotation_vector(mean.mT @ turns).numpy()
            smooth = smooth_signal(local, times[own], strength, confidence=trust[own], noise=noise, together=True)
            changed = (smooth != local).any(1)  # what stays as it is stays to the last digit
            back = matrix_to_rotation_vector(mean @ rotation_vector_to_matrix(torch.from_numpy(smooth))).numpy()
            out[own] = np.where(changed[:, None], back, out[own])
    return out


def smooth_crops(
    crop_to_image: Float[ndarray, "N 3 3"],
    size: int,
    times: Float[ndarray, "N"],
    strength: float = DEFAULT_STRENGTH,
    *,
    confidence: Float[ndarray, "N"] | None = None,
    segments: Int[ndarray, "N"] | None = None,
) -> Float[ndarray, "N 3 3"]:
    """Smooth where crops lie in their frames: middle, size and turn.

    Args:
        crop_to_image: Similarities of pixel-centre coordinates, crop to frame.
        size: Side of the crops, pixels.
        times: Of the frames, seconds.
        strength: As for ``smooth_signal``.
        confidence: Of each frame, [0, 1].
        segments: Number of the stretch of each frame.
    """
    smooth = partial(smooth_signal, times=times, strength=strength, confidence=confidence, segments=segments)
    along = crop_to_image[:, :2, 0]
    scale = np.linalg.norm(along, axis=1)
    middle = np.stack([transform_points(each, np.full(2, (size - 1) / 2)) for each in crop_to_image])
    half = size / 2 * np.median(scale) / 100  # of a crop: what the eye does not see
    middle = smooth(middle, together=True, noise=half)
    scale = np.exp(smooth(np.log(scale), noise=0.01))
    turn = smooth(np.unwrap(np.arctan2(along[:, 1], along[:, 0])), noise=0.01)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    out = np.tile(np.eye(3), (len(scale), 1, 1))
    out[:, :2, :2] = np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2)
    out[:, :2, 2] = middle - out[:, :2, :2].sum(2) * ((size - 1) / 2)
    return out


def smooth_code(
    parameters: FaceParameters,
    times: Float[ndarray, "N"],
    confidence: Float[ndarray, "N"] | None = None,
    strength: float = DEFAULT_STRENGTH,
    segments: Int[ndarray, "N"] | None = None,
) -> FaceParameters:
    """Smooth the code of one person along time, without lag; what is the same of a person is left alone.

    Rotations are smoothed as such, of the camera what says where the head is. Its crops must be smooth already
    (``smooth_crops``): the camera of a crop that jumps has to jump.

    Args:
        parameters: One row for each frame, on the CPU.
        times: Of the frames, seconds; they grow.
        confidence: Of the landmarker in each frame, [0, 1]; rows of 0 are filled in, whatever the strength.
        strength: 0 leaves what was measured as it is, 1 is the slowest.
        segments: Number of the stretch of each row (``find_segments``).
    """
    if strength == 0 and (confidence is None or bool(np.all(confidence > 0))):
        return parameters
    signal = partial(smooth_signal, times=times, strength=strength, confidence=confidence, segments=segments)
    turns = partial(smooth_rotations, times=times, strength=strength, confidence=confidence, segments=segments)

    def smooth(name: str, block: Tensor, rotations: bool) -> Tensor:
        values, unit = block.numpy(), parameters.unit_of(name.partition(".")[0])
        noise = _NOISE.get(unit, 0.0)
        most = MOST_AIM_NOISE if unit == "camera" and values.shape[1] == 2 else math.inf
        if rotations:
            smoothed = np.stack([turns(values[:, one], noise=noise) for one in range(values.shape[1])], axis=1)
        else:
            together = unit in _TOGETHER
            groups = [values] if together else np.split(values, values.shape[1], axis=1)  # one by one: less memory
            smoothed = np.concatenate(
                [signal(one, noise=noise, most_noise=most, together=together).astype(values.dtype) for one in groups], 1
            )
        if unit == "activation":  # a spline swings beyond its ends
            smoothed = smoothed.clip(values.min(0), values.max(0))
        return torch.from_numpy(smoothed).to(block.dtype)

    return map_movement(parameters, smooth)


def map_movement(parameters: FaceParameters, change: Callable[[str, Tensor, bool], Tensor]) -> FaceParameters:
    """The same code with ``change(name, block, rotations)`` for every block that moves: all but the person's.

    Blocks of rotations come as [B, R, 3] with ``rotations``; of the camera, what says where the head is, as
    ``camera.0``, ``camera.1`` and so on.
    """
    changed: dict[str, Tensor | Camera] = {}
    for name in parameters.blocks():
        block = parameters.get(name)
        if name in IDENTITY or block is None:
            continue
        if isinstance(block, Camera):
            number = count()
            changed[name] = block.map_place(lambda place: change(f"camera.{next(number)}", place, False))  # noqa: B023
        elif name in _POSES:
            changed[name] = change(name, block.reshape(len(block), -1, 3), True).reshape(block.shape)
        else:
            changed[name] = change(name, block, False)
    return parameters.replace(**changed)


def cutoff_of(strength: float) -> float:
    """Hz of which half the amplitude passes."""
    return float(_FASTEST * (_SLOWEST / _FASTEST) ** strength)


def _smooth_stretch(
    values: Float[ndarray, "N D"],
    times: Float[ndarray, "N"],
    strength: float,
    trust: Float[ndarray, "N"],
    noise: tuple[float, float],
    together: bool,
) -> Float[ndarray, "N D"]:
    if strength == 0:
        return fill(values, times, trust)
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    # half the amplitude passes where noise * interval / push = 1 / (2 pi f)^4
    push = (2 * np.pi * cutoff_of(strength)) ** 4 * interval
    scale = np.clip(noise_of(values, times, trust), *noise)
    if together:
        scale = np.sqrt(np.mean(scale**2, keepdims=True))
    groups = [slice(None)] if together else [slice(one, one + 1) for one in range(values.shape[1])]
    out = np.empty_like(values)
    for group, own_scale in zip(groups, scale, strict=True):
        out[:, group] = _adaptive(values[:, group], times, push, trust, float(own_scale))
    return out


def _adaptive(
    values: Float[ndarray, "N D"], times: Float[ndarray, "N"], push: float, trust: Float[ndarray, "N"], scale: float
) -> Float[ndarray, "N D"]:
    """Smoothed with stronger pushes where the smoothed signal leaves the measured one by more than its noise."""
    if np.ptp(values) == 0:
        return values

    def solve(push: Float[ndarray, "N"]) -> Float[ndarray, "N D"]:
        return most_probable_path(values, times, push, trust)

    def departure(out: Float[ndarray, "N D"]) -> Float[ndarray, "N"]:
        squares: ndarray = trust * ((values - out) ** 2).mean(1) / max(scale, 1e-12) ** 2
        return squares

    return follow_movement(solve, departure, np.full(len(values), push))


def mean_rotation(turns: Float[Tensor, "N 3 3"], trust: Float[Tensor, "N"]) -> Float[Tensor, "3 3"]:
    """The rotation nearest to all, in the sense of the chordal distance."""
    u, _, vt = torch.linalg.svd((trust[:, None, None] * turns).sum(0))
    sign = torch.ones(3, dtype=turns.dtype)
    sign[2] = torch.det(u @ vt)
    mean: Tensor = (u * sign) @ vt
    return mean
