"""A real head and two real photos."""

from collections.abc import Callable

import pytest
import torch
from patch_backbones import PHOTOS, Others, Patches

from emoca_core import load_method
from emoca_core.interfaces import CapturedFace, EmotionBackbone
from emoca_core.method import Method
from emoca_core.optimisation.pair import one_face


@pytest.fixture(scope="session")
def method() -> Method:
    small = {"face_model": {"params": {"texture_size": 64}}}
    return load_method("open_fit", change=small, device="cpu")


@pytest.fixture(scope="session")
def source(method: Method) -> CapturedFace:
    return one_face(method, PHOTOS / "grace_hopper.jpg")


@pytest.fixture(scope="session")
def target(method: Method) -> CapturedFace:
    return one_face(method, PHOTOS / "astronaut.jpg")


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both backbones under the names ``patches`` and ``others``, as if they were in the catalogue."""
    known: dict[str, Callable[[], EmotionBackbone]] = {"patches": Patches, "others": Others}

    def load(name: str, device: torch.device | None = None) -> EmotionBackbone:
        return known[name]().eval().requires_grad_(False)

    def witness(*judges: str, device: torch.device | None = None) -> tuple[str, EmotionBackbone]:
        return next((name, load(name)) for name in known if name not in judges)

    for module in ("optimisation", "to_folder"):
        monkeypatch.setattr(f"emoca_core.optimisation.{module}.load_emotion_backbone", load)
    monkeypatch.setattr("emoca_core.optimisation.optimisation.find_witness", witness)
