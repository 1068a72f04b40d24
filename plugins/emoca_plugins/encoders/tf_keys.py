"""What all TensorFlow checkpoints have in common: layouts of weights and variables of the optimiser."""

from torch import Tensor

OPTIMIZER_SLOTS = {
    r".*/(Adam|Adam_1|Momentum|RMSProp|RMSProp_1|ExponentialMovingAverage)$": "state of the training",
    r"(global_step|beta\d_power|learning_rate)": "state of the training",
}
"""Pattern -> why such variables are not needed."""


def to_torch_layout(name: str, tensor: Tensor) -> Tensor:
    """Height, width, in, out to out, in, height, width; in, out to out, in."""
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor
