"""Networks as ONNX files: the same numbers by another program, for any number of faces."""

import json

import jaxtyping
import onnxruntime
import pytest
import torch

from emoca_core import load_method
from emoca_core.cli import main
from emoca_core.deployment import onnx_encoder, onnx_folder
from emoca_core.deployment.onnx_encoder import use_onnx
from emoca_core.deployment.onnx_folder import export_onnx
from emoca_core.deployment.onnx_networks import LANDMARKS, EncoderNetwork, difference
from emoca_core.errors import ComponentImportError, EmocaError, OutputError, RecipeError
from emoca_core.interfaces import FaceCrop, FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.registry.catalogue import get_catalogue


@pytest.fixture(scope="module", autouse=True)
def free_batches():
    """The checks of shapes fix the batch of what is being traced."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="module")
def method():
    """A small encoder whose weights are large enough that all outputs differ from face to face."""
    method = load_method("open_pretrain", change={"encoder": {"params": {"weights": "random"}}}).eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for weight in method.encoder.parameters():
            if weight.ndim == 2:
                weight.copy_(0.1 * torch.randn_like(weight))
    return method


@pytest.fixture(scope="module")
def folder(method, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "open"
    export_onnx(method, out, get_catalogue(), torch.rand(4, 3, 224, 224))
    return out


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(session, given):
    return dict(zip([entry.name for entry in session.get_outputs()], session.run(None, given), strict=True))


def test_a_photo_goes_through_both_files_as_through_the_method(method, folder):
    image = torch.rand(5, 3, 224, 224)
    encoder, head = session(folder / "encoder.onnx"), session(folder / "face_model.onnx")

    blocks = dict(
        zip([o.name for o in encoder.get_outputs()], encoder.run(None, {"image": image.numpy()}), strict=True)
    )
    read = {entry.name: blocks[entry.name] for entry in head.get_inputs()}
    mesh = dict(zip([o.name for o in head.get_outputs()], head.run(None, read), strict=True))

    with torch.no_grad():
        code = method.encoder(FaceCrop(image))
        vertices = method.face_model(code).vertices
    assert code.expression.std(0).mean() > 1e-4, "the faces differ by more than what is allowed"
    assert {"shape", "expression", "jaw_pose", "camera.scale", "camera.translation", "lighting"} <= set(blocks)
    torch.testing.assert_close(torch.from_numpy(blocks["expression"]), code.expression, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.from_numpy(blocks["camera.scale"]), code.camera.scale, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.from_numpy(mesh["vertices"]), vertices, rtol=0, atol=1e-6)  # a micrometre
    assert (torch.from_numpy(mesh["faces"]) == method.face_model.faces).all()


def test_the_card_says_how_far_the_files_are_and_what_binds(folder):
    card = json.loads((folder / "card.json").read_text())

    assert 0 < card["difference"]["encoder.onnx"] < 1e-4 and 0 < card["difference"]["face_model.onnx"] < 1e-4
    assert card["units"]["expression"] == "activation" and card["image_size"] == 224
    assert set(card["sha256"]) == {"encoder.onnx", "encoder_int8.onnx", "face_model.onnx"}
    assert "face_model open_head" in card["licenses"]


def test_int8_is_smaller_and_says_what_it_costs(folder):
    card = json.loads((folder / "card.json").read_text())

    assert (folder / "encoder_int8.onnx").stat().st_size < 0.5 * (folder / "encoder.onnx").stat().st_size
    assert 0 < card["int8_vertex_error_mm"] < 20


def test_a_file_with_other_numbers_is_refused(method, folder):
    network = EncoderNetwork(method.encoder, 224)
    with torch.no_grad():
        weight = next(p for p in method.encoder.parameters() if p.ndim == 2)
        before = weight.clone()
        weight.mul_(1.01)
    try:
        with pytest.raises(EmocaError, match=r"encoder\.onnx differs"):
            difference(folder / "encoder.onnx", network)
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_nothing_is_overwritten_and_nothing_is_left_half_done(method, folder, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="exists"):
        export_onnx(method, folder, get_catalogue())

    def fail(*_):
        raise EmocaError("no")

    monkeypatch.setattr(onnx_folder, "write_onnx", fail)
    with pytest.raises(EmocaError, match="no"):
        export_onnx(method, tmp_path / "new", get_catalogue())
    assert list(tmp_path.iterdir()) == []


def test_encoders_that_read_more_than_landmarks_are_refused_in_one_line(tmp_path, capsys):
    assert main(["export", "onnx", "open_fit", "--out", str(tmp_path / "out")]) == 2
    assert "identity, photo_size beside the picture" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["open_deca", "open_emoca"])
def test_what_reads_landmarks_takes_them_as_a_second_input(name, tmp_path, monkeypatch):
    """The networks that come with the project: exported, and as the engine of photos and clips."""
    method = load_method(name, device="cpu")
    card = export_onnx(method, tmp_path / "out", get_catalogue())
    assert max(card.difference.values()) < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "out/encoder.onnx")
    assert [entry.name for entry in session.get_inputs()] == ["image", LANDMARKS]
    with pytest.raises(RecipeError, match="reads landmarks: int8"):
        export_onnx(method, tmp_path / "small", get_catalogue(), torch.rand(2, 3, 224, 224))
    monkeypatch.setattr(onnx_encoder.platformdirs, "user_cache_dir", lambda *_: str(tmp_path))
    points = frontal_landmarks() + 0.02 * torch.randn(5, 68, 2)
    crop, person = (
        FaceCrop(torch.rand(5, 3, 224, 224), landmarks={"ibug68": points}),
        FaceParameters(shape=0.3 * torch.randn(1, method.face_model.blocks["shape"])),
    )
    with torch.no_grad():
        expected = method.encode(crop), method.encode_frames(crop, person)
        quick = use_onnx(method)
        found = quick.encode(crop), quick.encode_frames(crop, person)
    assert isinstance(quick.encoder, onnx_encoder.OnnxEncoder)
    for one, other in zip(found, expected, strict=True):
        for block in ("shape", "expression", "global_pose", "jaw_pose", "lighting"):
            torch.testing.assert_close(getattr(one, block), getattr(other, block), rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(one.camera.translation, other.camera.translation, rtol=1e-4, atol=1e-5)


def test_without_the_extra_the_command_says_what_to_install(tmp_path, monkeypatch, method):
    monkeypatch.setattr("emoca_core.deployment.onnx_networks.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ComponentImportError, match=r"emoca-core\[onnx\]"):
        export_onnx(method, tmp_path / "out", get_catalogue())


def test_the_engine_gives_the_encoders_numbers_and_keeps_its_file(method, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_encoder.platformdirs, "user_cache_dir", lambda *_: str(tmp_path))
    crop = FaceCrop(torch.rand(3, 3, 224, 224))
    encoder = method.encoder
    with torch.no_grad():
        expected = encoder(crop)
    try:
        code = use_onnx(method).encode(crop)
        torch.testing.assert_close(code.expression, expected.expression, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(code.camera.translation, expected.camera.translation, rtol=1e-4, atol=1e-6)
        assert code.units == expected.units and method.encoder.blocks == encoder.blocks

        (kept,) = (tmp_path / "onnx").glob("*.onnx")
        written = kept.stat().st_mtime_ns
        method.encoder = encoder
        use_onnx(method)
        assert kept.stat().st_mtime_ns == written and len(list((tmp_path / "onnx").iterdir())) == 1
    finally:
        method.encoder = encoder


def test_the_engine_refuses_analysis_by_synthesis():
    with pytest.raises(RecipeError, match="reads"):
        use_onnx(load_method("open_fit"))
