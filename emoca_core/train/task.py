"""What a task gives the loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from emoca_core.method.objective import Losses

T = TypeVar("T")


@runtime_checkable
class TensorBatch(Protocol):
    """Several samples at once, of whatever form."""

    def map(self: T, change: Callable[[Tensor], Tensor]) -> T:
        """The same batch with every tensor replaced by ``change(tensor)``."""


Batch = TypeVar("Batch", bound=TensorBatch)


@dataclass(frozen=True)
class Step:
    """The position of a forward pass, for whatever must be the same on all processes and after a resume."""

    epoch: int
    index: int
    """Optimiser steps done."""
    seed: int
    part: int = 0
    """Which part of the optimiser step's batch this pass sees: accumulation step times processes plus rank."""
    parts: int = 1
    """Parts that the batch of an optimiser step is split into: accumulation steps times processes."""
    logged: bool = True
    """Whether the parts of the loss will be logged; what is only measured need not be computed otherwise."""


class Task(nn.Module, ABC, Generic[Batch]):
    """A module that is trained. ``forward`` gives the loss so that DistributedDataParallel sees it.

    Attributes:
        monitor: Metric that decides which checkpoint is best.
        higher_is_better: Direction of ``monitor``.
    """

    monitor: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def forward(self, batch: Batch, step: Step) -> Losses:
        """The loss of a batch. Anything random must depend only on ``step``."""

    @abstractmethod
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """What validation gathers, one row per sample."""

    @abstractmethod
    def metrics(self, gathered: Mapping[str, Tensor]) -> dict[str, float]:
        """Metrics over the whole validation set, in the order of the set."""

    def pictures(self, batch: Batch) -> dict[str, Tensor] | None:
        """Pictures [H, W, 3], uint8, of some validation samples by name, for the run folder and the tracker."""
        return None

    def frozen(self) -> Iterable[nn.Module]:
        """What is kept out of the module: frozen networks and whatever else has to be on the device."""
        return ()

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """What the optimiser gets."""
        return (p for p in self.parameters() if p.requires_grad)

    def trained_state(self) -> dict[str, Tensor]:
        """What the exported weights hold: by default everything."""
        return self.state_dict()

    def card(self) -> dict[str, object]:
        """What is needed to rebuild the trained part: component names, parameters, hashes."""
        return {}
