"""OBJ files: the model's own vertex order, texture and colours, as trimesh reads them."""

import numpy as np
import pytest
import trimesh
from PIL import Image

from emoca_core.export import FaceMesh
from emoca_plugins.exporters.obj import write_obj


def quad(texture: bool) -> FaceMesh:
    return FaceMesh(
        vertices=np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1234567, 0], [0, 0.1, 0.01]]),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]], dtype=float) if texture else None,
        uv_faces=np.array([[0, 1, 2], [4, 2, 3]]) if texture else None,
        texture=np.full((4, 4, 3), [200, 100, 50], np.uint8) if texture else None,
        vertex_colors=np.linspace(-0.1, 1.1, 12).reshape(4, 3),
    )


def test_textured_obj_round_trip(tmp_path):
    written = write_obj(tmp_path / "face.obj", quad(texture=True))
    assert [path.name for path in written] == ["face.obj", "face.mtl", "face_albedo.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    loaded = trimesh.load(tmp_path / "face.obj", process=False, force="mesh")  # splits at seams
    corners = loaded.vertices[loaded.faces]
    np.testing.assert_allclose(corners, quad(True).vertices[quad(True).faces], atol=1e-7)
    np.testing.assert_allclose(loaded.visual.uv[loaded.faces], quad(True).uv[quad(True).uv_faces], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.image.convert("RGB")), quad(True).texture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "face_albedo.png")), quad(True).texture)


def test_plain_obj_keeps_order_and_colors(tmp_path):
    assert write_obj(tmp_path / "face.obj", quad(texture=False)) == [tmp_path / "face.obj"]
    loaded = trimesh.load(tmp_path / "face.obj", process=False, maintain_order=True, force="mesh")
    np.testing.assert_allclose(loaded.vertices, quad(False).vertices, atol=1e-7)
    np.testing.assert_array_equal(loaded.faces, quad(False).faces)
    expected = np.clip(quad(False).vertex_colors, 0, 1) * 255
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3], expected, atol=1)


def test_lines_are_indexed_from_one_with_all_three_references(tmp_path):
    write_obj(tmp_path / "face.obj", quad(texture=True))
    lines = (tmp_path / "face.obj").read_text().splitlines()
    assert "f 1/1/1 2/2/2 3/3/3" in lines and "f 1/5/1 3/3/3 4/4/4" in lines
    assert "mtllib face.mtl" in lines and "usemtl skin" in lines
    assert sum(line.startswith("vn ") for line in lines) == 4


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 12.0, 1e4])
def test_numbers_of_every_size_are_read_back(tmp_path, size):
    vertices = np.random.default_rng(5).normal(0, size, (40, 3))
    vertices[:3] = [[0.0, -0.0, -1e-9], [9.99999996, -9.99999996, 0.1], [-0.5, 1e-7, -1e-7]]
    write_obj(tmp_path / "face.obj", FaceMesh(vertices=vertices, faces=np.array([[0, 1, 2]])))
    lines = [line.split(" ") for line in (tmp_path / "face.obj").read_text().splitlines() if line.startswith("v ")]
    np.testing.assert_allclose(np.array(lines)[:, 1:].astype(float), vertices, atol=0.501e-7)
    assert lines[0] == ["v", *["0.0000000"] * 3] and lines[1][1:3] == ["10.0000000", "-10.0000000"]
