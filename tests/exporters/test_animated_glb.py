"""The animated head: played by a reader of its own, it is the captured mesh in every frame."""

import io
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from glb_player import GlbPlayer
from moving_clip import FLIP, Moving, Orthographic, Zooming, moving

from emoca_core.export.mesh import split_at_seams
from emoca_core.testing.sample_sequence import sample_sequence
from emoca_plugins.exporters.glb import animated_glb_bytes


def order(sequence):
    return split_at_seams(sequence.rig.mesh.faces, sequence.rig.mesh.uv_faces)[0]


def test_every_frame_is_the_captured_mesh_where_the_camera_saw_it():
    sequence = moving(Moving)
    player = GlbPlayer(animated_glb_bytes(sequence))
    posed = sequence.geometry(slice(None)).vertices.double().numpy()[:, order(sequence)]
    for row, time in enumerate(sequence.times.tolist()):
        camera = sequence.cameras[row]
        expected = (posed[row] @ camera.rotation.T + camera.translation) @ FLIP  # from the camera's eye, y up
        np.testing.assert_allclose(player.mesh_at(time), expected, atol=1e-6)
        np.testing.assert_allclose(player.pixels(player.mesh_at(time), (64, 64)), camera.project(posed[row]), atol=1e-3)
    assert player.mesh["weights"] == pytest.approx(sequence.rig.weights[0])
    assert player.mesh["extras"]["clip"] == "sample ‘1’.mp4"


@pytest.mark.parametrize(("cls", "pixels"), [(Zooming, 0.7), (Orthographic, 0.3)])
def test_a_lens_that_changes_keeps_the_head_in_place(cls, pixels):
    sequence = moving(cls)
    player = GlbPlayer(animated_glb_bytes(sequence))
    posed = sequence.geometry(slice(None)).vertices.double().numpy()[:, order(sequence)]
    for row, time in enumerate(sequence.times.tolist()):
        shown, seen = player.pixels(player.mesh_at(time), (64, 64)), sequence.cameras[row].project(posed[row])
        assert np.abs(shown - seen).max() < pixels and np.abs(shown - seen).mean() < pixels / 3
        assert np.ptp(seen, axis=0).min() > 15  # so that this is about something


def test_nothing_moves_across_a_gap_and_the_person_is_hidden_in_it():
    sequence = moving(Moving)
    player = GlbPlayer(animated_glb_bytes(sequence))
    last, first = sequence.times[9], sequence.times[10]
    for node, path in (("head", "rotation"), ("head", "translation"), ("face", "weights")):
        before = player.at(node, path, last)
        np.testing.assert_allclose(player.at(node, path, (last + first) / 2), before, atol=1e-6)
        assert np.abs(player.at(node, path, first) - before).max() > 1e-3
    shown = {
        time: player.at("head", "scale", time).tolist() for time in (0.0, 0.12, last, last + 0.03, last + 0.05, first)
    }
    assert [value[0] for value in shown.values()] == [0, 1, 1, 1, 0, 1]  # the clip begins without the person


def test_a_cut_is_not_blended():
    sample = moving(Moving)
    flags = [frozenset({"cut"}) if row == 5 else frozenset() for row in range(len(sample))]
    sequence = replace(sample, numbers=np.arange(len(sample)), times=np.arange(len(sample)) / 25, flags=flags)
    player = GlbPlayer(animated_glb_bytes(sequence))
    np.testing.assert_allclose(player.head(4 / 25 + 0.02), player.head(4 / 25), atol=1e-6)
    assert np.abs(player.head(6 / 25 + 0.02) - player.head(6 / 25)).max() > 1e-4
    assert ("head", "scale") not in player.tracks  # always there


def test_a_person_without_a_camera_moves_in_model_space():
    sequence = sample_sequence(bare=True)
    player = GlbPlayer(animated_glb_bytes(sequence))
    posed = sequence.geometry(slice(None)).vertices.numpy()
    np.testing.assert_allclose(player.mesh_at(sequence.times[4]), posed[4], atol=1e-6)
    assert "cameras" not in player.json


def test_others_read_it():
    scene = trimesh.load_scene(io.BytesIO(animated_glb_bytes(moving(Moving))), file_type="glb", process=False)
    assert len(scene.geometry) == 1 and scene.camera.fov[1] == pytest.approx(2 * np.degrees(np.arctan(32 / 90)), abs=1)
