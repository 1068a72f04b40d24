"""Whose face, and whose movement."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from toy_clips import frame, toy_clip

from emoca_core.errors import EmocaError, ParamsError, RecipeError
from emoca_core.interfaces import FaceParameters
from emoca_core.retargeting import Curve, RetargetSettings, open_driving, retarget
from emoca_core.retargeting.drivers import largest_face
from emoca_core.retargeting.driving import Driving
from emoca_core.retargeting.face_model_facts import face_model_facts
from emoca_core.retargeting.facts import facts_of
from emoca_core.retargeting.heads import seen_heads
from emoca_core.retargeting.measures import measured
from emoca_core.retargeting.rest import neutral_row
from emoca_core.vocabulary.arkit import ARKIT_NAMES

PLAIN = RetargetSettings()


@pytest.fixture
def source(method, photo):
    return largest_face(method, photo(shade=140), PLAIN)


@pytest.fixture
def driving(method, clip):
    return open_driving(clip(), method, RetargetSettings())


def test_identity_is_the_sources_and_movement_the_drivers(method, source, driving):
    moved = retarget(method, source, driving)
    code, theirs = moved.parameters, driving.codes
    for name in ("shape", "albedo", "lighting", "camera"):
        own, kept = source.parameters.blocks()[name], code.blocks()[name]
        assert torch.equal(kept, own.expand_as(kept)), name
    assert not torch.allclose(code.shape, theirs.shape, atol=0.01)  # else nothing is shown by that
    for name in ("expression", "jaw_pose", "eye_pose"):
        assert torch.equal(code.blocks()[name], theirs.blocks()[name]) and theirs.blocks()[name].std(0).max() > 0.01
    assert moved.times.tolist() == driving.times.tolist() and not moved.movement.across
    assert moved.clip.path == source.photo.path and code.unit_of("expression") == "activation"


def test_the_head_is_seen_turned_as_the_drivers(method, source, driving):
    moved = retarget(method, source, driving)
    np.testing.assert_allclose(seen_heads(moved.parameters, moved.cameras), driving.heads, atol=1e-5)
    assert np.abs(driving.heads[-1] - driving.heads[0]).max() > 0.1
    still = retarget(method, source, driving, RetargetSettings(keep=frozenset({"source-pose", "source-gaze"})))
    for name in ("global_pose", "eye_pose"):
        kept = still.parameters.blocks()[name]
        assert torch.equal(kept, source.parameters.blocks()[name].expand_as(kept)), name


def test_relative_movement_is_the_difference_to_the_rest(method, source, driving):
    found = retarget(method, source, driving, RetargetSettings(relative=True)).movement.rest
    rest = int(driving.codes.expression.square().sum(1).argmin())
    assert found.row == rest == 0  # the brightest, the most neutral
    moved = retarget(method, source, driving, RetargetSettings(relative=True, rest=0.0))
    expected = driving.codes.expression - driving.codes.expression[:1]
    assert torch.allclose(moved.parameters.expression, expected)
    heads, own = seen_heads(moved.parameters, moved.cameras), seen_heads(source.parameters, [source.camera])[0]
    np.testing.assert_allclose(heads[rest], own, atol=1e-5)  # at rest as in the photo
    since = Rotation.from_matrix(driving.heads @ driving.heads[rest].T)
    np.testing.assert_allclose(heads, since.as_matrix() @ own, atol=1e-5)
    jaw = Rotation.from_rotvec(driving.codes.jaw_pose.double().numpy())
    np.testing.assert_allclose(moved.parameters.jaw_pose, (jaw * jaw[rest].inv()).as_rotvec(), atol=1e-6)


def test_a_rest_may_be_given_and_must_be_there(method, source, driving):
    asked = RetargetSettings(relative=True, rest=driving.times[7] + 0.01)
    assert retarget(method, source, driving, asked).movement.rest.row == 7
    with pytest.raises(
        ParamsError, match=r"the rest 99 s lies outside of talk\.mkv, which lasts from 0\.00 to 0\.44 s"
    ):
        retarget(method, source, driving, RetargetSettings(relative=True, rest=99.0))


def test_frames_that_nobody_trusts_are_no_rest(method, source, driving):
    flags = [frozenset({"doubtful"}) if row < 3 else frozenset() for row in range(len(driving))]
    doubted = replace(driving, flags=flags)
    assert retarget(method, source, doubted, RetargetSettings(relative=True)).movement.rest.row == 3


def numbers(**changes):
    """A driver of ARKit values: a smile that is strongest in row 0, and what is given, by name."""
    values = np.zeros((6, 52))
    values[:, ARKIT_NAMES.index("mouthSmileLeft")] = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    known = {name: changes.pop(name) for name in ARKIT_NAMES if name in changes}
    for name, column in known.items():
        values[:, ARKIT_NAMES.index(name)] = column
    plain = {"confidence": np.ones(6), "flags": [frozenset()] * 6, "numbers": np.arange(6), "times": np.arange(6) / 25}
    return Driving(name="x", sha256="", arkit=values, **plain, **changes)


def turned(*degrees):
    return Rotation.from_euler("y", np.array(degrees)[:, None], degrees=True).as_matrix()


@pytest.mark.parametrize(
    ("why", "driver", "rest"),
    [
        ("the least smile", numbers(), 5),
        ("brows are raised in row 5", numbers(browInnerUp=[0, 0, 0, 0, 0.1, 0.9]), 4),
        ("eyes are shut in row 5", numbers(eyeBlinkLeft=[0, 0, 0, 0, 0.1, 0.9]), 4),
        ("eyes are never open", numbers(eyeBlinkLeft=[1, 0.5, 0.9, 0.9, 0.9, 0.9]), 1),
        ("gaze is no expression", numbers(eyeLookUpLeft=[0, 0, 0, 0, 0.1, 1]), 5),
        ("profiles are seen badly", numbers(heads=turned(60, 50, 5, 0, 10, 70)), 4),
    ],
)
def test_the_rest_is_a_neutral_face_that_is_seen_well(why, driver, rest):
    assert neutral_row(driver, FaceParameters(expression=torch.zeros(6, 52)), ARKIT_NAMES) == rest, why


def test_without_arkit_values_the_code_tells_what_is_neutral(driving):
    code = FaceParameters(expression=torch.ones(12, 5), jaw_pose=torch.zeros(12, 3))
    code.expression[3], code.jaw_pose[7] = 0.5, 2.0
    assert neutral_row(driving, code, ()) == 3
    code.expression[3] = 1.0
    code.expression[:, 0], code.expression[4, 0] = 0.1, 0.9
    code.expression[4, 1:] = 0.9
    assert neutral_row(driving, code, ["eyeBlinkLeft", "browInnerUp"]) != 4  # its eyes are shut


def test_lips_that_are_apart_at_rest_are_not_taken_away_elsewhere(method, source, clip):
    """A driver whose mouth is open in every frame: what is neutral of them has no shut lips."""
    driving = open_driving(clip(np.linspace(150, 20, 12)), method, RetargetSettings())
    assert driving.lips.min() > 0.03, "the lips must be apart for that to mean something"
    moved = retarget(method, source, driving, RetargetSettings(relative=True))
    rest, theirs = moved.movement.rest, driving.codes
    assert rest.row == 0 and 0 < rest.mouth < 1 and rest.lips <= 0.02
    names = list(method.face_model.expression_names)
    smile, brow = names.index("mouthSmileLeft"), names.index("browInnerUp")
    given = moved.parameters.expression
    assert torch.allclose(given[:, smile], theirs.expression[:, smile] - rest.mouth * theirs.expression[0, smile])
    assert torch.allclose(given[:, brow], theirs.expression[:, brow] - theirs.expression[0, brow])
    jaw = Rotation.from_rotvec(theirs.jaw_pose.double().numpy())
    own = Rotation.from_rotvec(rest.mouth * theirs.jaw_pose[0].double().numpy())
    np.testing.assert_allclose(moved.parameters.jaw_pose, (jaw * own.inv()).as_rotvec(), atol=1e-6)
    shown, measures = measured(moved, None, None)
    assert measures.lips["error_mm"] < 1
    assert any(f"{rest.mouth:.0%} of the mouth" in line for line in facts_of(shown, measures))
    assert moved.describe()["rest_of_mouth"] == rest.mouth
    whole = retarget(method, source, driving, RetargetSettings(relative=True, rest=float(driving.times[0])))
    assert whole.movement.rest.mouth == 1 and whole.movement.rest.lips > 0.03  # who names a moment means it


def test_across_face_models_arkit_values_are_taken(method, source, driving):
    values = np.zeros((len(driving), 52))
    values[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0, 1, len(driving))
    other = {**face_model_facts(method), "uses": "flame"}
    moved = retarget(method, source, replace(driving, face_model=other, arkit=values))
    assert moved.movement.across and moved.parameters.expression.abs().max() == 0
    np.testing.assert_allclose(
        moved.arkit[:, ARKIT_NAMES.index("jawOpen")], values[:, ARKIT_NAMES.index("jawOpen")], atol=0.05
    )
    with pytest.raises(RecipeError, match="another face model") as error:
        retarget(method, source, replace(driving, face_model=other))
    assert "\n" not in str(error.value)


def test_a_named_emotion_follows_its_curve(method, source):
    settings = RetargetSettings(curve=Curve.parse("0:0,0.2:1,0.4:0"), rate=10.0)
    moved = retarget(method, source, "emotion:joy", settings)
    smile = moved.arkit[:, ARKIT_NAMES.index("mouthSmileLeft")]
    assert smile[[0, 2, 4]] == pytest.approx([0, 1, 0], abs=0.05) and moved.driving.emotion == "happy"
    own = source.parameters.global_pose
    assert torch.equal(moved.parameters.global_pose, own.expand(5, -1))  # an emotion does not turn the head


def test_a_photo_follows_the_curve_too(method, source, photo):
    settings = RetargetSettings(curve=Curve.parse("0:0,0.2:1"), rate=10.0)
    driving = open_driving(photo("angry.png", shade=60), method, settings)
    theirs = largest_face(method, photo("angry.png", shade=60), settings).parameters.expression
    assert torch.allclose(driving.codes.expression[-1:], theirs) and driving.codes.expression[0].abs().max() == 0
    moved = retarget(method, source, driving, settings)
    assert moved.panels == ("driver: angry.png", "retargeted", "its shape", "source: me.png")


def test_a_captured_sequence_drives_as_its_clip_does(method, source, clip, tmp_path):
    from emoca_core.reconstruction import reconstruct_sequence

    path = clip()
    person = reconstruct_sequence(method, path, smooth=0.6)[0]
    person.save(tmp_path / "talk" / "track_0", ["codes"])
    direct = retarget(method, source, path)
    for place in (tmp_path / "talk" / "track_0", tmp_path / "talk" / "track_0" / "sequence.safetensors"):
        stored = retarget(method, source, place)
        assert torch.allclose(stored.parameters.expression, direct.parameters.expression, atol=1e-6)
        assert torch.allclose(stored.parameters.global_pose, direct.parameters.global_pose, atol=1e-5)
        assert stored.driving.name == "talk_track_0" and stored.panels[0] == "source: me.png"
        np.testing.assert_allclose(stored.driving.lips, direct.driving.lips, atol=1e-6)
    part = open_driving(
        tmp_path / "talk" / "track_0", method, RetargetSettings(clip=replace(PLAIN.clip, start=0.1, end=0.3, every=2))
    )
    assert part.times.tolist() == pytest.approx([0.12, 0.2, 0.28])
    (tmp_path / "talk" / "track_0" / "sequence.json").unlink()
    assert retarget(method, source, tmp_path / "talk" / "track_0").movement.across  # whose codes they are is unknown


def test_codes_of_a_photo_drive_as_the_photo_does(method, source, photo, tmp_path):
    path = photo("angry.png", shade=60)
    face = largest_face(method, path, PLAIN)
    face.save(tmp_path / "angry" / "face_0", ["codes"])
    moved = retarget(method, source, tmp_path / "angry" / "face_0")
    assert torch.allclose(moved.parameters.expression, retarget(method, source, path).parameters.expression)


def test_a_driver_that_is_not_there_or_shows_nobody(method, source, photo, tmp_path):
    empty = toy_clip(tmp_path / "empty", [frame([])] * 9)
    (tmp_path / "x.safetensors").write_bytes(b"no")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    nobody = photo("nobody.png", faces=())
    for driver in ("absent.mp4", nobody, tmp_path / "x.safetensors", tmp_path / "x.csv", empty, "emotion:bored"):
        with pytest.raises(EmocaError) as error:
            retarget(method, source, driver)
        assert str(driver).rpartition(":")[2] in str(error.value)
