"""Random numbers of synthetic faces: every face has its own, whatever batch it is drawn in."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

DRAWS = 1024
"""Random numbers of one face in one stream."""


class Draws:
    """Uniform numbers of some faces, handed out one after the other; each use gets columns of its own."""

    def __init__(self, numbers: Float[Tensor, "B D"]) -> None:
        """Start at the first column of ``numbers``, uniform in (0, 1)."""
        self._numbers, self._next = numbers, 0

    def only(self, rows: Bool[Tensor, "B"]) -> "Draws":
        """What is left of the numbers of some of the faces."""
        return Draws(self._numbers[rows, self._next :])

    def uniform(self, low: float | int = 0, high: float | int = 1, *shape: int) -> Float[Tensor, "B *shape"]:
        """Uniform numbers in (low, high), ``shape`` of them for each face."""
        count = math.prod(shape)
        taken = self._numbers[:, self._next : self._next + count]
        assert taken.shape[1] == count, "this stream has no more numbers"
        self._next += count
        return (low + (high - low) * taken).reshape(-1, *shape)

    def normal(self, *shape: int) -> Float[Tensor, "B *shape"]:
        """Standard normal numbers."""
        return normal(self.uniform(0.0, 1.0, *shape))

    def chance(self, share: float) -> Bool[Tensor, "B"]:
        """True for this share of the faces."""
        return self.uniform() < share

    def choice(self, count: int) -> Int[Tensor, "B"]:
        """One of ``count`` numbers, all equally often."""
        return (self.uniform() * count).long()


def uniform_draws(seed: int, stream: int, indices: Sequence[int]) -> Float[Tensor, "B D"]:
    """Uniform numbers in (0, 1) that depend on seed, stream and index alone."""
    rows = [torch.rand(DRAWS, generator=torch.Generator().manual_seed(_mixed(seed, stream, i))) for i in indices]
    return torch.stack(rows).clamp(1e-6, 1 - 1e-6)


def normal(uniform: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Uniform numbers in (0, 1) as standard normal ones."""
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)


def _mixed(*numbers: int) -> int:
    """One 63-bit seed of several numbers (splitmix64), so that neighbouring indices are unrelated."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
