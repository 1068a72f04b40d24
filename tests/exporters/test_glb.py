"""GLB files: read back by trimesh and by a reader written from the specification."""

import io
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from glb_reader import GlbReader

from emoca_core.export import FaceMesh, GltfCamera
from emoca_core.export.mesh import split_at_seams, unit_normals
from emoca_core.geometry.normals import grid_faces
from emoca_core.interfaces import ExpressionRig
from emoca_plugins.exporters.glb import glb_bytes


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
        rig=ExpressionRig(vertices - 0.25 * deltas, np.stack([deltas, 0 * deltas]), WEIGHTS, "arkit")
        if morphs
        else None,
    )


WEIGHTS = {"browInnerUp": 0.25, "tongueOut": 0.0}


CAMERA = GltfCamera(
    {"type": "perspective", "perspective": {"yfov": 0.5, "aspectRatio": 1.5, "znear": 0.01, "zfar": 100.0}},
    np.array([[0, -1, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 1, 1.0], [0, 0, 0, 1]]),
    (1500.0, 1000.0),
    (0.0, 0.0),
)


def test_trimesh_reads_mesh_texture_and_camera():
    mesh = sphere(colors=True)
    scene = trimesh.load_scene(io.BytesIO(glb_bytes(mesh, CAMERA)), file_type="glb", process=False)
    (loaded,) = scene.geometry.values()
    vertex, texel, faces = split_at_seams(mesh.faces, mesh.uv_faces)
    np.testing.assert_allclose(loaded.vertices, mesh.rig.neutral[vertex], atol=1e-7)
    np.testing.assert_array_equal(loaded.faces, faces)
    np.testing.assert_allclose(loaded.visual.uv, mesh.uv[texel], atol=1e-6)  # trimesh turns v up again
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.baseColorTexture)[..., :3], mesh.texture)
    np.testing.assert_allclose(loaded.vertex_attributes["_ALBEDO"], mesh.vertex_colors[vertex], atol=1e-6)
    np.testing.assert_allclose(scene.camera_transform, CAMERA.matrix, atol=1e-7)
    assert scene.camera.fov[1] == pytest.approx(np.degrees(0.5), rel=1e-4)


def test_vertex_colors_are_linear_and_only_color_an_untextured_mesh():
    mesh = sphere(texture=False, colors=True)
    reader = GlbReader(glb_bytes(mesh))
    primitive = reader.json["meshes"][0]["primitives"][0]
    linear = reader.accessor(primitive["attributes"]["COLOR_0"])
    expected = ((mesh.vertex_colors + 0.055) / 1.055) ** 2.4
    bright = mesh.vertex_colors > 0.05
    np.testing.assert_allclose(linear[bright], expected[bright], atol=1e-6)
    scene = trimesh.load_scene(io.BytesIO(glb_bytes(mesh)), file_type="glb", process=False, skip_materials=True)
    (loaded,) = scene.geometry.values()
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, linear, atol=1 / 255)
    textured = GlbReader(glb_bytes(sphere(colors=True))).json["meshes"][0]["primitives"][0]["attributes"]
    assert "COLOR_0" not in textured  # it would multiply the texture


def test_corners_keep_position_texture_and_normal():
    """Following the indices gives each triangle's own position, texture coordinate and normal."""
    mesh = sphere(morphs=False)
    reader = GlbReader(glb_bytes(mesh))
    primitive = reader.primitive
    indices = reader.accessor(primitive["indices"]).reshape(-1, 3)
    attributes = {name: reader.accessor(index) for name, index in primitive["attributes"].items()}
    np.testing.assert_allclose(attributes["POSITION"][indices], mesh.vertices[mesh.faces], atol=1e-7)
    np.testing.assert_allclose(attributes["TEXCOORD_0"][indices][..., 0], mesh.uv[mesh.uv_faces][..., 0], atol=1e-7)
    np.testing.assert_allclose(attributes["TEXCOORD_0"][indices][..., 1], 1 - mesh.uv[mesh.uv_faces][..., 1], atol=1e-6)
    outwards = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert ((attributes["NORMAL"][indices] * outwards[mesh.faces]).sum(-1) > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(attributes["NORMAL"], axis=1), 1, atol=1e-6)


def test_a_rig_is_a_neutral_mesh_whose_weighted_targets_are_the_capture():
    mesh = sphere()
    reader = GlbReader(glb_bytes(mesh, extras={"recipe": "toy"}))
    assert reader.mesh["extras"] == {"recipe": "toy", "targetNames": ["browInnerUp", "tongueOut"]}
    assert reader.mesh["weights"] == [0.25, 0.0]
    indices = reader.accessor(reader.primitive["indices"]).reshape(-1, 3)
    np.testing.assert_allclose(reader.attribute("POSITION")[indices], mesh.rig.neutral[mesh.faces], atol=1e-7)
    np.testing.assert_allclose(reader.shown()[indices], mesh.vertices[mesh.faces], atol=1e-7)
    for delta, moved in zip(mesh.rig.targets, reader.targets().values(), strict=True):
        np.testing.assert_allclose(moved[indices], delta[mesh.faces], atol=1e-7)


def test_targets_turn_the_normals_to_those_of_the_moved_mesh():
    mesh = sphere()
    reader = GlbReader(glb_bytes(mesh))
    indices = reader.accessor(reader.primitive["indices"]).reshape(-1, 3)
    for name, target in zip(WEIGHTS, mesh.rig.targets, strict=True):
        shown = reader.shown("NORMAL", {**dict.fromkeys(WEIGHTS, 0.0), name: 1.0})
        expected = unit_normals(mesh.rig.neutral + target, mesh.faces)
        # entries below 1e-4 are left out of a target
        np.testing.assert_allclose(shown[indices], expected[mesh.faces], atol=2e-4)
    assert np.abs(reader.targets("NORMAL")["browInnerUp"]).max() > 0.1  # so that the comparison is about something


def test_bounds_of_targets_that_move_everything_or_nothing():
    mesh = sphere()
    random = np.random.default_rng(4)
    everywhere = random.uniform(0.01, 0.02, mesh.vertices.shape) * [1, -1, 1]  # the smallest x is above zero
    nowhere = np.zeros_like(everywhere)
    weights = dict.fromkeys(("nothing", "all", "nothing else", "some"), 0.0)
    targets = np.stack([nowhere, everywhere, nowhere, mesh.rig.targets[0]])
    reader = GlbReader(glb_bytes(replace(mesh, rig=ExpressionRig(mesh.vertices, targets, weights, "arkit"))))
    vertex = split_at_seams(mesh.faces, mesh.uv_faces)[0]
    for moved, expected in zip(reader.targets().values(), targets, strict=True):  # the reader checks the bounds
        np.testing.assert_allclose(moved, expected[vertex], atol=1e-7)
    accessors = [reader.json["accessors"][target["POSITION"]] for target in reader.primitive["targets"]]
    assert ["sparse" in accessor for accessor in accessors] == [False, True, False, True]
    assert accessors[1]["min"][0] > 0 > accessors[1]["max"][1] and accessors[3]["max"][0] > 0 > accessors[3]["min"][0]


@pytest.mark.parametrize(("rows", "component"), [(255, 5123), (257, 5125)])  # 65,280 vertices and 65,792
def test_indices_are_as_short_as_the_number_of_vertices_allows(rows, component):
    vertices = np.stack(np.meshgrid(np.arange(rows), np.arange(256), [0.0], indexing="ij"), axis=-1).reshape(-1, 3)
    faces = grid_faces(rows, 256).numpy()
    targets = np.zeros((1, *vertices.shape))
    targets[0, -1] = 1.0
    rig = ExpressionRig(vertices, targets, {"last": 1.0}, "code")
    reader = GlbReader(glb_bytes(FaceMesh(vertices=vertices, faces=faces, rig=rig)))
    np.testing.assert_array_equal(reader.accessor(reader.primitive["indices"]).reshape(-1, 3), faces)
    np.testing.assert_array_equal(reader.targets()["last"], targets[0])
    sparse = reader.json["accessors"][reader.primitive["targets"][0]["POSITION"]]["sparse"]
    used = {sparse["indices"]["componentType"], reader.json["accessors"][reader.primitive["indices"]]["componentType"]}
    assert used == {component}


def test_without_texture_coordinates_vertices_keep_their_order():
    mesh = sphere(texture=False, morphs=False)
    reader = GlbReader(glb_bytes(mesh))
    np.testing.assert_allclose(reader.attribute("POSITION"), mesh.vertices, atol=1e-7)
    assert "images" not in reader.json and "cameras" not in reader.json


def test_normals_agree_with_trimesh_on_direction_and_survive_a_lone_vertex():
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.vstack([ball.vertices, [[5.0, 5.0, 5.0]]])
    normals = unit_normals(vertices, np.asarray(ball.faces))
    angle = (normals[:-1] * ball.vertex_normals).sum(1)  # trimesh weighs by angle, this by area
    assert angle.min() > 0.999
    np.testing.assert_array_equal(normals[-1], [0, 0, 1])
