"""Fixtures for the renderers' tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from .scenes import Scene, make_scene


@pytest.fixture
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="session")
def deca_decode(shared: Path) -> dict[str, Tensor]:
    """DECA's decoder on a small synthetic asset, rendered through PyTorch3D."""
    with np.load(shared / "parity" / "deca_decode.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files if archive[name].dtype.kind in "fi"}
