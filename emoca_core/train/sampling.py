"""Which samples a batch holds: one global draw, of which every process takes its slice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from emoca_core.errors import ParamsError

Sample = TypeVar("Sample")
Sample_co = TypeVar("Sample_co", covariant=True)


@runtime_checkable
class Samples(Protocol[Sample_co]):
    """A set whose items are found by integer; whole batches by ``__getitems__``, where it has that."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample_co: ...


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of one epoch."""

    epoch: int
    position: int
    """Place in the epoch's order; differs when a sample is drawn twice."""
    index: int


class DrawnDataset(Dataset[Sample]):
    """A set read through draws: ``augment(sample, generator)`` gets randomness that depends on the draw alone.

    So the numbers do not depend on workers, processes or an interruption.
    """

    def __init__(
        self, dataset: Samples[Sample], seed: int, augment: Callable[[Sample, torch.Generator], Sample] | None = None
    ) -> None:
        self.dataset, self.seed, self.augment = dataset, seed, augment

    def __getitems__(self, draws: list[Draw]) -> list[Sample]:
        """A batch at once, of sets that can do that, as synthetic faces can."""
        indices = [draw.index for draw in draws]
        together = getattr(self.dataset, "__getitems__", None)
        samples = list(together(indices)) if together else [self.dataset[index] for index in indices]
        if self.augment is None:
            return samples
        generators = [sample_generator(self.seed, draw.epoch, draw.position) for draw in draws]
        return [self.augment(sample, generator) for sample, generator in zip(samples, generators, strict=True)]


def class_balanced_weights(labels: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Sampling weights that make every class that occurs equally likely; negative labels are never drawn.

    Source: EMOCA supplementary, balanced sampling over expression classes.

    Raises:
        ParamsError: No sample has a label.
    """
    known = labels >= 0
    if not known.any():
        raise ParamsError("balanced sampling needs at least one labelled sample; --no-balanced does without")
    counts = torch.bincount(labels[known])
    return torch.where(known, 1.0 / counts[labels.clamp(min=0)].double(), torch.zeros((), dtype=torch.float64))


def epoch_order(length: int, epoch: int, seed: int, weights: Float[Tensor, "N"] | None = None) -> Int[Tensor, "N"]:
    """The order of one epoch: a permutation, or ``length`` draws with replacement by ``weights``."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    if weights is None:
        return torch.randperm(length, generator=generator)
    # multinomial is limited to 2^24 categories; inverting the cumulative sum is not
    cumulative = weights.double().cumsum(0)
    draws = torch.rand(length, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, draws, right=True).clamp(max=length - 1)


class TrainBatches(Sampler[list[Draw]]):
    """Batches of one epoch for one process.

    Every process draws the same global order; of each global batch, process ``rank`` takes the ``rank``-th slice of
    every accumulation step. So no sample is seen twice by mistake, and the number of processes does not change what
    an optimiser step sees. An incomplete last batch is dropped.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        accumulation: int,
        rank: int,
        world: int,
        seed: int,
        weights: Float[Tensor, "N"] | None = None,
    ) -> None:
        """See ``TrainSettings`` for the meaning of the numbers.

        Raises:
            ParamsError: The batch does not divide, or the set is smaller than one batch.
        """
        if batch_size % (accumulation * world):
            raise ParamsError(
                f"batch_size {batch_size} must be a multiple of accumulation x processes = {accumulation} x {world}"
            )
        if length < batch_size:
            raise ParamsError(f"{length} training samples are fewer than one batch of {batch_size}: lower batch_size")
        self.length, self.batch_size, self.accumulation = length, batch_size, accumulation
        self.rank, self.world, self.seed, self.weights = rank, world, seed, weights
        self.epoch, self.start = 0, 0

    @property
    def steps(self) -> int:
        """Optimiser steps in an epoch."""
        return self.length // self.batch_size

    def begin(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and the optimiser step to start at after a resume."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return (self.steps - self.start) * self.accumulation

    def order(self, epoch: int) -> Int[Tensor, "_"]:
        """The samples of an epoch as they are drawn; the same on every process."""
        return epoch_order(self.length, epoch, self.seed, self.weights)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.order(self.epoch).tolist()
        positions = torch.arange(self.steps * self.batch_size).view(self.steps, self.accumulation, self.world, -1)
        for batch in positions[self.start :, :, self.rank].reshape(len(self), -1).tolist():
            yield [Draw(self.epoch, position, order[position]) for position in batch]


class EvaluationBatches(Sampler[list[int]]):
    """The whole set once, in strides over the processes. What is left over, fewer than there are processes, all see."""

    def __init__(self, length: int, *, batch_size: int, rank: int, world: int) -> None:
        """Split ``length`` samples over ``world`` processes."""
        shared = length // world * world
        parts = range(rank, shared, world), range(shared, length)
        self.batches = [list(part[i : i + batch_size]) for part in parts for i in range(0, len(part), batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def sample_generator(seed: int, epoch: int, position: int) -> torch.Generator:
    """Randomness of one draw: the same whatever the number of workers and processes."""
    mixed = (
        seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB
    ) & 0x7FFFFFFFFFFFFFFF
    return torch.Generator().manual_seed(mixed)
