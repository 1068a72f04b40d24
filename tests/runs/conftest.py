"""Runs of both stages with tiny parts, trained once for all tests of this folder."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from emoca_core import Registry
from emoca_core.train.run_stage import prepare_stage

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import toy_stage

USERS = ("train.run_stage", "api", "probe.sources", "cli.show", "cli.check", "cli.package")
"""Modules that ask for the registry."""


@pytest.fixture(scope="module")
def toys():
    """The registry of everything, with the tiny parts; whoever asks for the registry gets it."""
    everything = Registry()
    everything.load_entry_points()
    toy_stage.add_components(everything)
    with pytest.MonkeyPatch.context() as patch:
        for module in USERS:
            patch.setattr(f"emoca_core.{module}.get_registry", lambda: everything)
        yield everything


@pytest.fixture(scope="module")
def runs(toys, tmp_path_factory):
    """``coarse`` trains a whole encoder, ``frozen`` a part of it from there on, ``detail`` wrinkles on top of that."""
    folder = tmp_path_factory.mktemp("runs")
    file = toy_stage.recipe_file(folder)

    def train(stage, name, **options):
        options |= {"registry_file": file, "settings": {"epochs": 1}}
        prepare_stage(stage, "toy", "synthetic_faces", **options).train(folder / name)

    whole = {"encoder": {"params": {"frozen": False}}, "landmarker": {"uses": "mediapipe"}}
    train("coarse", "coarse", change=whole)
    train("coarse", "frozen", change={"landmarker": {"uses": "mediapipe"}}, start=folder / "coarse")
    train("detail", "detail", change={"landmarker": {"uses": "mediapipe"}}, start=folder / "frozen")
    return SimpleNamespace(
        folder=folder, file=file, coarse=folder / "coarse", frozen=folder / "frozen", detail=folder / "detail"
    )
