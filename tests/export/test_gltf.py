"""GLB files: read back by trimesh and by a reader written from the specification."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from emoca_core.export import FaceMesh, GltfCamera, glb_bytes, write_glb
from emoca_core.export.mesh import split_at_seams, unit_normals


def sphere(texture: bool = True, colors: bool = False, morphs: bool = True) -> FaceMesh:
    """A small closed surface with a texture seam: every triangle has texture coordinates of its own."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    vertices, faces = np.asarray(ball.vertices), np.asarray(ball.faces)
    random = np.random.default_rng(3)
    uv_faces = np.arange(faces.size).reshape(faces.shape) % 400
    deltas = np.where(vertices[:, 1:2] > 0.05, random.normal(0, 0.01, vertices.shape), 0)
    return FaceMesh(
        vertices=vertices,
        faces=faces,
        uv=random.uniform(0, 1, (400, 2)) if texture else None,
        uv_faces=uv_faces if texture else None,
        texture=random.integers(0, 255, (16, 16, 3), dtype=np.uint8) if texture else None,
        vertex_colors=random.uniform(0, 1, vertices.shape) if colors else None,
        morph_targets={"browInnerUp": deltas, "tongueOut": np.zeros_like(vertices)} if morphs else {},
    )


CAMERA = GltfCamera(
    {"type": "perspective", "perspective": {"yfov": 0.5, "aspectRatio": 1.5, "znear": 0.01, "zfar": 100.0}},
    np.array([[0, -1, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 1, 1.0], [0, 0, 0, 1]]),
    (1500.0, 1000.0),
    (0.0, 0.0),
)


class Reader:
    """The least of a glTF reader, straight from the specification."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json = json.loads(data[20 : 20 + size])
        binary_size, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0" and binary_size % 4 == 0
        self.binary = data[28 + size :]
        assert len(self.binary) == binary_size == self.json["buffers"][0]["byteLength"]

    def view(self, index: int, dtype: str, columns: int) -> np.ndarray:
        view = self.json["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0
        raw = self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(raw, dtype).reshape(-1, columns)

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        dtype = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        columns = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
        if "bufferView" in accessor:
            values = self.view(accessor["bufferView"], dtype, columns)
        else:
            values = np.zeros((accessor["count"], columns), dtype)
        if sparse := accessor.get("sparse"):
            values = values.copy()
            where = self.view(sparse["indices"]["bufferView"], "<u4", 1)[:, 0]
            assert (np.diff(where.astype(int)) > 0).all() and len(where) == sparse["count"]
            values[where] = self.view(sparse["values"]["bufferView"], dtype, columns)
        assert len(values) == accessor["count"]
        if "min" in accessor:
            np.testing.assert_array_equal(values.min(axis=0), np.array(accessor["min"], "f4"))
            np.testing.assert_array_equal(values.max(axis=0), np.array(accessor["max"], "f4"))
        return values


def test_trimesh_reads_mesh_texture_and_camera(tmp_path):
    mesh = sphere(colors=True)
    write_glb(tmp_path / "face.glb", mesh, CAMERA)
    assert [path.name for path in tmp_path.iterdir()] == ["face.glb"]
    scene = trimesh.load_scene(tmp_path / "face.glb", process=False)
    (loaded,) = scene.geometry.values()
    vertex, texel, faces = split_at_seams(mesh.faces, mesh.uv_faces)
    np.testing.assert_allclose(loaded.vertices, mesh.vertices[vertex], atol=1e-7)
    np.testing.assert_array_equal(loaded.faces, faces)
    np.testing.assert_allclose(loaded.visual.uv, mesh.uv[texel], atol=1e-6)  # trimesh turns v up again
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.baseColorTexture)[..., :3], mesh.texture)
    np.testing.assert_allclose(loaded.vertex_attributes["_ALBEDO"], mesh.vertex_colors[vertex], atol=1e-6)
    np.testing.assert_allclose(scene.camera_transform, CAMERA.matrix, atol=1e-7)
    assert scene.camera.fov[1] == pytest.approx(np.degrees(0.5), rel=1e-4)


def test_vertex_colors_are_linear_and_only_color_an_untextured_mesh():
    mesh = sphere(texture=False, colors=True)
    reader = Reader(glb_bytes(mesh))
    primitive = reader.json["meshes"][0]["primitives"][0]
    linear = reader.accessor(primitive["attributes"]["COLOR_0"])
    expected = ((mesh.vertex_colors + 0.055) / 1.055) ** 2.4
    bright = mesh.vertex_colors > 0.05
    np.testing.assert_allclose(linear[bright], expected[bright], atol=1e-6)
    scene = trimesh.load_scene(io.BytesIO(glb_bytes(mesh)), file_type="glb", process=False, skip_materials=True)
    (loaded,) = scene.geometry.values()
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, linear, atol=1 / 255)
    textured = Reader(glb_bytes(sphere(colors=True))).json["meshes"][0]["primitives"][0]["attributes"]
    assert "COLOR_0" not in textured  # it would multiply the texture


def test_corners_keep_position_texture_and_normal():
    """Following the indices gives each triangle's own position, texture coordinate and normal."""
    mesh = sphere()
    reader = Reader(glb_bytes(mesh))
    primitive = reader.json["meshes"][0]["primitives"][0]
    indices = reader.accessor(primitive["indices"]).reshape(-1, 3)
    attributes = {name: reader.accessor(index) for name, index in primitive["attributes"].items()}
    np.testing.assert_allclose(attributes["POSITION"][indices], mesh.vertices[mesh.faces], atol=1e-7)
    np.testing.assert_allclose(attributes["TEXCOORD_0"][indices][..., 0], mesh.uv[mesh.uv_faces][..., 0], atol=1e-7)
    np.testing.assert_allclose(attributes["TEXCOORD_0"][indices][..., 1], 1 - mesh.uv[mesh.uv_faces][..., 1], atol=1e-6)
    outwards = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert ((attributes["NORMAL"][indices] * outwards[mesh.faces]).sum(-1) > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(attributes["NORMAL"], axis=1), 1, atol=1e-6)


def test_morph_targets_are_named_neutral_and_exact():
    mesh = sphere()
    reader = Reader(glb_bytes(mesh, extras={"recipe": "toy"}))
    face = reader.json["meshes"][0]
    assert face["extras"] == {"recipe": "toy", "targetNames": ["browInnerUp", "tongueOut"]}
    assert face["weights"] == [0.0, 0.0]
    primitive = face["primitives"][0]
    indices = reader.accessor(primitive["indices"]).reshape(-1, 3)
    for delta, target in zip(mesh.morph_targets.values(), primitive["targets"], strict=True):
        moved = reader.accessor(target["POSITION"])
        assert len(moved) == reader.json["accessors"][primitive["attributes"]["POSITION"]]["count"]
        np.testing.assert_allclose(moved[indices], delta[mesh.faces], atol=1e-7)


def test_without_texture_coordinates_vertices_keep_their_order():
    mesh = sphere(texture=False, morphs=False)
    reader = Reader(glb_bytes(mesh))
    primitive = reader.json["meshes"][0]["primitives"][0]
    np.testing.assert_allclose(reader.accessor(primitive["attributes"]["POSITION"]), mesh.vertices, atol=1e-7)
    assert "images" not in reader.json and "cameras" not in reader.json


def test_normals_agree_with_trimesh_on_direction_and_survive_a_lone_vertex():
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.vstack([ball.vertices, [[5.0, 5.0, 5.0]]])
    normals = unit_normals(vertices, np.asarray(ball.faces))
    angle = (normals[:-1] * ball.vertex_normals).sum(1)  # trimesh weighs by angle, this by area
    assert angle.min() > 0.999
    np.testing.assert_array_equal(normals[-1], [0, 0, 1])
