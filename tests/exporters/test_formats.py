"""PLY, CSV and the record of a face, read back."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from emoca_core.export.angles import yaw_pitch_roll
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import ExportedFile
from emoca_core.registry import get_registry
from emoca_core.testing.sample_face import sample_face
from emoca_plugins.exporters.arkit_csv import COLUMNS, time_code


@pytest.fixture
def face():
    return sample_face()


def export(name, face, folder):
    return get_registry().build("exporter", name).export(face, folder)


def test_ply_keeps_order_and_takes_colors_from_the_texture(face, tmp_path):
    export("ply", face, tmp_path)
    loaded = trimesh.load(tmp_path / "face.ply", process=False)
    np.testing.assert_allclose(loaded.vertices, face.mesh.vertices, atol=1e-7)
    np.testing.assert_array_equal(loaded.faces, face.mesh.faces)
    texture, uv = face.mesh.texture, face.mesh.uv
    for vertex in (0, 100, 300):
        column, row = int(uv[vertex, 0] * 16), int((1 - uv[vertex, 1]) * 16)
        np.testing.assert_array_equal(loaded.visual.vertex_colors[vertex, :3], texture[row, column])
    assert {tuple(color) for color in loaded.visual.vertex_colors[:, :3]} == {(0, 0, 0), (255, 200, 180)}


def test_ply_of_a_mesh_without_colors(tmp_path):
    export("ply", sample_face(bare=True), tmp_path)
    assert b"red" not in (tmp_path / "face.ply").read_bytes()
    assert len(trimesh.load(tmp_path / "face.ply", process=False).vertices) == 17 * 24


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_of_live_link_face():
    assert len(COLUMNS) == 63 and len(set(COLUMNS)) == 63
    assert COLUMNS[:4] == ("Timecode", "BlendShapeCount", "EyeBlinkLeft", "EyeLookDownLeft")
    assert COLUMNS[9] == "EyeBlinkRight" and COLUMNS[16:20] == ("JawForward", "JawRight", "JawLeft", "JawOpen")
    assert COLUMNS[53:] == (
        "TongueOut",
        *(f"{part}{a}" for part in ("Head", "LeftEye", "RightEye") for a in ("Yaw", "Pitch", "Roll")),
    )


def test_csv_holds_values_and_rotations(face, tmp_path):
    eyes = torch.tensor([[0.1, 0.2, 0.0, 0.0, -0.3, 0.0]])
    turned = face.parameters.replace(global_pose=torch.tensor([[0.0, 0.5, 0.0]]), neck_pose=None, eye_pose=eyes)
    export("arkit_csv", replace(face, parameters=turned), tmp_path)
    (row,) = read_csv(tmp_path / "arkit.csv")
    assert row["Timecode"] == "00:00:00:00.000" and row["BlendShapeCount"] == "61"
    for name, value in face.arkit.items():
        assert float(row[name[0].upper() + name[1:]]) == pytest.approx(value, abs=1e-6)
    assert float(row["HeadYaw"]) == pytest.approx(0.5) and float(row["HeadPitch"]) == pytest.approx(0)
    assert float(row["RightEyeYaw"]) == pytest.approx(-0.3) and float(row["LeftEyePitch"]) == pytest.approx(
        0.1, abs=0.01
    )


@pytest.mark.parametrize("angles", [(0.3, -0.2, 0.1), (-1.2, 0.9, 2.0)])
def test_yaw_pitch_roll_put_the_rotation_together_again(angles):
    yaw, pitch, roll = (torch.tensor(v) for v in ([0, angles[0], 0], [angles[1], 0, 0], [0, 0, angles[2]]))
    matrix = torch.linalg.multi_dot([rotation_vector_to_matrix(v.double()) for v in (yaw, pitch, roll)]).numpy()
    assert yaw_pitch_roll(matrix) == pytest.approx(angles)


@pytest.mark.parametrize(
    ("time", "rate", "expected"),
    [(0.5, 60.0, "00:00:00:30.000"), (3725.25, 24.0, "01:02:05:06.000"), (1 - 1e-9, 30.0, "00:00:01:00.000")],
)
def test_time_code(time, rate, expected):
    assert time_code(time, rate) == expected


def test_the_record_names_the_files_of_the_others(face, tmp_path):
    others = [
        ExportedFile(tmp_path / "face.xyz", "XYZ"),
        ExportedFile(tmp_path / "face.mtl"),
        ExportedFile(tmp_path / "all.png", "picture", "picture"),
        ExportedFile(tmp_path / "small.png", shows="thumbnail"),
    ]
    get_registry().build("exporter", "json").export(face, tmp_path, others)
    record = json.loads((tmp_path / "face.json").read_text())
    assert record["files"] == ["face.xyz", "face.mtl", "all.png", "small.png"]
    assert record["page"] == {
        "links": {"XYZ": "face.xyz", "picture": "all.png", "JSON": "face.json"},
        "picture": "all.png",
        "thumbnail": "small.png",
    }
