"""Points through many cameras at once."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def project_points(matrices: Float[ndarray, "N 3 4"], points: Float[ndarray, "N P 3"]) -> Float[ndarray, "N P 2"]:
    """Points in model space, metres, to pixels.

    Args:
        matrices: Of each camera, see ``PhotoCamera.matrix``.
        points: What each camera sees.
    """
    seen = points @ np.swapaxes(matrices[:, :, :3], 1, 2) + matrices[:, None, :, 3]
    return np.asarray(seen[..., :2] / seen[..., 2:])
