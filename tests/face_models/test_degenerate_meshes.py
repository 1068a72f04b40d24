"""Files that hold no face are refused when they are added, for every face model."""

import numpy as np
import pytest
import tiny_flame

from emoca_core.cli import main
from emoca_core.errors import AssetFormatError
from emoca_core.formats import Surface
from emoca_core.formats.known import known_formats
from emoca_core.registry import get_registry
from emoca_core.registry.assets import has_asset

POINTS = np.random.default_rng(0).normal(size=(40, 3))
FACES = np.arange(39).reshape(13, 3)
MESHES = [one for one in known_formats(get_registry()) if {"faces", "triangles"} & set(one.indices)]


def nothing(points, faces):
    points[:] = 0


def constant(points, faces):
    points[:] = 0.3


def flat(points, faces):
    points[:, -1] = 0.1


def thin(points, faces):
    faces[:7, 1] = faces[:7, 0]


BROKEN = {nothing: "in one place", constant: "in one place", flat: "never changes", thin: "54% of the triangles"}


def test_every_format_with_triangles_says_which_mesh_they_make():
    assert {one.name for one in MESHES} >= {"flame_model", "bfm09_front", "bfm_noneck", "bfm_expnet"}
    for one in MESHES:
        (surface, *_) = one.surfaces
        assert one.indices[surface.faces] == surface.points and surface.moved_by


@pytest.mark.parametrize("damage", BROKEN)
@pytest.mark.parametrize("wanted", MESHES, ids=lambda one: one.name)
def test_a_mesh_without_a_shape_is_refused(tmp_path, wanted, damage):
    (surface, *_) = wanted.surfaces
    arrays = {surface.points: POINTS.copy(), surface.faces: FACES.copy()}
    wanted.check(arrays, tmp_path)
    damage(*arrays.values())
    with pytest.raises(AssetFormatError, match=f"looks like {wanted.name}, but is no face: .*{BROKEN[damage]}"):
        wanted.check(arrays, tmp_path)
    for name in surface.moved_by:
        with pytest.raises(AssetFormatError, match=f"{name} is zero everywhere"):
            wanted.check({name: np.zeros((4, 3))}, tmp_path)


def test_single_empty_triangles_and_texture_coordinates():
    faces, few = FACES.copy(), Surface("points", "faces")
    faces[0, 1] = faces[0, 0]
    assert not list(few.faults({"points": POINTS, "faces": faces}))
    assert not list(few.faults({"points": POINTS[:, :2], "faces": FACES}))
    assert not list(few.faults({"points": 1e-4 * POINTS.astype(np.float32) + 5, "faces": FACES}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"v_template": 0.0}, "all points of v_template are in one place"),
        ({"v_template": 0.2}, "all points of v_template are in one place"),
        ({"f": 0}, "100% of the triangles in faces have no area"),
        ({"shapedirs": 0.0, "weights": 0.0}, "shapedirs is zero everywhere; weights is zero everywhere"),
    ],
)
def test_assets_add_refuses_a_flame_that_is_none(tmp_path, monkeypatch, capsys, damage, says):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    arrays = tiny_flame.tiny_arrays()
    arrays |= {name: np.full_like(arrays[name], value) for name, value in damage.items()}
    file = tiny_flame.write_model(tmp_path / "generic_model.pkl", arrays)
    assert main(["assets", "add", str(file)]) == 2
    assert f"generic_model.pkl looks like flame_model, but is no face: {says}" in capsys.readouterr().err
    assert not has_asset("flame")


def test_assets_add_refuses_a_template_without_texture_space(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    arrays = tiny_flame.tiny_arrays()
    file = tiny_flame.write_template(tmp_path / "head_template.obj", {**arrays, "uv": np.zeros_like(arrays["uv"])})
    assert main(["assets", "add", str(file)]) == 2
    assert "flame_template, but is no face: all points of uv are in one place" in capsys.readouterr().err
