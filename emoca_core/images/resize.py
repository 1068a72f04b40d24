"""Pictures as tensors, in another size."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def resized(image: Float[Tensor, "B C H W"], size: int, antialias: bool = False) -> Float[Tensor, "B C S S"]:
    """Bilinear to a square; pixels are not averaged, as in EMOCA, unless ``antialias`` asks for it."""
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image, (size, size), mode="bilinear", antialias=antialias)
