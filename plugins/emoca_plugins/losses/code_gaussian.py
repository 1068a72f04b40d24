"""Blocks of the code stay where those of real faces are, all together: the jaw opens with the face around it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core import ComponentParams
from emoca_core.errors import AssetFormatError, unknown_name
from emoca_core.export.codes import read_tensors
from emoca_core.interfaces import Block, Capture, Loss
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.losses.reduction import Reduction, reduce_faces

FORMAT = "emoca-code-gaussian-1"
SHRINKAGE = 0.1
"""Of correlations towards zero, since faces are few beside the pairs of numbers."""
FLOOR = 0.02
"""Least standard deviation of a number, as a fraction of its block's largest: what never moved may move a little."""
SHIPPED = {"open_head": Path(__file__).parent / "data" / "open_head_expressions.safetensors"}


class CodeGaussian(Loss):
    """Mean squared number of the whitened blocks: 1 for a typical face, whatever their size.

    The shipped Gaussian of the open head's jaw and expression is that of 260 faces from the web that ``open_fit`` had
    no doubts about, fear to surprise and neutral in nearly equal parts; only their mean and covariance were kept.

    Source: this project. EMOCA (Danecek et al., CVPR 2022), supplementary material, section 4, found no prior that
    keeps a free jaw from adversarial optima; it had tried the jaw alone. This one keeps the landmarks in place, but
    does not make a witness agree (docs/optimisation.md).
    """

    class Params(ComponentParams):
        statistics: str = "open_head"
        """``open_head``, or a file that ``write_gaussian`` wrote."""
        reduction: Reduction = "mean"
        """Over the faces of a batch."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset()
    mean: Tensor
    whitening: Tensor

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        path = SHIPPED.get(self.params.statistics, Path(self.params.statistics))
        tensors, metadata = read_tensors(path, FORMAT, "a Gaussian of face codes")
        self.blocks: Mapping[Block, int] = _sizes(metadata.get("blocks", ""), tensors, path)
        self.register_buffer("mean", tensors["mean"], persistent=False)
        self.register_buffer("whitening", tensors["whitening"], persistent=False)

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        present = capture.parameters.blocks()
        for name, size in self.blocks.items():
            if name not in present:
                raise unknown_name("block of this face code", name, present)
            if present[name].shape[1] != size:
                raise ValueError(f"the Gaussian is of {size} numbers of {name}, the code has {present[name].shape[1]}")
        numbers = torch.cat([present[name] for name in self.blocks], 1)
        whitened = (numbers - self.mean.to(numbers)) @ self.whitening.to(numbers).mT
        return reduce_faces(whitened.square().mean(1), self.params.reduction)


def write_gaussian(path: Path | str, codes: Mapping[Block, Float[Tensor, "N _"]]) -> None:
    """Write mean and whitening of blocks of the codes of many faces, for ``statistics``.

    Correlations are shrunk by ``SHRINKAGE``, deviations are at least ``FLOOR``.

    Raises:
        OSError: The file cannot be written.
    """
    numbers = torch.cat([*codes.values()], 1).double()
    least = torch.cat([FLOOR * block.double().std(0).max().expand(block.shape[1]) for block in codes.values()])
    correlation = torch.nan_to_num(torch.corrcoef(numbers.T)) * (1 - SHRINKAGE)
    correlation.fill_diagonal_(1.0)
    deviation = torch.maximum(numbers.std(0), least)
    covariance = deviation[:, None] * correlation * deviation
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance))
    sizes = json.dumps({name: block.shape[1] for name, block in codes.items()})
    tensors = {"mean": numbers.mean(0).float(), "whitening": whitening.float().contiguous()}
    write_tensors(path, tensors, {"format": FORMAT, "blocks": sizes})


def _sizes(text: str, tensors: Mapping[str, Tensor], path: Path) -> dict[Block, int]:
    """Blocks and their sizes.

    Raises:
        AssetFormatError: They do not fit the tensors.
    """
    try:
        sizes = {str(name): int(size) for name, size in json.loads(text).items()}
        total = sum(sizes.values())
        if tensors["mean"].shape == (total,) and tensors["whitening"].shape == (total, total):
            return sizes
    except (ValueError, TypeError, AttributeError, KeyError):
        pass
    raise AssetFormatError(f"{path} does not hold a Gaussian of face codes: its tensors do not fit its blocks")
