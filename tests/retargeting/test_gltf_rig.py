"""Somebody else's head: found whatever its targets are called, animated, and left as it is otherwise."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from glb_player import GlbPlayer
from glb_reader import GlbReader
from moving_clip import Moving, moving
from scipy.spatial.transform import Rotation

from emoca_core.errors import AssetFormatError, RecipeError
from emoca_core.export.head_motion import head_motion
from emoca_core.retargeting.gltf_rig import GltfRig, read_glb
from emoca_core.testing.sample_sequence import sample_sequence
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.exporters.glb import glb_bytes

NAMES = [f"Avatar.{name[0].upper()}{name[1:]}" for name in ARKIT_NAMES[49::-1]] + ["viseme_aa", "smirk"]


def packed(document, binary):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


@pytest.fixture
def avatar(tmp_path):
    """A GLB file of another program: other names, two strange targets, a joint for the head below a turned one."""

    def write(change=lambda document: None, name="avatar.glb"):
        sample = sample_sequence().rig.mesh
        path = tmp_path / name
        path.write_bytes(glb_bytes(sample))
        document, binary = read_glb(path)
        document["meshes"][0]["extras"]["targetNames"] = list(NAMES)
        document["meshes"][0]["weights"] = [0.0] * 51 + [0.25]
        turn, tilt = Rotation.from_euler("xyz", [0.2, 0.1, 0.3]), Rotation.from_euler("xyz", [0.1, 0, 0])
        document["nodes"] += [
            {"name": "Neck", "rotation": turn.as_quat().tolist(), "children": [2]},
            {"name": "mixamorig:Head", "rotation": tilt.as_quat().tolist()},
        ]
        document["scenes"][0]["nodes"].append(1)
        change(document)
        path.write_bytes(packed(document, binary))
        return path

    return write


def test_its_own_targets_move_at_the_times_of_the_sequence(avatar):
    sequence, path = moving(Moving), avatar()
    before, rig = GlbReader(path.read_bytes()), GltfRig.read(path)
    player = GlbPlayer(rig.animated(sequence))
    motion = head_motion(sequence)
    for time, weights in zip(motion.times, motion.weights, strict=True):
        shown = player.at("face", "weights", time)
        np.testing.assert_allclose(shown[:50], weights[49::-1], atol=1e-6)
        assert shown[50:].tolist() == [0.0, 0.25]  # of nobody's name: as they were
    for name in ("POSITION", "NORMAL"):
        np.testing.assert_array_equal(player.attribute(name), before.attribute(name))
        for own, kept in zip(before.targets(name).values(), player.targets(name).values(), strict=True):
            np.testing.assert_array_equal(own, kept)
    kept = {key: value for key, value in player.json.items() if key not in ("animations", "buffers")}
    for key, value in before.json.items():
        if key != "buffers":
            assert (kept[key][: len(value)] if isinstance(value, list) else kept[key]) == value, key


def test_its_head_turns_as_the_drivers_is_seen(avatar):
    sequence = moving(Moving)
    player = GlbPlayer(GltfRig.read(avatar()).animated(sequence))
    motion = head_motion(sequence)
    turn, tilt = Rotation.from_euler("xyz", [0.2, 0.1, 0.3]), Rotation.from_euler("xyz", [0.1, 0, 0])
    for time, head in zip(motion.times, motion.heads, strict=True):
        local = Rotation.from_quat(player.at("mixamorig:Head", "rotation", time))
        world = (turn * local).as_matrix()
        np.testing.assert_allclose(world, head[:3, :3] @ (turn * tilt).as_matrix(), atol=1e-6)
    assert np.abs(motion.heads[0] - motion.heads[-1]).max() > 0.1


def test_what_does_not_fit_is_counted_and_named(avatar):
    sequence = moving(Moving)
    assert (sequence.rig.weights.max(axis=0) > 0.02).sum() > 10
    said = GltfRig.read(avatar()).notes(sequence)
    assert said[0] == "avatar.glb has 50 of the 52 ARKit targets" and len(said) == 3
    assert said[1] == "1 values that move have no target there: tongueOut"
    assert said[2] == "2 of its targets have no ARKit name and stay still: viseme_aa, smirk"

    def without(document):
        del document["nodes"][1:]
        document["scenes"][0]["nodes"] = [0]

    assert "no joint there is called head" in GltfRig.read(avatar(without)).notes(sequence)[-1]


def test_names_may_stand_in_other_places(avatar):
    def in_primitive(document):
        mesh = document["meshes"][0]
        mesh["primitives"][0]["extras"] = mesh.pop("extras")

    def in_accessors(document):
        mesh = document["meshes"][0]
        names = mesh.pop("extras")["targetNames"]
        for target, name in zip(mesh["primitives"][0]["targets"], names, strict=True):
            document["accessors"][target["POSITION"]]["name"] = name

    for change in (in_primitive, in_accessors):
        (one,) = GltfRig.read(avatar(change)).morphed
        assert list(one.targets) == NAMES


def test_an_animation_of_theirs_stays_behind_ours(avatar):
    theirs = {"name": "idle", "channels": [], "samplers": []}
    path = avatar(lambda document: document.update(animations=[theirs]))
    data = GltfRig.read(path).animated(moving(Moving))
    path.write_bytes(data)
    document, _ = read_glb(path)
    assert [one["name"] for one in document["animations"]] == ["emoca", "idle"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["meshes"][0]["extras"].update(targetNames=[f"x{i}" for i in range(52)]), "no morph target"),
        (lambda d: d["meshes"][0]["primitives"][0].pop("targets"), "no targets at all"),
        (lambda d: d["nodes"][0].update(mesh=7), "refers to something"),
        (lambda d: d["nodes"][0].update(mesh="x"), "is damaged"),
        (lambda d: d.update(animations=3), "is damaged"),
        (lambda d: d["buffers"][0].update(uri="data.bin"), "in another file"),
    ],
)
def test_a_head_that_cannot_move_is_one_line(avatar, change, said):
    def changed(document):
        change(document)
        if "targets" not in document["meshes"][0]["primitives"][0]:
            document["meshes"][0].pop("weights", None)

    with pytest.raises(AssetFormatError) as error:
        GltfRig.read(avatar(changed))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"glTF", b"not a glb at all, but long enough to be one", b"glTF" + 40 * b"\xff"]
)
def test_what_is_no_glb_is_one_line(tmp_path, content):
    (tmp_path / "a.glb").write_bytes(content)
    with pytest.raises(AssetFormatError):
        GltfRig.read(tmp_path / "a.glb")
    whole = tmp_path / "b.glb"
    whole.write_bytes(glb_bytes(sample_sequence().rig.mesh)[:200])
    with pytest.raises(AssetFormatError):
        GltfRig.read(whole)


def test_without_arkit_values_nothing_is_written(avatar, tmp_path):
    bare = sample_sequence(bare=True)
    with pytest.raises(RecipeError, match="no ARKit values"):
        GltfRig.read(avatar()).write(tmp_path / "out.glb", replace(bare))
    assert not (tmp_path / "out.glb").exists()
