"""Even light, with which a picture is the albedo."""

from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.lighting import SH_CONSTANTS


def white_light(batch: int, like: Tensor, strength: float = 1.0) -> Float[Tensor, "B 9 3"]:
    """Even white light that leaves albedo as it is (times ``strength``), on the device of ``like``."""
    light = like.new_zeros(batch, 9, 3)
    light[:, 0] = strength / SH_CONSTANTS[0]
    return light
