"""The probe: how much emotion a face code carries, as far as a small network can read it."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.interfaces import EmotionPrediction

WIDTH = 2048
HIDDEN_LAYERS = 4


class ProbeNetwork(nn.Module):
    """Four hidden layers (linear, batch normalisation, LeakyReLU 0.2) and one linear output.

    The layers' names are those of the published probes' checkpoints (``model.0``, ``model.1``, ``model.3``, ...).

    Source: EMOCA supplementary, "4-layer MLP" with 2048 hidden units; gdl/models/MLP.py.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: int, classes: int, width: int = WIDTH, hidden_layers: int = HIDDEN_LAYERS) -> None:
        """A probe without standardisation; see ``standardise``.

        Args:
            inputs: Length of the code.
            classes: Number of expression classes; 0 leaves valence and arousal.
            width: Units of a hidden layer.
            hidden_layers: Number of hidden layers; 0 is a linear probe.
        """
        super().__init__()
        sizes = [inputs, *[width] * hidden_layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.Linear(sizes[-1], classes + 2))
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))

    @torch.no_grad()
    def standardise(self, codes: Float[Tensor, "N D"]) -> None:
        """Take mean and deviation of the training codes; a dimension that does not vary is only centred.

        Published codes differ by orders of magnitude (3DDFA's denormalised shape has an rms of 7e4, its expression of
        0.5): without this the small ones vanish before the first batch normalisation.
        """
        deviation = codes.double().std(0, unbiased=False)
        mean = codes.double().mean(0)
        varies = deviation > 1e-6 * mean.abs().clamp(min=1e-12)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, deviation, 1.0))

    def forward(self, code: Float[Tensor, "B D"]) -> EmotionPrediction:
        output = self.model((code - self.mean) / self.deviation)
        logits = output[:, :-2] if output.shape[1] > 2 else None
        return EmotionPrediction({"output": output}, logits, output[:, -2], output[:, -1])
