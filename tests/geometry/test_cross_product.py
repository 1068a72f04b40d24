"""The cross product against NumPy's, and its gradients against differences."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from emoca_core.geometry.cross_product import cross_product


def vectors(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return a, b


@pytest.mark.parametrize("shape", [(7, 3, 2), (2, 3, 4, 5), (6, 3)])
def test_against_numpy(shape: tuple[int, ...]) -> None:
    a, b = vectors(*shape)
    assert_close(cross_product(a, b), torch.from_numpy(np.cross(a, b, axis=1)), atol=1e-14, rtol=0)


def test_single_precision_is_as_exact_as_torchs() -> None:
    a, b = (item.float() for item in vectors(1000, 3, 8))
    exact = torch.linalg.cross(a.double(), b.double(), dim=1)
    ours, theirs = (
        (item.double() - exact).abs().max() for item in (cross_product(a, b), torch.linalg.cross(a, b, dim=1))
    )
    assert ours <= 2 * theirs


def test_gradient_and_its_gradient() -> None:
    a, b = (item.requires_grad_() for item in vectors(2, 3, 2))
    assert torch.autograd.gradcheck(cross_product, (a, b))
    assert torch.autograd.gradgradcheck(cross_product, (a, b))


def test_vectors_that_are_not_contiguous() -> None:
    a, b = vectors(3, 5, 4)
    a, b = a.permute(2, 0, 1), b.permute(2, 0, 1)
    assert_close(cross_product(a, b), torch.linalg.cross(a, b, dim=1))
