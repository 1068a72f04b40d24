"""Derivatives of face models in landmark_fit, against forward mode and finite differences, and what they cost."""

import subprocess
import sys

import pytest
import torch

from emoca_core.interfaces import FaceCrop, FaceParameters, PerspectiveCamera
from emoca_core.interfaces.parts import Parts
from emoca_core.rendering.face import render_face
from emoca_plugins.encoders.landmark_fit import objective, photometric
from emoca_plugins.encoders.landmark_fit.derivatives import derivatives_along
from emoca_plugins.encoders.landmark_fit.encoder import LandmarkFit
from emoca_plugins.encoders.landmark_fit.unknowns import Unknowns
from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.renderers.zbuffer import ZBuffer

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")  # torch's own, inside its forward mode


@pytest.fixture(scope="module")
def head():
    return OpenHead(OpenHead.Params(texture_size=128))


def forward_mode(function, x, directions, at_once):
    """The independent way: torch's forward-mode differentiation."""

    def along(direction):
        return torch.func.jvp(function, (x,), (direction.expand_as(x),))[1]

    return torch.func.vmap(along, chunk_size=at_once)(directions)


def rendered_faces(head):
    """Pictures and points of two turned faces, one of them smiling, under light from the front and one side."""
    generator = torch.Generator().manual_seed(3)
    lighting = torch.zeros(2, 9, 3)
    lighting[:, 0], lighting[:, 3], lighting[1, 1] = 2.0, 0.4, 0.3
    true = FaceParameters(
        shape=0.7 * torch.randn(2, 100, generator=generator),
        expression=0.3 * torch.rand(2, 52, generator=generator),
        global_pose=torch.tensor([[0.0, 0.2, 0.0], [0.1, -0.4, 0.05]]),
        albedo=0.7 * torch.randn(2, head.blocks["albedo"], generator=generator),
    )
    camera = PerspectiveCamera(torch.full((2, 2), 2.8), torch.zeros(2, 2), torch.tensor([0.0, 0.01, 0.75]).expand(2, 3))
    geometry = head(true)
    rendered = render_face(ZBuffer(), head, geometry, camera, head.albedo(true), lighting, (128, 128))
    points = camera.project(geometry.landmarks["mediapipe478"])[..., :2]
    return FaceCrop(rendered.image.clamp(0, 1), {"mediapipe478": points})


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
def test_every_direction_and_item_has_its_own_derivative(at_once):
    x = torch.tensor([[0.3, -0.2, 0.5], [1.0, 2.0, -0.1]], dtype=torch.float64)
    directions = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def function(x):
        return torch.stack([x.sin() * x.flip(1), x.exp() * x.sum(1, keepdim=True)], dim=1)

    step = 1e-6
    along = derivatives_along(function, x, directions, at_once)
    for column, direction in zip(along, directions, strict=True):
        difference = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
        torch.testing.assert_close(column, difference, atol=1e-8, rtol=1e-8)  # central differences in double precision


def test_a_function_of_nothing_does_not_move():
    assert not derivatives_along(lambda x: x.new_ones(len(x), 4), torch.zeros(2, 3), torch.eye(3), 2).any()


def test_points_of_the_average_head_move_as_forward_mode_says(head):
    unknowns = Unknowns.of(head.blocks, head.expression_names, "joint")

    def points(x):
        return head(unknowns.parameters(x)).landmarks["mediapipe478"]

    x, directions = torch.zeros(1, unknowns.size), torch.eye(unknowns.size)[list(unknowns.directed)]
    expected = forward_mode(points, x, directions, 60)
    assert expected.abs().max() > 0.1  # a turn moves points of a head by centimetres per radian
    torch.testing.assert_close(derivatives_along(points, x, directions, 60), expected, atol=1e-7, rtol=1e-6)


def test_albedo_of_the_average_head_changes_as_finite_differences_say(head):
    change = photometric.albedo_change(head, torch.zeros(1))
    code, step = torch.zeros(1, change.count), 1e-2
    found = change.surface.texture.reshape(change.count, 3, 128, 128)
    assert found.abs().amax((1, 2, 3)).min() > 1e-3  # every coefficient paints something
    for column, direction in zip(found, torch.eye(change.count), strict=True):
        ahead, behind = (
            head.albedo(FaceParameters(albedo=code + sign * step * direction)).texture[0] for sign in (1, -1)
        )
        # single precision: rounding 1e-7 / step, and the third derivative times step squared
        torch.testing.assert_close(column, (ahead - behind) / (2 * step), atol=5e-4, rtol=0)


def test_the_fitted_code_is_that_of_forward_mode(head, monkeypatch):
    crop = rendered_faces(head)

    def fit():
        fitter = LandmarkFit()
        fitter.attach(Parts(head, ZBuffer()))
        return fitter(crop)

    found = fit()
    calls = []

    def counted(function, x, directions, at_once):
        calls.append(len(directions))
        return forward_mode(function, x, directions, at_once)

    monkeypatch.setattr(objective, "derivatives_along", counted)
    monkeypatch.setattr(photometric, "derivatives_along", counted)
    monkeypatch.setattr(head, "albedo_changes", lambda: None)
    expected = fit()
    assert len(calls) == 2  # of the points, of the albedo: both ways were really different ones
    # landmarks that differ by 1e-7 change a shape by 4e-5; colours by 1e-4, where a pixel sees the triangle beside it
    accepted = {"shape": 1e-4, "albedo": 3e-4, "lighting": 3e-4}
    for name, block in expected.blocks().items():
        atol = accepted.get(name, 2e-5)
        torch.testing.assert_close(found.blocks()[name], block, atol=atol, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
    torch.testing.assert_close(found.camera.translation, expected.camera.translation, atol=1e-5, rtol=0)


def test_differentiating_loads_no_compiler():
    """Forward mode imports torch._dynamo, and ``grad_outputs`` SymPy: seconds of a cold start."""
    code = (
        "import sys, torch\n"
        "from emoca_plugins.encoders.landmark_fit.derivatives import derivatives_along\n"
        "assert derivatives_along(torch.sin, torch.zeros(1, 2), torch.eye(2), 1).sum() == 2\n"
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
