"""Exchange within persons: codes that all images of one person share are permuted among them.

Source: DECA (Feng et al., SIGGRAPH 2021), section 4.2 (detail consistency) and 4.1 (shape consistency).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.train.task import Step


def ring_permutation(count: int, images: int, step: Step) -> Int[Tensor, "B"]:
    """Which image every image gets its code from: a random permutation within each ring of ``images``.

    A function of the step alone. It is drawn for the whole global batch, of which this pass takes its own part, so
    that the number of processes does not change who exchanges with whom.

    Args:
        count: Images of this pass; whole rings.
        images: Images of one person, one after the other.
        step: Fixes the draw.

    Raises:
        ValueError: A ring is incomplete.
    """
    if count % images:
        raise ValueError(f"{count} images are not whole rings of {images}")
    rings = count // images
    mixed = (step.seed * 0x9E3779B97F4A7C15 + step.index * 0xBF58476D1CE4E5B9 + 0xE8C4) & 0x7FFFFFFFFFFFFFFF
    drawn = torch.rand(step.parts * rings, images, generator=torch.Generator().manual_seed(mixed))
    own = drawn[step.part * rings : (step.part + 1) * rings].argsort(1)
    return (own + images * torch.arange(rings)[:, None]).flatten()


def ring_means(codes: Float[Tensor, "B D"], images: int) -> Float[Tensor, "B D"]:
    """The mean code of each ring, for every image of it.

    Raises:
        ValueError: A ring is incomplete.
    """
    if len(codes) % images:
        raise ValueError(f"{len(codes)} images are not whole rings of {images}")
    return codes.reshape(-1, images, codes.shape[1]).mean(1).repeat_interleave(images, 0)
