"""The rig of a clip: one solution for all frames, the same as face by face, and what moves the captured meshes back."""

import numpy as np
import pytest
import tiny_flame
import torch

from emoca_core.export.arkit import arkit_rig
from emoca_core.export.sequence_rig import sequence_rig
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceParameters
from emoca_core.registry import get_registry
from emoca_core.vocabulary.arkit import ARKIT_NAMES


@pytest.fixture(scope="module")
def head():
    return get_registry().build("face_model", "open_head", {"texture_size": 64})


def track(count=90):
    """One person who turns, speaks, looks about and blinks, some of it at once."""
    random = torch.Generator().manual_seed(4)
    time = torch.linspace(0.2, 6 * torch.pi, count)[:, None]
    speed = 0.3 + torch.rand(52, generator=random)
    expression = (0.7 * torch.sin(time * speed + 6 * torch.rand(52, generator=random))).clamp(0, 1)
    for name in ("jawOpen", "jawLeft", "jawRight", "tongueOut", "eyeBlinkLeft", "eyeBlinkRight"):
        expression[:, ARKIT_NAMES.index(name)] = 0.0
    for side in ("Left", "Right"):
        expression[count // 2 : count // 2 + 4, ARKIT_NAMES.index(f"eyeBlink{side}")] = torch.tensor([0.4, 1, 1, 0.5])
    turn = torch.sin(0.4 * time) * torch.tensor([[0.3, 0.7, 0.2]])
    gaze = 0.3 * torch.sin(0.9 * time) * torch.tensor([[0.6, 1.0, 0.0]])
    return FaceParameters(
        shape=0.8 * torch.randn(1, 100, generator=random).expand(count, -1),
        expression=expression,
        global_pose=turn,
        neck_pose=0.2 * turn,
        jaw_pose=(0.3 * torch.sin(2 * time)).clamp(min=0) * torch.tensor([[1.0, 0.2, 0.0]]),
        eye_pose=gaze.repeat(1, 2),
        units={"expression": "activation"},
    )


def rows(parameters, some):
    return parameters.map(lambda tensor: tensor[some])


def rig_of(model, parameters):
    def geometry(some):
        with torch.no_grad():
            return model(rows(parameters, some))

    return sequence_rig(model, parameters, geometry), geometry


def shown(rig):
    """What a viewer shows: the weighted targets on the neutral head, moved as a whole."""
    own = rig.mesh.vertices + np.tensordot(rig.weights, rig.mesh.rig.targets, axes=1)
    return own @ np.swapaxes(rig.heads[:, :3, :3], 1, 2) + rig.heads[:, None, :3, 3]


def test_all_frames_at_once_are_the_frames_one_by_one(head):
    parameters = track().replace(neck_pose=None)
    rig, geometry = rig_of(head, parameters)
    assert rig.source == "arkit" and tuple(rig.names) == ARKIT_NAMES
    assert ((rig.weights >= 0) & (rig.weights <= 1)).all()
    blink = rig.weights[:, ARKIT_NAMES.index("eyeBlinkLeft")]
    assert blink[46:48].min() >= 0.8 and np.median(blink) < 0.2
    for row in (0, 17, 44, 45, 46, 47, 48, 89):
        alone = arkit_rig(head, rows(parameters, slice(row, row + 1)), geometry(slice(row, row + 1)))
        np.testing.assert_allclose(rig.weights[row], list(alone.weights.values()), atol=1e-4)


def test_the_rig_gives_the_meshes_back(head):
    parameters = track().replace(neck_pose=None)
    rig, geometry = rig_of(head, parameters)
    distance = np.linalg.norm(shown(rig) - geometry(slice(None)).vertices.numpy(), axis=2)
    np.testing.assert_allclose(rig.residual_mm, 1000 * distance.mean(axis=1), atol=1e-3)
    assert rig.residual_mm.mean() < 0.3
    assert set(rig.mesh.rig.weights.values()) == {0.0} and rig.mesh.texture is not None


def test_a_neck_moves_the_head_about_its_own_joint(head):
    still = track().replace(expression=torch.zeros(90, 52), jaw_pose=None, eye_pose=None)
    rig, geometry = rig_of(head, still)
    face = head.vertex_masks["face"].numpy()
    distance = np.linalg.norm(shown(rig) - geometry(slice(None)).vertices.numpy(), axis=2)
    assert (
        distance[:, face].max() < 2e-3 and distance[:, face].mean() < 1e-4 and np.abs(rig.heads[:, :3, 3]).max() > 5e-3
    )


def test_models_with_codes_get_targets_for_what_moves(tmp_path, monkeypatch):
    """Also for what bends: a jaw that turns by 0.3 radians is more than a line."""
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    assert not any(added.problem for added in add_files(tiny_flame.write_all(tmp_path / "published")))
    flame = get_registry().build("face_model", "flame")
    parameters, random = track(), torch.Generator().manual_seed(2)
    wave = torch.randn(90, 10, generator=random).cumsum(0) / 9
    code = FaceParameters(
        shape=parameters.shape,
        expression=torch.cat([wave[:, :6], 0 * wave[:, :3], wave[:, 6:]], 1),
        global_pose=parameters.global_pose,
        jaw_pose=parameters.jaw_pose,
    )
    rig, geometry = rig_of(flame, code)
    assert rig.source == "code"
    own = [*(f"expression_{i}" for i in (0, 1, 2, 3, 4, 5, 9, 10, 11, 12)), "jaw_pose_0", "jaw_pose_1"]
    assert list(rig.names[:12]) == own and set(rig.names[12:]) == {f"other_{i}" for i in range(len(rig.names) - 12)}
    np.testing.assert_allclose(rig.weights[:, 6], code.expression[:, 9], atol=1e-6)
    np.testing.assert_allclose(rig.weights[:, 10], code.jaw_pose[:, 0], atol=1e-6)
    distance = 1000 * np.linalg.norm(shown(rig) - geometry(slice(None)).vertices.numpy(), axis=2)
    np.testing.assert_allclose(rig.residual_mm, distance.mean(axis=1), atol=1e-4)
    assert rig.residual_mm.mean() < 0.03 and 1 <= len(rig.names) - 12 <= 12
