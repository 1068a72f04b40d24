"""What one captured face says of itself, and what it writes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from glb_reader import GlbReader
from PIL import Image
from toy_moods import Moods

from emoca_core.errors import RecipeError, UnknownNameError
from emoca_core.export.codes import landmark_error, read_codes
from emoca_core.export.mesh import split_at_seams
from emoca_core.files import sha256_of
from emoca_core.interfaces import EmotionPrediction, EmotionReading
from emoca_core.reconstruction import reconstruct
from emoca_core.reconstruction.capture import crops_of
from emoca_core.registry import get_registry
from emoca_core.vocabulary.arkit import ARKIT_NAMES

FILES = {
    "face.glb", "face.obj", "face.mtl", "face_albedo.png", "face.safetensors", "face.json", "overlay.png",
    "thumbnail.jpg", "index.html",
}  # fmt: skip


@pytest.fixture
def face(method, take_photo, tmp_path):
    (face,) = reconstruct(method, take_photo(tmp_path / "one"))
    return face


def test_four_lines_of_python(method, take_photo, tmp_path):
    faces = reconstruct(method, take_photo(tmp_path / "two", faces=2))
    assert [face.index for face in faces] == [0, 1]
    assert faces[0].vertices.shape == (162, 3)
    assert set(faces[0].codes) == {"shape", "expression", "global_pose", "camera"}
    assert {path.name for path in faces[1].save(tmp_path / "out")} == FILES
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


@pytest.mark.parametrize("weak", [False, True])
def test_exported_camera_reprojects_onto_the_crop(build_method, guess, take_photo, tmp_path, weak):
    """Metres through K, R, t on disk land where the crop's own camera puts them; the crop is tilted."""
    method = build_method(guess(weak))
    (face,) = reconstruct(method, take_photo(tmp_path / "one"))
    face.save(tmp_path / "out")
    record = json.loads((tmp_path / "out/face.json").read_text())
    to_photo = np.array(record["crop"]["crop_to_image"])
    assert abs(to_photo[0, 1]) > 0.01  # so that the roll is about something
    codes = read_codes(tmp_path / "out/face.safetensors")
    points = method.face_model(codes).vertices
    size = record["crop"]["size"]["height"], record["crop"]["size"]["width"]
    # in float64: a float32 projection is itself only good to 1e-4 px
    ndc = codes.camera.map(torch.Tensor.double).project(points.double())[..., :2]
    crop_px = (ndc[0].numpy() + 1) * size[::-1] / 2 - 0.5
    expected = crop_px @ to_photo[:2, :2].T + to_photo[:2, 2]
    metres = points[0].double().numpy()

    k, r, t = (np.array(record["camera"]["opencv"][key]) for key in "KRt")
    in_camera = metres @ r.T + t
    image = in_camera if record["camera"]["model"] == "perspective" else in_camera * [1, 1, 0] + [0, 0, 1]
    opencv = image @ k.T
    assert np.abs(opencv[:, :2] / opencv[:, 2:] - expected).max() < 1e-3

    shown = GlbReader((tmp_path / "out/face.glb").read_bytes()).shown()
    assert record["arkit"]["residual_mm"]["max"] < 0.01  # nearly none: the toy is linear
    assert np.abs([shown.min(0) - metres.min(0), shown.max(0) - metres.max(0)]).max() < 2e-5
    gltf = record["camera"]["gltf"]
    eye = np.column_stack([metres, np.ones(len(metres))]) @ np.linalg.inv(gltf["camera_to_world"]).T
    lens = gltf["camera"][gltf["camera"]["type"]]
    if weak:
        clip = eye[:, :2] / [lens["xmag"], lens["ymag"]]
    else:
        half = np.tan(lens["yfov"] / 2)
        clip = eye[:, :2] / [half * lens["aspectRatio"], half] / -eye[:, 2:3]
    frame = np.array([gltf["frame_size"]["width"], gltf["frame_size"]["height"]])
    offset = [gltf["photo_in_frame"]["x"], gltf["photo_in_frame"]["y"]]
    assert np.abs((clip * [1, -1] + 1) / 2 * frame - 0.5 - offset - expected).max() < 1e-3


def test_landmarks_on_disk_are_those_of_the_mesh(face, tmp_path):
    face.save(tmp_path / "out")
    record = json.loads((tmp_path / "out/face.json").read_text())
    np.testing.assert_allclose(record["landmarks"]["ibug68_px"], face.landmarks, atol=1e-4)
    detected = face.detection.landmarks["ibug68"]
    np.testing.assert_allclose(record["landmarks"]["detected_px"]["ibug68"], detected, atol=1e-3)
    assert record["landmarks"]["mean_error_interocular"] == pytest.approx(landmark_error(face.landmarks, detected))


def test_landmark_error_by_hand():
    points = np.zeros((68, 2))
    points[45] = [50, 0]  # outer corners 50 px apart
    assert landmark_error(points + np.array([3, 4]), points) == pytest.approx(0.1)


def test_record_names_everything_a_result_depends_on(face, tmp_path):
    face.save(tmp_path / "out")
    text = (tmp_path / "out/face.json").read_text()
    record = json.loads(text)
    assert record["recipe"]["name"] == "toy"
    assert record["recipe"]["parts"]["renderer"] == {
        "uses": "zbuffer",
        "params": {"kernel": "auto", "fill_rule": "strict", "depth": "exact"},
    }
    assert record["photo"]["sha256"] == sha256_of(tmp_path / "one.png")
    assert record["crop"]["policy"] == "native" and record["crop"]["rule"] == "upright"
    assert record["codes"]["expression"]["unit"] == "activation"
    assert record["codes"]["shape"]["unit"] == "sigma"
    np.testing.assert_allclose(record["codes"]["global_pose"]["values"], face.codes["global_pose"], rtol=1e-6)
    assert list(record["arkit"]["values"]) == list(ARKIT_NAMES)
    assert record["arkit"]["source"] == "fit"
    assert record["arkit"]["values"] == face.mesh.rig.weights == face.arkit
    assert record["arkit"]["residual_mm"]["mean"] < 0.01
    assert record["arkit_detected"]["tongueOut"] == 1
    assert str(tmp_path) not in text  # results travel; the user's folders do not
    assert '"t": [' in text and max(map(len, text.splitlines())) > 200  # lists are on one line


def test_models_without_arkit_names_report_the_landmarker(build_method, take_photo, tmp_path):
    (face,) = reconstruct(build_method(arkit=False), take_photo(tmp_path / "one"))
    assert face.arkit == face.detected_arkit
    assert face.record()["arkit"]["source"] == "landmarker"
    assert list(face.mesh.rig.weights) == ["expression"] and face.mesh.rig.source == "code"
    face.save(tmp_path / "out", ["glb"])
    reader = GlbReader((tmp_path / "out/face.glb").read_bytes())
    assert reader.mesh["weights"] == [1.0]
    np.testing.assert_allclose(reader.shown(), face.vertices[reader_order(face)], atol=1e-6)
    assert "arkit" not in reader.mesh["extras"] and reader.mesh["extras"]["arkit_detected"] == face.detected_arkit


def reader_order(face):
    """The vertex behind each of the GLB file's."""
    return split_at_seams(face.mesh.faces, face.mesh.uv_faces)[0]


@pytest.mark.parametrize("weak", [False, True])
def test_codes_round_trip(build_method, guess, take_photo, tmp_path, weak):
    (face,) = reconstruct(build_method(guess(weak)), take_photo(tmp_path / "one"))
    face.save(tmp_path / "out")
    codes = read_codes(tmp_path / "out/face.safetensors")
    assert type(codes.camera) is type(face.parameters.camera)
    assert codes.unit_of("expression") == "activation" and codes.unit_of("shape") == "sigma"
    for name, block in face.parameters.blocks().items():
        torch.testing.assert_close(codes.blocks()[name], block, rtol=0, atol=0)


def test_the_base_mesh_is_neutral_and_its_weights_are_the_capture(face, tmp_path):
    """The neutral face of the same person with the same head pose; the toy's expressions add up, so nearly exactly."""
    still = face.method.face_model(face.parameters.replace(expression=torch.zeros(1, 52))).vertices[0].numpy()
    face.save(tmp_path / "out")
    reader = GlbReader((tmp_path / "out/face.glb").read_bytes())
    order = reader_order(face)
    np.testing.assert_allclose(reader.attribute("POSITION"), still[order], atol=1e-6)
    np.testing.assert_allclose(reader.shown(), face.vertices[order], atol=2e-5)
    assert list(reader.mesh["extras"]["arkit"].values()) == reader.mesh["weights"] == list(face.arkit.values())


def test_equal_faces_are_byte_equal(method, take_photo, tmp_path):
    everything = [name for name in get_registry().names("exporter") if name != "usd"]  # which needs an extra
    assert {"glb", "obj", "ply", "codes", "json", "overlay", "arkit_csv", "parquet"} <= set(everything)
    for number in range(2):
        (face,) = reconstruct(method, take_photo(tmp_path / "one"))
        face.save(tmp_path / f"out{number}", everything)
    names = sorted(path.name for path in (tmp_path / "out0").iterdir())
    assert {*FILES, "face.ply", "face.parquet", "arkit.csv"} == set(names)
    for name in names:
        assert (tmp_path / "out0" / name).read_bytes() == (tmp_path / "out1" / name).read_bytes(), name


def test_formats_are_chosen_and_those_of_an_earlier_save_go(face, tmp_path):
    out = tmp_path / "out"
    face.save(out)
    (out / "mine.txt").write_text("the user's")
    assert [path.name for path in face.save(out, ["ply", "json", "ply"])] == ["face.ply", "face.json"]
    assert {path.name for path in out.iterdir()} == {"face.ply", "face.json", "mine.txt"}
    assert json.loads((out / "face.json").read_text())["files"] == ["face.ply"]
    with pytest.raises(UnknownNameError, match=r"no exporter 'pyl'.*'ply'|exporter.*ply"):
        face.save(out, ["pyl"])


def test_overlay_shows_the_mesh_where_the_camera_puts_it(face):
    overlay = face.overlay()
    assert overlay.size == (2 * 12 + 4 * 480 + 3 * 8, 12 + 480 + 30)
    last = np.asarray(overlay)[12:492, -492:-12].astype(int)
    grey = np.ptp(last, axis=-1) <= 2
    mesh = grey & (np.abs(last[..., 0] - 236) > 3)
    rows, columns = np.nonzero(mesh)
    # a ball seen whole: round, in the middle, and filling the window but for its margin of 7 %
    assert abs(rows.mean() - 239.5) < 12 and abs(columns.mean() - 239.5) < 12
    assert np.ptp(rows) == pytest.approx(480 / 1.14, abs=25)
    first = np.asarray(overlay)[12:492, 12:492]
    assert np.ptp(first, axis=-1).max() > 20  # the photo is there


def test_overlay_is_a_picture_on_disk(face, tmp_path):
    face.save(tmp_path / "out")
    with Image.open(tmp_path / "out/overlay.png") as image:
        assert image.size == face.overlay().size
    with Image.open(tmp_path / "out/thumbnail.jpg") as image:
        assert image.size == (face.overlay().width // 2, face.overlay().height // 2)


def test_detail_is_saved_as_a_dense_mesh(build_method, ripples, take_photo, tmp_path):
    (face,) = reconstruct(build_method(detail=ripples()), take_photo(tmp_path / "one"))
    written = face.save(tmp_path / "out")
    assert {path.name for path in written} == {*FILES, "face_detail.obj"}
    assert "face_detail.obj" in json.loads((tmp_path / "out/face.json").read_text())["files"]
    loaded = trimesh.load(tmp_path / "out/face_detail.obj", process=False, maintain_order=True, force="mesh")
    # a disc of radius 0.4 in UV space, 64 texels wide
    assert len(loaded.vertices) == len(face.detail_mesh.vertices) == pytest.approx(np.pi * (0.4 * 64) ** 2, rel=0.05)
    np.testing.assert_allclose(loaded.vertices, face.detail_mesh.vertices, atol=1e-7)
    # the ball's own radius varies with the expression; the ripples are on top of it, a row of texels at a time
    plain = replace(face, displacement=torch.zeros_like(face.displacement)).detail_mesh
    moved = np.linalg.norm(face.detail_mesh.vertices - plain.vertices, axis=1)
    row = np.rint((1 - plain.uv[:, 1]) * 64 - 0.5)
    np.testing.assert_allclose(moved, 3e-3 * np.abs(np.sin(row * 0.8)), atol=3e-4)  # flat triangles: short normals


def test_overlay_shows_wrinkles_on_the_meshes_only(build_method, ripples, take_photo, tmp_path):
    (face,) = reconstruct(build_method(detail=ripples()), take_photo(tmp_path / "one"))
    fine, flat = (
        np.asarray(each.overlay()).astype(int)
        for each in (face, replace(face, displacement=torch.zeros_like(face.displacement)))
    )
    changed = np.abs(fine - flat).max(-1)[:492]  # above the captions
    photo, landmarks, over, alone = (changed[:, 12 + 488 * i : 492 + 488 * i] for i in range(4))
    assert photo.max() == landmarks.max() == 0
    assert (over > 8).mean() > 0.1 and (alone > 8).mean() > 0.1


def test_uv_space_of_inference_serves_training(build_method, ripples):
    method = build_method(detail=ripples())
    with torch.inference_mode():
        space = method.uv_space(method.detail)
    assert method.uv_space(method.detail) is space
    colors = torch.rand(1, 162, 3, requires_grad=True)
    space.image(colors).sum().backward()
    assert colors.grad.abs().sum() > 0


def test_methods_without_detail_have_no_dense_mesh(face):
    assert face.displacement is None and face.detail_mesh is None


def test_detail_needs_texture_coordinates(build_method, ripples, monkeypatch):
    class Bare(type(build_method().face_model)):
        uv = property(lambda self: None, lambda self, value: None)

    monkeypatch.setitem(build_method.__globals__, "Ball", Bare)
    with pytest.raises(RecipeError, match="Bare has no texture coordinates"):
        build_method(detail=ripples())


def test_face_json_is_written_last(face, tmp_path, monkeypatch):
    """A stop in the middle of a second save leaves a folder that does not look complete."""
    face.save(tmp_path / "out")

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("emoca_plugins.exporters.codes.write_codes", stop)
    with pytest.raises(KeyboardInterrupt):
        face.save(tmp_path / "out")
    assert not (tmp_path / "out/face.json").exists()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_emotion_of_a_photo(method, take_photo, tmp_path, monkeypatch):
    """It is read by trained weights alone, and told by the file, the page and the contact sheet."""
    photo = take_photo(tmp_path / "one")
    method.recipe = method.recipe.model_validate(method.recipe.model_dump() | {"emotion_backbone": {"uses": "moods"}})
    method.emotion_backbone = Moods()
    (untrained,) = reconstruct(method, photo)
    assert untrained.emotion is None and untrained.record()["emotion"] is None
    method.emotion_backbone.asset_paths = {"moods": tmp_path / "weights"}
    (face,) = reconstruct(method, photo)
    bright = crops_of(method, photo).image.mean()
    assert 0.1 < bright < 0.9
    assert face.emotion.valence == pytest.approx(min(1.0, float(4 * bright - 1)), abs=1e-4)
    assert face.emotion.scores["happy"] == pytest.approx(float(torch.sigmoid(2 * bright)), abs=1e-4)
    assert face.emotion.arousal is None and str(face.emotion).startswith("happy 0.")
    monkeypatch.setattr("emoca_core.reconstruction.captured.describe_assets", lambda method: {})
    face.save(tmp_path / "out")
    record = json.loads((tmp_path / "out/face.json").read_text())
    assert record["emotion"] == {**vars(face.emotion), "arousal": None} and record["emotion"]["backbone"] == "moods"
    assert str(face.emotion) in (tmp_path / "out/index.html").read_text()
    method.emotion_backbone.forward = lambda image: EmotionPrediction({"pooled": image.mean((2, 3))})
    (mute,) = reconstruct(method, photo)
    assert mute.emotion is None, "a backbone of features alone tells nothing"


def test_an_encoder_that_glances_looks_at_a_photo_once(method, take_photo, tmp_path, monkeypatch):
    encoder, seen = method.encoder, []

    def glance(crop):
        seen.append(len(crop))
        return crop.image.mean((1, 2, 3))[:, None]

    forward = encoder.forward
    encoder.glance_size, encoder.glance = 1, glance
    encoder.forward = lambda crop: seen.append(crop.glance.shape) or forward(crop)
    encoder.emotion_in = lambda told: EmotionReading("own", (), EmotionPrediction({}, valence=told[:, 0]))
    photo = take_photo(tmp_path / "two", faces=2)
    faces = reconstruct(method, photo)
    levels = [face.emotion.valence for face in faces]
    assert seen == [2, (2, 1)], "both faces at once, and never again"
    assert levels == pytest.approx([float(crop.mean()) for crop in crops_of(method, photo).image], abs=1e-4)
    assert levels[0] != levels[1]
