"""Smoothing of what is still going on: calm while little moves, quick when much does."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from emoca_core.geometry.rotations import matrix_to_rotation_vector, rotation_vector_to_matrix
from emoca_core.interfaces import FaceParameters
from emoca_core.video.smoothing import DEFAULT_STRENGTH, cutoff_of, map_movement

_LONGEST_PAUSE = 0.5
"""Seconds after which a signal begins anew."""
_BETA = 10.0
"""Hz for each activation, sigma, radian or metre per second."""


@dataclass
class OneEuro:
    """The One-Euro filter of any number of signals, or of rotations.

    Attributes:
        minimum_cutoff: Hz that pass while nothing moves; lower is calmer.
        beta: How many Hz more for each unit of movement per second; higher is quicker.
        derivative_cutoff: Hz of the low pass on the speed.
        rotations: The values are axis-angle vectors (radians) and smoothed as rotations.

    Source: Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012.

    Example:
        >>> calm = OneEuro(minimum_cutoff=1.0, beta=0.0)
        >>> [calm(np.array([value]), time).round(3).tolist() for value, time in ((0.0, 0.0), (1.0, 0.04), (1.0, 0.08))]
        [[0.0], [0.201], [0.361]]
    """

    minimum_cutoff: float = 1.0
    beta: float = 1.0
    derivative_cutoff: float = 1.0
    rotations: bool = False
    _last: tuple[float, Float[ndarray, "*D"], Float[ndarray, "*D"]] | None = field(default=None, init=False, repr=False)

    def __call__(self, values: Float[ndarray, "*D"], time: float) -> Float[ndarray, "*D"]:
        """The smoothed values of the next frame, in float64.

        Args:
            values: Measured; the same shape in every call.
            time: Seconds; after a pause of more than half a second, or a step back, the filter begins anew.
        """
        values = np.asarray(values, dtype=np.float64)
        if self._last is None or not 0 < time - self._last[0] <= _LONGEST_PAUSE:
            self._last = time, values, np.zeros_like(values)
            return values
        before, smooth, speed = self._last
        interval = time - before
        away = _turn_between(smooth, values) if self.rotations else values - smooth
        speed = speed + _weight(self.derivative_cutoff, interval) * (away / interval - speed)
        moved = np.linalg.norm(speed, axis=-1, keepdims=True) if self.rotations else np.abs(speed)
        step = _weight(self.minimum_cutoff + self.beta * moved, interval) * away
        smooth = _turned(smooth, step) if self.rotations else smooth + step
        self._last = time, smooth, speed
        return smooth


class OneEuroCode:
    """Smooths the code of one person while the frames come in, every block as ``smooth_code`` does it offline."""

    def __init__(self, strength: float = DEFAULT_STRENGTH) -> None:
        """Begin.

        Args:
            strength: 0 leaves what was measured as it is, 1 is the calmest.
        """
        self.strength = strength
        self._filters: dict[str, OneEuro] = {}

    def __call__(self, parameters: FaceParameters, time: float) -> FaceParameters:
        """The smoothed code of the next frame.

        Args:
            parameters: A batch of one, on the CPU.
            time: Seconds.
        """
        if self.strength == 0:
            return parameters

        def smooth(name: str, block: Tensor, rotations: bool) -> Tensor:
            if name not in self._filters:
                self._filters[name] = OneEuro(cutoff_of(self.strength) / 2, _BETA, rotations=rotations)
            return torch.from_numpy(self._filters[name](block.numpy(), time)).to(block.dtype)

        return map_movement(parameters, smooth)


def _weight(cutoff: float | Float[ndarray, "*D"], interval: float) -> float | Float[ndarray, "*D"]:
    """Of the new value, in a first-order low pass."""
    turn = 2 * np.pi * cutoff * interval
    return turn / (turn + 1)


def _turn_between(one: Float[ndarray, "*D 3"], other: Float[ndarray, "*D 3"]) -> Float[ndarray, "*D 3"]:
    first, second = (rotation_vector_to_matrix(torch.from_numpy(each)) for each in (one, other))
    turn: ndarray = matrix_to_rotation_vector(first.mT @ second).numpy()
    return turn


def _turned(vector: Float[ndarray, "*D 3"], by: Float[ndarray, "*D 3"]) -> Float[ndarray, "*D 3"]:
    first, second = (rotation_vector_to_matrix(torch.from_numpy(each)) for each in (vector, by))
    turned: ndarray = matrix_to_rotation_vector(first @ second).numpy()
    return turned
