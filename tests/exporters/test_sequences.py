"""Tables, codes and the record of a person through a clip, read back without this project's writers."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from pyarrow import parquet
from scipy.spatial.transform import Rotation

from emoca_core.errors import AssetFormatError, EmocaError
from emoca_core.export.sequence_codes import read_sequence
from emoca_core.geometry.project import project_points
from emoca_core.interfaces import Exporter
from emoca_core.reconstruction.saving import save_sequence
from emoca_core.registry import get_registry
from emoca_core.testing.sample_sequence import sample_sequence
from emoca_core.vocabulary.arkit import ARKIT_NAMES


@pytest.fixture(scope="module")
def sequence():
    return sample_sequence()


def export(name, sequence, folder):
    return get_registry().build("exporter", name).export_sequence(sequence, folder)


def test_the_csv_has_a_row_with_its_time_for_each_frame(sequence, tmp_path):
    export("arkit_csv", sequence, tmp_path)
    with (tmp_path / "arkit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Timecode"] for row in rows[:2]] == ["00:00:00:03.000", "00:00:00:04.000"]
    assert rows[10]["Timecode"] == "00:00:01:04.000"  # frame 29 of 25 a second, after the gap
    for name in ARKIT_NAMES:
        values = np.array([float(row[name[0].upper() + name[1:]]) for row in rows])
        np.testing.assert_allclose(values, sequence.arkit[:, ARKIT_NAMES.index(name)], atol=1e-6)
        assert ((values >= 0) & (values <= 1)).all()
    angles = np.array([[float(row[f"Head{axis}"]) for axis in ("Yaw", "Pitch", "Roll")] for row in rows])
    code = sequence.parameters
    turned = Rotation.from_rotvec(code.global_pose.numpy()) * Rotation.from_rotvec(code.neck_pose.numpy())
    np.testing.assert_allclose(angles, turned.as_euler("YXZ"), atol=1e-5)


def test_no_values_no_csv(tmp_path):
    assert export("arkit_csv", sample_sequence(bare=True), tmp_path) == []


def test_the_table_has_a_row_for_each_frame(sequence, tmp_path):
    export("parquet", sequence, tmp_path)
    table = parquet.read_table(tmp_path / "sequence.parquet").to_pydict()
    assert table["frame"] == sequence.numbers.tolist() and table["time"] == sequence.times.tolist()
    assert table["bridged"] == [row in (4, 5) for row in range(len(sequence))]
    np.testing.assert_allclose(table["valence"], sequence.emotion.valence, atol=1e-6)
    np.testing.assert_allclose(table["emotion.happy"], sequence.emotion.scores["happy"], atol=1e-6)
    np.testing.assert_allclose(table["jawOpen"], sequence.arkit[:, ARKIT_NAMES.index("jawOpen")], atol=1e-6)
    yaw = np.radians(table["head_yaw"])
    assert yaw[-1] - yaw[0] == pytest.approx(0.8, abs=0.1)  # the head sways from -0.4 to 0.4
    points = sequence.geometry(slice(None)).landmarks["ibug68"].numpy()
    matrix = np.array([camera.matrix for camera in sequence.cameras])
    homogeneous = np.einsum("nij,npj->npi", matrix, np.concatenate([points, np.ones((*points.shape[:2], 1))], 2))
    fitted = homogeneous[..., :2] / homogeneous[..., 2:]
    np.testing.assert_allclose(project_points(matrix, points.astype(float)), fitted, rtol=1e-5)
    eyes = np.linalg.norm(sequence.landmarks[:, 36] - sequence.landmarks[:, 45], axis=1)
    expected = np.linalg.norm(fitted - sequence.landmarks, axis=2).mean(axis=1) / eyes
    np.testing.assert_allclose(table["landmark_error"], expected, rtol=1e-4)


def test_codes_come_back_with_everything_of_the_frames(sequence, tmp_path):
    export("codes", sequence, tmp_path)
    read = read_sequence(tmp_path / "sequence.safetensors")
    for name, block in sequence.parameters.blocks().items():
        torch.testing.assert_close(read.parameters.blocks()[name], block, rtol=0, atol=0)
    assert read.weight_names == ARKIT_NAMES
    np.testing.assert_allclose(read.frames["weights"], sequence.rig.weights, atol=1e-6)
    np.testing.assert_array_equal(read.frames["times"], sequence.times)
    np.testing.assert_array_equal(read.frames["cut"], sequence.flagged("cut"))
    np.testing.assert_array_equal(read.frames["K"][3], sequence.cameras[3].intrinsics)
    np.testing.assert_allclose(read.frames["arousal"], sequence.emotion.arousal, atol=1e-6)
    (tmp_path / "face.safetensors").write_bytes(b"no")
    with pytest.raises(AssetFormatError, match="not a safetensors file"):
        read_sequence(tmp_path / "face.safetensors")


def test_the_record_tells_what_was_left_out_and_filled_in(sequence, tmp_path):
    export("json", sequence, tmp_path)
    record = json.loads((tmp_path / "sequence.json").read_text())
    assert record["gaps"] == [{"from": 12 / 25, "to": 29 / 25}]
    assert record["frame"]["bridged"] == [4, 5] and record["frame"]["cut"] == [10]
    assert record["frame"]["number"] == sequence.numbers.tolist()
    assert record["rig"]["source"] == "arkit" and record["files"] == []
    np.testing.assert_allclose(record["frame"]["valence"], sequence.emotion.valence, atol=1e-4)


def test_saving_ends_with_the_record_and_removes_what_was_before(sequence, tmp_path):
    registry = get_registry()
    exporters = {name: registry.build("exporter", name) for name in ("arkit_csv", "codes", "json")}
    out = tmp_path / "track_0"
    written = save_sequence(sequence, out, exporters)
    assert [path.name for path in written] == ["arkit.csv", "sequence.safetensors", "sequence.json"]
    (out / "mine.txt").write_text("the user's")
    save_sequence(sequence, out, {"json": exporters["json"]})
    assert {path.name for path in out.iterdir()} == {"sequence.json", "mine.txt"}


def test_formats_without_movement_are_refused_before_anything_is_written(sequence, tmp_path):
    class Still(Exporter):
        """Source: this test."""

        def export(self, face, folder, files=()):
            return []

    with pytest.raises(EmocaError, match="still holds no movement: leave it out of --write"):
        save_sequence(sequence, tmp_path / "out", {"still": Still()})
    assert not (tmp_path / "out").exists()


def test_long_gaps_are_those_that_are_not_bridged(sequence):
    assert np.flatnonzero(sequence.is_back).tolist() == [10]
    slow = replace(sequence, times=sequence.times * 10)  # a frame each 0.4 seconds is no gap
    assert np.flatnonzero(slow.is_back).tolist() == [10]


def test_obj_and_ply_have_a_mesh_for_each_frame(sequence, tmp_path):
    files = [file.path.name for file in export("obj", sequence, tmp_path)]
    assert files[:3] == ["face.mtl", "face_albedo.png", "face_000003.obj"] and len(files) == 2 + len(sequence)
    posed = sequence.geometry(slice(None)).vertices.numpy()
    loaded = trimesh.load(tmp_path / "face_000029.obj", process=False, maintain_order=True)
    assert "mtllib face.mtl" in (tmp_path / "face_000029.obj").read_text()
    np.testing.assert_allclose(np.sort(loaded.vertices, axis=0), np.sort(posed[10], axis=0), atol=1e-6)
    names = [file.path.name for file in export("ply", sequence, tmp_path)]
    assert names == [f"face_{number:06d}.ply" for number in sequence.numbers]
    loaded = trimesh.load(tmp_path / "face_000036.ply", process=False)
    np.testing.assert_allclose(loaded.vertices, posed[-1], atol=1e-6)
