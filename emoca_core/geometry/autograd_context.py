"""What autograd hands to a custom function, for type checkers: torch declares less than there is."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Context(Protocol):
    """Argument ``ctx`` of ``torch.autograd.Function.forward`` and ``backward``."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for ``backward``."""
