"""The visible probe: what a face shows is read, what only the code carries is not."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from local_plugins import plugin
from toy_benchmark import CROP, SMALL, ToyLandmarker, colour

from emoca_core import ComponentSpec, Registry
from emoca_core.cli import main
from emoca_core.errors import MissingAssetError
from emoca_core.interfaces import Encoder, FaceCrop, FaceGeometry, FaceModel, FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.probe import sources, visible
from emoca_core.probe.benchmark import Protocol, collect_codes, compare_codes
from emoca_core.probe.report import markdown
from emoca_core.registry.catalogue import load

LINEAR = SMALL | {"hidden_layers": 0, "epochs": 12, "batch_size": 20, "learning_rate": 0.1, "patience": None}
MOVE_M = 0.02
"""How far the mouth moves by an expression of 1: the classes' reds are 5 mm apart."""


class ToyHead(FaceModel):
    """Four vertices about each landmark, and one far from all; only the first coefficient moves anything: the mouth."""

    blocks: ClassVar = {"shape": 1, "expression": 3}

    def __init__(self, params=None):
        super().__init__(params)
        points = torch.cat([0.07 * frontal_landmarks() * torch.tensor([1.0, -1.0]), torch.zeros(68, 1)], 1)
        around = 1e-3 * torch.randn(68, 4, 3, generator=torch.Generator().manual_seed(0))
        far = torch.tensor([[0.0, 0.0, -0.3]])
        self.register_buffer("points", points)
        self.register_buffer("mean", torch.cat([(points[:, None] + around).reshape(-1, 3), far]))
        self.register_buffer("faces", torch.arange(273).reshape(-1, 3))
        mouth = torch.zeros(273, 3)
        mouth[4 * 48 : 4 * 68, 1] = MOVE_M
        self.register_buffer("mouth", mouth)

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        batch = len(parameters)
        vertices = self.mean.expand(batch, -1, -1)
        if parameters.shape is not None:
            vertices = vertices + 0.01 * parameters.shape[:, :1, None]
        if parameters.expression is not None:
            vertices = vertices + parameters.expression[:, :1, None] * self.mouth
        if parameters.global_pose is not None:
            vertices = vertices + 1.0 * parameters.global_pose.sum(1)[:, None, None]
        return FaceGeometry(vertices, {"ibug68": self.points.expand(batch, -1, -1)})


class Honest(Encoder):
    """The red, which tells the class, as the expression that moves the mouth."""

    blocks: ClassVar = {"shape": 1, "expression": 3, "global_pose": 3}
    crop_rule = CROP
    shown = 1.0

    def forward(self, crop: FaceCrop) -> FaceParameters:
        red, _, blue = colour(crop.image).T
        nothing = torch.zeros_like(red)
        return FaceParameters(
            shape=blue[:, None],
            expression=torch.stack([self.shown * red, blue, nothing], 1),
            global_pose=torch.stack([red, nothing, nothing], 1),  # a leak by the head's pose
        )


class Subtle(Honest):
    """As small as 0.05 mm: the probe, which standardises, reads it as well."""

    shown = 0.01


class Leaking(Honest):
    """The red in a block that no vertex shows."""

    blocks: ClassVar = {**Honest.blocks, "leak": 1}
    shown = 0.0

    def forward(self, crop: FaceCrop) -> FaceParameters:
        leak = colour(crop.image)[:, :1]
        return super().forward(crop).replace(leak=leak, units={"leak": "latent"})


class Licensed(ToyHead):
    """Never here."""

    def __init__(self, params=None):
        raise MissingAssetError("missing asset 'toy_head': ask its authors")


RECIPES = """\
version: 1
recipes:
  honest: &parts
    summary: Shows what it knows.
    encoder: {uses: Honest}
    face_model: {uses: ToyHead}
    renderer: {uses: zbuffer}
    probe: [expression]
  subtle: {<<: *parts, encoder: {uses: Subtle}}
  leaking: {<<: *parts, encoder: {uses: Leaking}, probe: [expression, leak]}
  licensed: {<<: *parts, face_model: {uses: Licensed}}
"""


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    (tmp_path / "toys.yaml").write_text(RECIPES)
    registry = Registry()
    kinds = {"encoder": (Honest, Subtle, Leaking), "face_model": (ToyHead, Licensed), "landmarker": (ToyLandmarker,)}
    specs = [ComponentSpec(kind, c.__name__, f"{c.__module__}:{c.__name__}") for kind, cs in kinds.items() for c in cs]
    registry.add_plugin(plugin(*specs), "toys")
    catalogue = load([tmp_path / "toys.yaml"])
    monkeypatch.setattr(sources, "get_catalogue", lambda: catalogue)
    monkeypatch.setattr(sources, "get_registry", lambda: registry)
    monkeypatch.setattr("emoca_core.registry.get_registry", lambda: registry)


@pytest.fixture
def result(manifest):
    found, missing = sources.find_sources(["honest", "subtle", "leaking", "licensed"], visible=True)
    protocol = Protocol(folds=3, settings=LINEAR, draws=300, examples=False)
    return compare_codes(collect_codes(found, manifest, ToyLandmarker(), "toy", protocol, missing), protocol)


def test_a_leak_that_no_vertex_shows_is_at_chance(result):
    scores = {method.name: method.scores["accuracy"] for method in result.methods}
    for name in ("honest", "honest (visible)", "subtle", "leaking"):
        assert scores[name].low > 0.5, name  # chance is 1/3
    for name in ("leaking (visible)", "subtle (visible)"):
        assert scores[name].low < 1 / 3 < 0.5 < scores["leaking"].low, name
        assert scores[name].value < 0.5, name
    assert [(m.name, m.reason) for m in result.missing] == [
        ("licensed (visible)", "missing asset 'toy_head': ask its authors")
    ]
    assert "0.5 mm of noise" in markdown(result)


def test_without_the_noise_the_smallest_movement_would_be_read():
    """What the noise is for: the movement follows the class exactly, and is far below the noise."""
    [_, source], _ = sources.find_sources(["subtle"], visible=True)
    red = torch.linspace(0.2, 0.8, 50)
    code = FaceParameters(expression=torch.stack([Subtle.shown * red] * 3, 1))
    mouth = source.displacements(code)[:, 57, 1].numpy()
    assert np.corrcoef(mouth, red)[0, 1] > 0.999
    assert np.ptp(mouth) < visible.NOISE_MM / 2


def test_displacements_are_those_of_the_regions_without_the_pose_and_the_person():
    [_, source], _ = sources.find_sources(["honest"], visible=True)
    regions = source.regions
    assert regions.shape == (68, 273)
    torch.testing.assert_close(regions.sum(1), torch.ones(68))
    assert (regions[:, -1] == 0).all()  # the vertex far from all landmarks
    code = FaceParameters(
        shape=torch.tensor([[0.3], [3.0]]),
        expression=torch.tensor([[0.5, 9.0, 9.0], [1.0, 9.0, 9.0]]),
        global_pose=torch.ones(2, 3),
    )
    moved = source.displacements(code)
    mesh = source.face_model(FaceParameters(shape=code.shape, expression=code.expression)).vertices
    rest = source.face_model(FaceParameters(shape=code.shape)).vertices
    for region in (0, 30, 50, 66):
        members = regions[region] > 0
        expected = 1000 * (mesh[:, members] - rest[:, members]).mean(1)
        torch.testing.assert_close(moved[:, region], expected, rtol=1e-4, atol=1e-4)
    assert moved[:, 57, 1].tolist() == pytest.approx([10, 20], rel=1e-3)
    assert moved[:, 30].abs().max() == 0


def test_the_noise_is_the_same_in_every_run_and_as_large_as_it_says():
    [_, source], _ = sources.find_sources(["honest"], visible=True)
    still = np.zeros((500, 204), np.float32)
    noise = source.as_seen(still)
    np.testing.assert_array_equal(noise, source.as_seen(still))
    assert noise.std() == pytest.approx(visible.NOISE_MM, rel=0.02)  # of 102,000 numbers


def test_the_command_shows_both(manifest_file, tmp_path, capsys):
    quick = [f"--set={name}={value}" for name, value in (LINEAR | {"epochs": 1, "patience": 1}).items()]
    asked = [
        "benchmark",
        "--methods",
        "leaking",
        "--visible",
        "--finder",
        "none",
        "--data",
        str(manifest_file),
        "--folds",
        "3",
        *quick,
    ]
    assert main([*asked, "--landmarker", "ToyLandmarker", "--no-faces", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "leaking (visible)" in out
    assert "leaking (visible)" in (tmp_path / "out" / "report.html").read_text("utf-8")
