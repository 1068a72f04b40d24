"""Codes found again in portraits: what a face shows is found, what only the code carries is not."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from local_plugins import plugin
from toy_benchmark import CROP, SMALL, ToyLandmarker, colour

from emoca_core import ComponentSpec, Registry
from emoca_core.cli import main
from emoca_core.geometry.lighting import irradiance
from emoca_core.interfaces import Albedo, Encoder, FaceCrop, FaceGeometry, FaceModel, FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.probe import found_again, sources
from emoca_core.probe.benchmark import Protocol, collect_codes, compare_codes
from emoca_core.probe.report import markdown
from emoca_core.registry.catalogue import load
from emoca_core.rendering.portrait import lamp_light, portrait_camera, render_portraits

LINEAR = SMALL | {"hidden_layers": 0, "epochs": 12, "batch_size": 20, "learning_rate": 0.1, "patience": None}


class Wall(FaceModel):
    """A square before the camera whose left half is as far away as the first coefficient says: nearer looks larger."""

    blocks: ClassVar = {"shape": 1, "expression": 2, "albedo": 1}

    def __init__(self, params=None):
        super().__init__(params)
        corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        self.register_buffer("corners", 0.05 * corners)
        self.register_buffer("faces", torch.tensor([[0, 1, 2], [0, 2, 3]]))
        points = torch.cat([0.07 * frontal_landmarks() * torch.tensor([1.0, -1.0]), torch.zeros(68, 1)], 1)
        self.register_buffer("points", points)

    def forward(self, parameters: FaceParameters) -> FaceGeometry:
        batch = len(parameters)
        vertices = self.corners.expand(batch, -1, -1)
        if parameters.expression is not None:
            vertices = vertices * (0.2 + parameters.expression[:, :1, None])
        if parameters.global_pose is not None:
            vertices = vertices * 0  # a turned head would be seen: portraits take the turn away
        return FaceGeometry(vertices, {"ibug68": self.points.expand(batch, -1, -1)})

    def albedo(self, parameters: FaceParameters) -> Albedo:
        return Albedo(vertex_colors=(0.2 + parameters.albedo[:, :, None]).expand(-1, 4, 3))


class Honest(Encoder):
    """The red, which tells the class, as the size of the wall; skin and pose tell it too, and are not to be seen."""

    blocks: ClassVar = {"shape": 1, "expression": 2, "global_pose": 3, "albedo": 1}
    crop_rule = CROP
    shown = 1.0

    def forward(self, crop: FaceCrop) -> FaceParameters:
        red = colour(crop.image)[:, 0]
        leak = torch.stack([red, red, red], 1)
        size = torch.stack([self.shown * red, red], 1)
        return FaceParameters(shape=red[:, None], expression=size, global_pose=leak, albedo=red[:, None])


class Leaking(Honest):
    """The same in blocks and coefficients that no portrait shows."""

    shown = 0.0


class Brightness(Encoder):
    """The finder: how much of the picture is not background, and what its probe is not to read."""

    blocks: ClassVar = {"shape": 1, "expression": 1}
    crop_rule = CROP

    def forward(self, crop: FaceCrop) -> FaceParameters:
        amount = (crop.image.mean(1) - 0.5).abs().mean((1, 2))[:, None]
        return FaceParameters(shape=amount, expression=amount)


RECIPES = """\
version: 1
recipes:
  honest: &parts
    summary: Shows what it knows.
    landmarker: {uses: ToyLandmarker}
    encoder: {uses: Honest}
    face_model: {uses: Wall}
    renderer: {uses: zbuffer}
    probe: [expression]
  leaking: {<<: *parts, encoder: {uses: Leaking}}
  finder: {<<: *parts, encoder: {uses: Brightness}, probe: [shape, expression]}
"""


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    (tmp_path / "toys.yaml").write_text(RECIPES)
    registry = Registry()
    kinds = {"encoder": (Honest, Leaking, Brightness), "face_model": (Wall,), "landmarker": (ToyLandmarker,)}
    specs = [ComponentSpec(kind, c.__name__, f"{c.__module__}:{c.__name__}") for kind, cs in kinds.items() for c in cs]
    registry.add_plugin(plugin(*specs), "toys")
    zbuffer = ComponentSpec("renderer", "zbuffer", "emoca_plugins.renderers.zbuffer:ZBuffer")
    registry.add_plugin(plugin(zbuffer), "renderers")
    catalogue = load([tmp_path / "toys.yaml"])
    monkeypatch.setattr(sources, "get_catalogue", lambda: catalogue)
    monkeypatch.setattr(sources, "get_registry", lambda: registry)
    monkeypatch.setattr("emoca_core.registry.get_registry", lambda: registry)
    monkeypatch.setattr(found_again, "SIDE", 48)


def test_what_the_code_alone_carries_is_not_found_again(manifest):
    found, missing = sources.find_sources(["honest", "leaking"], finder="finder")
    assert not missing
    assert [source.inputs for source in found] == [("expression",)] * 4  # not the shape, which the finder's probe reads
    protocol = Protocol(folds=3, settings=LINEAR, draws=300, examples=False)
    result = compare_codes(collect_codes(found, manifest, ToyLandmarker(), "toy", protocol, missing), protocol)
    scores = {method.name: method.scores["accuracy"] for method in result.methods}
    assert list(scores) == ["honest", "honest (found again)", "leaking", "leaking (found again)"]
    for name in ("honest", "honest (found again)", "leaking"):
        assert scores[name].low > 0.5, name  # chance is 1/3
    assert scores["leaking (found again)"].value < 0.5
    assert "finds in portraits" in markdown(result)


def test_a_face_that_is_not_found_has_no_code():
    [_, source], _ = sources.find_sources(["honest"], finder="finder")
    picture = np.full((224, 224, 3), 200, np.uint8)
    seen = []

    def detect(photo):
        seen.append(photo)
        return [] if len(seen) == 2 else ToyLandmarker().detect(photo)

    source.landmarker.detect = detect
    codes = source.found_in([picture, picture, picture])
    assert codes.shape == (3, 1)
    assert torch.isfinite(codes[:, 0]).tolist() == [True, False, True]
    source.landmarker.detect = lambda photo: []
    assert source.found_in([picture]).isnan().all() and source.found_in([picture]).shape == (1, 1)


def test_portraits_show_neither_pose_nor_skin_nor_light_of_the_code():
    [_, source], _ = sources.find_sources(["honest"], finder="finder")
    bare = FaceParameters(shape=torch.zeros(2, 1), expression=torch.tensor([[0.3, 0.0], [0.8, 0.0]]))
    dressed = bare.replace(global_pose=torch.ones(2, 3), albedo=torch.ones(2, 1), lighting=torch.ones(2, 9, 3))
    plain = render_portraits(source.face_model, source.renderer, bare, 64)
    torch.testing.assert_close(render_portraits(source.face_model, source.renderer, dressed, 64), plain)
    covered = (plain - 0.5).abs().amax(1).gt(0.01).float().mean((1, 2))
    assert 0.05 < covered[0] < covered[1] / 2  # the larger wall


def test_the_camera_frames_the_points_and_moves_as_it_says():
    points = torch.randn(3, 68, 3, generator=torch.Generator().manual_seed(1)) * 0.05 + 0.2
    box = lambda camera: camera.project(points)[..., :2]  # noqa: E731
    middle = (box(portrait_camera(points)).amax(1) + box(portrait_camera(points)).amin(1)) / 2
    assert middle.abs().max() < 0.1
    side = (box(portrait_camera(points)).amax(1) - box(portrait_camera(points)).amin(1)).mean(1)
    torch.testing.assert_close(side, torch.full((3,), 1 / 0.7), rtol=0.1, atol=0)  # perspective: not quite
    right = box(portrait_camera(points, 1.0, torch.tensor([[0.1, 0.0]] * 3)))
    moved = (right - box(portrait_camera(points))).mean(1)
    assert (moved[:, 0] > 0.1).all() and moved[:, 1].abs().max() < 1e-5


def test_the_light_is_strongest_towards_the_lamp():
    light = lamp_light(torch.zeros(1, 3), 0.7, 0.35, (0.0, 0.3, 0.7))
    towards = torch.nn.functional.normalize(
        torch.tensor([[[0.0, 0.3, 0.7], [0.0, -0.3, -0.7], [1.0, 0.0, 0.0]]]), dim=-1
    )
    torch.testing.assert_close(irradiance(towards, light)[0, :, 0], torch.tensor([1.05, 0.35, 0.7]), atol=1e-6, rtol=0)


def test_the_command_shows_all_rows(manifest_file, tmp_path, capsys):
    quick = [f"--set={name}={value}" for name, value in (LINEAR | {"epochs": 1, "patience": 1}).items()]
    asked = ["benchmark", "--methods", "leaking", "--visible", "--data", str(manifest_file), "--folds", "3", *quick]
    asked += ["--landmarker", "ToyLandmarker", "--no-faces"]
    assert main([*asked, "--finder", "finder", "--out", str(tmp_path / "out")]) == 0
    assert "leaking (found again)" in capsys.readouterr().out
    assert main([*asked, "--finder", "nobody", "--out", str(tmp_path / "no")]) == 2
    assert "nobody" in capsys.readouterr().err and not (tmp_path / "no").exists()
