"""Fixtures for the renderers' tests."""

import numpy as np
import pytest
import torch
from published import GOLDENS
from torch import Tensor

from .scenes import Scene, make_scene


@pytest.fixture
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="session", params=["shipped", "whole"])
def deca_decode(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    """DECA's decoder on a small synthetic asset, rendered through PyTorch3D."""
    folder = GOLDENS if request.param == "shipped" else request.getfixturevalue("shared") / "parity"
    with np.load(folder / "deca_decode.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files if archive[name].dtype.kind in "fi"}
