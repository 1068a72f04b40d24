"""What is optimised: some blocks of a face code as one row of numbers for each face, in standard deviations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.errors import RecipeError, unknown_name
from emoca_core.interfaces import Block, Camera, FaceParameters, Unit

DEVIATIONS: Mapping[Unit, float] = {
    "sigma": 1.0,
    "activation": 0.2,
    "radians": 0.1,
    "raw": 1.0,
    "whitened": 1.0,
    "spherical_harmonics": 0.1,
    "latent": 1.0,
    "camera": 0.02,
}
"""What counts as one standard deviation of a number in a unit, so that one learning rate suits all. Activations: as in
the open recipes. Radians, light, camera (of its aim, and of the logarithm of its distance): this project's choice."""


@dataclass(frozen=True)
class Unknowns:
    """Some blocks of codes of one kind.

    Attributes:
        blocks: Their names.
        deviations: One standard deviation of each, in its unit.
        bounds: Least and greatest value of each, where there are any.
    """

    blocks: tuple[Block, ...]
    deviations: Mapping[Block, float]
    bounds: Mapping[Block, tuple[float, float]]

    @classmethod
    def of(cls, code: FaceParameters, names: Sequence[Block]) -> "Unknowns":
        """The blocks of these names.

        Raises:
            UnknownNameError: The code has no such block.
            RecipeError: No name is given.

        Example:
            >>> Unknowns.of(FaceParameters(expression=torch.zeros(1, 50)), ["expression"]).deviations
            {'expression': 1.0}
        """
        names = tuple(dict.fromkeys(names))
        if not names:
            raise RecipeError("nothing to optimise: name at least one block of the face code, e.g. expression")
        for name in names:
            if name not in code.blocks():
                raise unknown_name("block in the face code of this method", name, code.blocks())
        units = {name: code.unit_of(name) for name in names}
        bounded = {name: (0.0, 1.0) for name, unit in units.items() if unit == "activation"}
        return cls(names, {name: DEVIATIONS[unit] for name, unit in units.items()}, bounded)

    def values(self, code: FaceParameters) -> dict[Block, Float[Tensor, "B _"]]:
        """Each block's numbers, in standard deviations."""
        return {name: torch.cat(list(_tensors(code, name)), 1) / self.deviations[name] for name in self.blocks}

    def code(self, base: FaceParameters, values: Mapping[Block, Float[Tensor, "B _"]]) -> FaceParameters:
        """The reverse of ``values``; what is not unknown is that of ``base``."""
        return base.replace(**{name: _filled(base, name, values[name] * self.deviations[name]) for name in self.blocks})

    def clamped(self, values: Mapping[Block, Float[Tensor, "B _"]]) -> dict[Block, Float[Tensor, "B _"]]:
        """The nearest numbers within the bounds."""
        bounds = {name: [bound / self.deviations[name] for bound in pair] for name, pair in self.bounds.items()}
        return {name: value.clamp(*bounds[name]) if name in bounds else value for name, value in values.items()}


def _tensors(code: FaceParameters, name: Block) -> Iterator[Float[Tensor, "B _"]]:
    """The numbers of a block; of a camera where the head is, and not the lens."""
    block = code.get(name)
    if not isinstance(block, Camera):
        assert block is not None
        yield block.flatten(1)
        return
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    block.map_place(keep)
    yield from (tensor.reshape(len(tensor), -1) for tensor in found)


def _filled(base: FaceParameters, name: Block, values: Float[Tensor, "B _"]) -> Tensor | Camera:
    block = base.get(name)
    if not isinstance(block, Camera):
        assert block is not None
        return values.reshape(len(values), *block.shape[1:])
    pieces = iter(torch.split(values, [piece.shape[1] for piece in _tensors(base, name)], dim=1))
    return block.map_place(lambda tensor: next(pieces).reshape(tensor.shape))


def check_gradients(values: Mapping[Block, Tensor], names: Iterable[Block]) -> None:
    """Refuse unknowns that the energy does not depend on, which would stay as they are without a word.

    Raises:
        RecipeError: All such blocks.
    """
    idle = [name for name in names if (gradient := values[name].grad) is None or not gradient.any()]
    if idle:
        raise RecipeError(
            f"no term depends on {', '.join(idle)}: leave it out of the unknowns, or add a term that does "
            "(wrinkles: --set detail=true)"
        )
