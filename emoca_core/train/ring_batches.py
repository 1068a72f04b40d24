"""Batches of rings: several images of one person behind each other, as exchange within persons needs them.

Source: DECA (Feng et al., SIGGRAPH 2021), section 4.2.
"""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from emoca_core.errors import ParamsError
from emoca_core.train.sampling import TrainBatches

FewImages = Literal["leave_out", "repeat"]


class RingBatches(TrainBatches):
    """``TrainBatches`` of whole rings.

    In every epoch the images of a person are shuffled and dealt into rings without repetition; those that are left over
    wait for another epoch. Every process draws the same rings and takes its own slice of each batch, so that no ring
    is torn apart and none is seen twice. An incomplete last batch is dropped.
    """

    def __init__(
        self,
        people: Int[Tensor, "N"],
        *,
        images: int,
        few_images: FewImages,
        batch_size: int,
        accumulation: int,
        rank: int,
        world: int,
        seed: int,
    ) -> None:
        """See ``StageSettings`` for the meaning of the numbers.

        Args:
            people: Number of the person on each image; negative where unknown, which no ring contains.
            images: Images in a ring.
            few_images: What to do with people who have fewer: leave them out, or draw one ring of each with
                replacement.
            batch_size: Images per optimiser step, over all processes.
            accumulation: Passes per optimiser step.
            rank: Number of this process.
            world: Number of processes.
            seed: Fixes all draws.

        Raises:
            ParamsError: The batch does not divide into rings, or there are fewer rings than one batch has.
        """
        if batch_size % (images * accumulation * world):
            raise ParamsError(
                f"batch_size {batch_size} must be a multiple of images_per_identity x accumulation x processes = "
                f"{images} x {accumulation} x {world}"
            )
        known = people >= 0
        self._members = known.nonzero().squeeze(1)
        self._person = torch.unique(people[known], return_inverse=True)[1]
        self._counts = torch.bincount(self._person)
        self._repeated = (self._counts < images) & (few_images == "repeat")
        self.rings = int((self._counts // images + self._repeated).sum())
        per_batch = batch_size // images
        if self.rings < per_batch:
            raise ParamsError(
                f"a batch needs {per_batch} rings of {images} images of one person, but {len(people)} images of "
                f"{len(self._counts)} known people make {self.rings}: lower batch_size or images_per_identity"
                + (", or set few_images to repeat" if few_images == "leave_out" else "")
            )
        self.images = images
        images_of_rings = self.rings * images
        super().__init__(
            images_of_rings, batch_size=batch_size, accumulation=accumulation, rank=rank, world=world, seed=seed
        )

    def order(self, epoch: int) -> Int[Tensor, "_"]:
        """One ring behind the other."""
        return self.draw(epoch).flatten()

    def draw(self, epoch: int) -> Int[Tensor, "R K"]:
        """All rings of an epoch as indices of images, in random order; the same on every process."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        shuffled = torch.randperm(len(self._members), generator=generator)
        dealt = shuffled[self._person[shuffled].sort(stable=True)[1]]  # by person, in random order within each
        first = self._counts.cumsum(0) - self._counts
        person = self._person[dealt]
        place = torch.arange(len(dealt)) - first[person]
        rings = dealt[place < (self._counts // self.images * self.images)[person]].view(-1, self.images)
        few = self._repeated.nonzero().squeeze(1)
        choice = torch.rand(len(few), self.images, generator=generator) * self._counts[few, None]
        repeated = dealt[first[few, None] + choice.long()]
        everyone = torch.cat([rings, repeated])
        return self._members[everyone[torch.randperm(len(everyone), generator=generator)]]
