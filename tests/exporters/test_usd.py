"""USD: what Pixar's own library shows at the times of the frames is the captured mesh."""

import zipfile

import numpy as np
import pytest
from moving_clip import FLIP, Moving, moving

from emoca_core.testing.sample_face import sample_face
from emoca_core.testing.sample_sequence import sample_sequence

pxr = pytest.importorskip("pxr", reason="usd-core is not installed (extra usd)")
from pxr import Gf, Usd, UsdGeom, UsdSkel, UsdValidation  # noqa: E402

from emoca_plugins.exporters.usd import UsdZip  # noqa: E402


def opened(folder):
    return Usd.Stage.Open(str(folder / "face.usdz"))


def shown(stage, time):
    """Vertices in the scene, by the library's skinning."""
    cache = UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache.Populate(root, Usd.PrimDefaultPredicate)
    (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
    skeleton = cache.GetSkelQuery(binding.GetSkeleton())
    target = cache.GetSkinningQuery(stage.GetPrimAtPath("/head/face"))
    points = np.array(UsdGeom.Mesh(stage.GetPrimAtPath("/head/face")).GetPointsAttr().Get())
    query = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(stage.GetPrimAtPath("/head/face")))
    weights = target.GetBlendShapeMapper().Remap(skeleton.GetAnimQuery().ComputeBlendShapeWeights(time))
    sub_weights, shapes, subs = query.ComputeSubShapeWeights(weights)
    moved = pxr.Vt.Vec3fArray.FromNumpy(points)
    assert query.ComputeDeformedPoints(
        sub_weights, shapes, subs, query.ComputeBlendShapePointIndices(), query.ComputeSubShapePointOffsets(), moved
    )
    joints = skeleton.ComputeSkinningTransforms(time)
    assert target.ComputeSkinnedPoints(joints, moved, time)
    return np.array(moved)


def test_every_frame_is_the_captured_mesh_where_the_camera_saw_it(tmp_path):
    sequence = moving(Moving)
    UsdZip().export_sequence(sequence, tmp_path)
    stage = opened(tmp_path)
    posed = sequence.geometry(slice(None)).vertices.double().numpy()
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/photo"))
    assert stage.GetTimeCodesPerSecond() == 25 and UsdGeom.GetStageMetersPerUnit(stage) == 1
    for row, number in enumerate(sequence.numbers.tolist()):
        seen = sequence.cameras[row]
        expected = (posed[row] @ seen.rotation.T + seen.translation) @ FLIP
        found = shown(stage, Usd.TimeCode(number))  # 25 time codes a second, as the clip has frames
        np.testing.assert_allclose(found, expected, atol=2e-6)
    view = camera.GetCamera(Usd.TimeCode.Default()).frustum
    matrix = view.ComputeViewMatrix() * view.ComputeProjectionMatrix()
    clip = np.array([list(matrix.Transform(Gf.Vec3d(*map(float, point))))[:2] for point in found[::40]])
    np.testing.assert_allclose((clip * [1, -1] + 1) / 2 * 64 - 0.5, seen.project(posed[-1])[::40], atol=1e-2)


def test_away_is_invisible(tmp_path):
    UsdZip().export_sequence(moving(Moving), tmp_path)
    stage = opened(tmp_path)
    surface = UsdGeom.Imageable(stage.GetPrimAtPath("/head/face"))
    seen = [surface.ComputeVisibility(Usd.TimeCode(number)) for number in (0, 3, 12, 20, 29, 36)]
    assert seen == ["invisible", "inherited", "inherited", "invisible", "inherited", "inherited"]


@pytest.mark.parametrize("bare", [False, True])
def test_the_package_is_one(tmp_path, bare):
    UsdZip().export_sequence(sample_sequence(bare), tmp_path)
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    problems = UsdValidation.ValidationContext(validators).Validate(opened(tmp_path))
    assert len(validators) > 20 and [problem.GetMessage() for problem in problems] == []
    with zipfile.ZipFile(tmp_path / "face.usdz") as package:
        assert package.namelist() == ["face.usdc"] if bare else ["face.usdc", "albedo.png"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in package.infolist())


def test_a_face_of_a_photo_is_the_capture(tmp_path):
    face = sample_face()
    UsdZip().export(face, tmp_path)
    np.testing.assert_allclose(shown(opened(tmp_path), Usd.TimeCode.Default()), face.mesh.vertices, atol=1e-6)
