"""Results that come batch by batch and are kept in few large pieces of memory.

Many small ones, between the large ones that come and go, would keep those from being given back: 9 kB a frame.
"""

from collections.abc import Sequence

from torch import Tensor


class Rows:
    """Batches of some tensors, one after another, on the CPU.

    Args:
        count: Rows that come in all.

    Example:
        >>> import torch
        >>> rows = Rows(3)
        >>> for batch in (torch.tensor([1, 2]), torch.tensor([3])):
        ...     rows.add([batch])
        >>> rows.whole()
        [tensor([1, 2, 3])]
    """

    def __init__(self, count: int) -> None:
        self._count, self._filled = count, 0
        self._whole: list[Tensor] = []

    def add(self, batch: Sequence[Tensor]) -> None:
        """Keep a copy of the next rows of each."""
        self._whole = self._whole or [part.new_empty(self._count, *part.shape[1:], device="cpu") for part in batch]
        for whole, part in zip(self._whole, batch, strict=True):
            whole[self._filled : self._filled + len(part)] = part
        self._filled += len(batch[0]) if batch else 0

    def whole(self) -> list[Tensor]:
        """All rows of each.

        Raises:
            ValueError: Some have not come.
        """
        if self._whole and self._filled < self._count:
            raise ValueError(f"{self._filled} of {self._count} rows have come")
        return self._whole
