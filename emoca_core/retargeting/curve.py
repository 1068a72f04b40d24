"""How strongly a pose is shown, along time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.errors import ParamsError
from emoca_core.parsing import shown

_MOST_INTENSE = 1.5
"""Beyond, no face looks human."""
_LONGEST_S = 3600.0


@dataclass(frozen=True)
class Curve:
    """Intensities at some moments; between them they change smoothly, and never beyond the two around.

    Attributes:
        times: Seconds from 0; they grow.
        values: 0 is neutral, 1 the full expression.

    Raises:
        ParamsError: Fewer than one moment, times that do not grow, or intensities that no face has.
    """

    times: tuple[float, ...] = (0.0, 1.0, 2.0)
    values: tuple[float, ...] = (0.0, 1.0, 0.0)

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.values):
            raise ParamsError("a curve needs an intensity for each of its moments, and at least one")
        if not (self.times[0] >= 0 and self.times[-1] <= _LONGEST_S and (np.diff(self.times) > 0).all()):
            raise ParamsError(f"the times of a curve grow from 0 to {_LONGEST_S:g} s at most, got {self}")
        if not all(0 <= value <= _MOST_INTENSE for value in self.values):
            raise ParamsError(f"the intensities of a curve lie between 0 and {_MOST_INTENSE:g}, got {self}")

    def __str__(self) -> str:
        return ",".join(f"{time:g}:{value:g}" for time, value in zip(self.times, self.values, strict=True))

    @classmethod
    def parse(cls, text: str) -> "Curve":
        """Read ``seconds:intensity`` with commas between them.

        Raises:
            ParamsError: Not of that form.

        Example:
            >>> Curve.parse("0:0, 0.5:1, 2:0").values
            (0.0, 1.0, 0.0)
        """
        try:
            pairs = [tuple(map(float, pair.split(":"))) for pair in text.split(",")]
            times, values = zip(*pairs, strict=True)
        except ValueError:
            raise ParamsError(f"'{shown(text)}' is no curve: write seconds:intensity, as in 0:0,1:1,2:0") from None
        return cls(times, values)

    def sample(self, rate: float) -> tuple[Float[ndarray, "N"], Float[ndarray, "N"]]:
        """Times from 0 to the last moment, ``rate`` a second, and the intensity at each of them."""
        from scipy.interpolate import PchipInterpolator

        times = np.arange(int(self.times[-1] * rate + 1e-6) + 1) / rate
        if len(self.times) == 1:
            return times, np.full(len(times), self.values[0])
        inside = np.clip(times, self.times[0], self.times[-1])
        values = PchipInterpolator(self.times, self.values)(inside)
        return times, np.clip(values, min(self.values), max(self.values))  # of rounding
