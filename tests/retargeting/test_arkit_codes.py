"""ARKit values as codes: what the solver of captures reads off the mesh again."""

import numpy as np
import pytest
import torch

from emoca_core.errors import RecipeError
from emoca_core.export.arkit import ArkitSolver, at_rest
from emoca_core.interfaces import FaceParameters
from emoca_core.retargeting.arkit_codes import arkit_to_code
from emoca_core.vocabulary.arkit import ARKIT_NAMES, emotion_prototype


@pytest.fixture
def person():
    shape = torch.randn(1, 100, generator=torch.Generator().manual_seed(3))
    return FaceParameters(shape=shape, expression=torch.zeros(1, 52))


def read_again(method, person, values):
    code = arkit_to_code(method.face_model, person, values)
    full = person.map(lambda tensor: tensor.expand(len(values), -1)).replace(**{n: code.get(n) for n in code.blocks()})
    solver = ArkitSolver.of(method.face_model, at_rest(person))
    with torch.no_grad():
        posed = method.face_model(full)
    moved = posed.vertices.double().numpy() - solver.neutral
    return code, solver(moved, posed.landmarks["ibug68"].double().numpy(), full)


def test_the_mesh_shows_the_values(method, person):
    prototypes = [emotion_prototype(name) for name in ("happy", "sad", "anger", "surprise")]
    values = np.array([prototype.vector() for prototype in prototypes])
    values[:, ARKIT_NAMES.index("jawOpen")] = [prototype.jaw_open for prototype in prototypes]
    _, found = read_again(method, person, values)
    assert np.abs(found - values).mean() < 0.02 and np.abs(found - values).max() < 0.25  # joints turn, targets do not
    np.testing.assert_allclose(found[:, ARKIT_NAMES.index("jawOpen")], [p.jaw_open for p in prototypes], atol=0.05)


def test_joints_do_what_they_do_and_a_blink_closes_this_eye(method, person):
    values = np.zeros((3, 52))
    blink, look, jaw = (ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeLookDownLeft", "jawOpen"))
    values[0, blink] = values[1, look] = values[2, jaw] = 1
    code, found = read_again(method, person, values)
    assert code.jaw_pose[2, 0] == pytest.approx(method.face_model.jaw_open_angle, abs=2e-3)
    assert code.expression[2].abs().max() == 0 and code.eye_pose[1, 0] > 0.2 and code.eye_pose[[0, 2]].abs().max() == 0
    scale = ArkitSolver.of(method.face_model, at_rest(person)).eyes[0].lids.scale
    assert scale != pytest.approx(1, abs=1e-3) and code.expression[0, blink] == pytest.approx(scale)
    assert found[0, blink] > 0.98 and code.unit_of("expression") == "activation"


def test_a_model_without_the_names_is_refused_in_one_line(method, person, monkeypatch):
    monkeypatch.setattr(method.face_model, "expression_names", ())
    with pytest.raises(RecipeError, match="52 ARKit names") as error:
        arkit_to_code(method.face_model, person, np.zeros((1, 52)))
    assert "\n" not in str(error.value)
