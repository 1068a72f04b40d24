"""``point_regressor``: a neutral face where the points are, patches that follow them, given shapes, training."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from encoded_folder import SIZE, write_encoded
from safetensors.torch import load_file, save_file

from emoca_core import get_registry, load_method
from emoca_core.errors import AssetFormatError, MissingAssetError, RecipeError
from emoca_core.files import sha256_of
from emoca_core.interfaces import FaceCrop, FaceParameters, Parts
from emoca_core.interfaces.samples import sample_image
from emoca_core.method import Method
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.train.run_stage import prepare_stage
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.point_patches import PATCHES, PointPatches
from emoca_plugins.encoders.point_regressor import FOLLOWING, WEIGHTS
from emoca_plugins.encoders.regressor_output import Output

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def parts():
    head = get_registry().build("face_model", "open_head", {"texture_size": 64, "mediapipe_landmarks": False})
    return Parts(head, get_registry().build("renderer", "zbuffer"))


def encoder(parts, **params):
    torch.manual_seed(0)
    return get_registry().build("encoder", "point_regressor", {"weights": "random", **params}, parts).eval()


def trained(parts):
    """With outputs that are anything but neutral."""
    made = encoder(parts)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def crop_at(points, image=None):
    image = sample_image(112)[:1].expand(len(points), -1, -1, -1) if image is None else image
    return FaceCrop(image, landmarks={"ibug68": points})


def seen(parts, code):
    return code.camera.project(parts.face_model(code).landmarks["ibug68"])[..., :2].detach()


def test_it_predicts_every_block_of_its_face_model(parts):
    made = encoder(parts)
    code = made(crop_at(made.output.neutral_points[None].repeat(2, 1, 1)))
    found = {name: block.shape[1] for name, block in code.blocks().items()}
    blocks = {name: size for name, size in parts.face_model.blocks.items() if name != "neck_pose"}
    assert found == dict(made.blocks) == {**blocks, "camera": 7, "lighting": 27}
    assert code.unit_of("expression") == "activation"


def test_an_untrained_network_sees_the_neutral_face_where_the_points_are(parts):
    made = encoder(parts)
    neutral = made.output.neutral_points
    points = torch.stack([neutral, 0.6 * neutral + torch.tensor([0.2, -0.1])])
    code = made(crop_at(points))
    for name in ("shape", "albedo", "expression", "global_pose", "jaw_pose"):
        assert code.blocks()[name].abs().max() < 0.1, name
    assert (seen(parts, code) - points).norm(dim=-1).mean() < 0.02


def test_size_and_place_of_the_points_change_the_camera_alone(parts):
    """The picture goes along with the points. What is nearer is drawn by a camera that is nearer: nearly the same."""
    made, first = trained(parts), None
    theta = torch.tensor([[[1.25, 0.0, 0.2], [0.0, 1.25, -0.15]]])  # of the new picture, where it is in the old one
    image = F.avg_pool2d(sample_image(112), 5, stride=1, padding=2)[:1]
    moved = F.grid_sample(
        image, F.affine_grid(theta, image.shape, align_corners=False), padding_mode="border", align_corners=False
    )
    points = made.output.neutral_points[None] * 0.8 + 0.03 * torch.randn(1, 68, 2)
    first = made(crop_at(points, image))
    second = made(crop_at((points - theta[:, :, 2]) / 1.25, moved))
    for name in ("shape", "expression", "global_pose", "jaw_pose", "eye_pose"):
        torch.testing.assert_close(second.blocks()[name], first.blocks()[name], atol=0.02, rtol=0.05)
    expected = (seen(parts, first) - theta[:, :, 2]) / 1.25
    assert (seen(parts, second) - expected).norm(dim=-1).mean() < 0.02
    assert (seen(parts, second) - seen(parts, first)).norm(dim=-1).mean() > 0.1


def test_a_patch_is_the_picture_about_its_points():
    """Of a picture that says where it is: red grows to the right, green downwards."""
    ramp = torch.linspace(-1, 1, 113)[:-1] + 1 / 112
    image = torch.stack(
        [(1 + ramp).expand(112, 112) / 2, (1 + ramp)[:, None].expand(112, 112) / 2, torch.zeros(112, 112)]
    )
    points = 0.3 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    vector = PointPatches()(image[None], points)[0]
    whole = vector[-PATCHES[-1].numbers :].reshape(3, 20, 20)
    radius = (points - points.mean(1)).square().sum(-1).mean().sqrt()
    across = points[0, :, 0].mean() + radius * torch.linspace(-1.8, 1.8, 20)
    inside = across.abs() < 0.9
    torch.testing.assert_close(whole[0][:, inside], across[inside].expand(20, -1), atol=1e-3, rtol=0)
    eye = vector[: PATCHES[0].numbers].reshape(12, 24)
    assert (eye[:, 1:] > eye[:, :-1]).all() and (eye[1:] > eye[:-1]).all()
    assert eye.mean().abs() < 1e-4


def test_points_that_were_not_seen_are_those_of_the_neutral_face(parts):
    made = trained(parts)
    neutral = made.output.neutral_points
    unseen = neutral.clone()
    unseen[5] = torch.nan
    known, found = made(crop_at(neutral[None])), made(crop_at(unseen[None]))
    assert all(torch.equal(found.blocks()[name], block) for name, block in known.blocks().items())


def test_a_given_shape_moves_nothing_until_that_was_trained(parts):
    made = encoder(parts)
    crop = crop_at(made.output.neutral_points[None].repeat(2, 1, 1))
    own, shape = made(crop), torch.ones(2, 100)
    given = made.with_shape(crop, own, shape)
    assert torch.equal(given.shape, shape)
    for name, block in own.replace(shape=None).blocks().items():
        assert torch.equal(given.blocks()[name], block), name


def test_expression_pose_and_camera_follow_a_given_shape(parts):
    made = trained(parts)
    crop = crop_at(made.output.neutral_points[None].repeat(2, 1, 1))
    own = made(crop)
    for name, block in made.with_shape(crop, own, own.shape).blocks().items():
        torch.testing.assert_close(block, own.blocks()[name])
    given = made.with_shape(crop, own, own.shape + 1)
    changed = {name for name, block in given.blocks().items() if not torch.equal(block, own.blocks()[name])}
    assert changed == {"shape", *FOLLOWING}
    assert torch.equal(made.with_shape(crop, own, own.shape[:, :10]).shape, own.shape[:, :10])


def test_frames_of_a_clip_follow_the_shape_of_the_person(parts):
    made = trained(parts)
    crop = crop_at(made.output.neutral_points[None].repeat(3, 1, 1))
    person = FaceParameters(shape=torch.ones(1, 100), albedo=torch.ones(1, 10))
    frames = made.encode_frames(crop, person)
    expected = made.with_shape(crop, made(crop), torch.ones(3, 100))
    assert torch.equal(frames.albedo, torch.ones(3, 10)) and torch.equal(frames.shape, torch.ones(3, 100))
    assert torch.equal(frames.expression, expected.expression)
    assert not torch.equal(frames.expression, made(crop).expression)


def test_what_follows_a_given_shape_can_be_trained_alone(parts, tmp_path):
    made = encoder(parts, trained="following")
    assert {name.split(".")[0] for name, value in made.named_parameters() if value.requires_grad} == {"follow"}
    crop = crop_at(made.output.neutral_points[None])
    made.with_shape(crop, made(crop), torch.ones(1, 100)).expression.sum().backward()
    assert made.layers[0].weight.grad is None and made.follow[-1].weight.grad.abs().sum() > 0


def test_networks_of_before_know_no_given_shape(parts, tmp_path):
    made = trained(parts)
    old = {f"encoder.{name}": value for name, value in made.state_dict().items() if not name.startswith("follow")}
    save_file(old, tmp_path / "old.safetensors")
    again = encoder(parts, weights=str(tmp_path / "old.safetensors"))
    crop = crop_at(made.output.neutral_points[None])
    assert torch.equal(again(crop).expression, made(crop).expression)
    assert torch.equal(again.with_shape(crop, again(crop), torch.ones(1, 100)).expression, again(crop).expression)


def test_wrong_use_is_refused_with_one_line(parts, tmp_path):
    with pytest.raises(MissingAssetError, match="yours to train"):
        get_registry().build("encoder", "point_regressor", {}, parts)
    with pytest.raises(RecipeError, match="reads the points ibug68"):
        encoder(parts)(FaceCrop(sample_image(112)))
    with pytest.raises(RecipeError, match="built for a face model"):
        get_registry().build("encoder", "point_regressor", {"weights": "random"})
    save_file(encoder(parts, hidden=16).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(AssetFormatError, match="layers"):
        encoder(parts, weights=str(tmp_path / "other.safetensors"))


def test_it_learns_the_codes_of_a_folder_without_drawing_a_face(tmp_path, monkeypatch, parts):
    codes, drawn = write_encoded(tmp_path), []
    monkeypatch.setattr(Method, "render", lambda *_: drawn.append(1))
    settings = {
        **{"data": {"folder": codes, "crop_size": SIZE, "image_size": SIZE, "mirrored": True, "keep": False}},
        **{"tracker": "none", "progress": False, "pictures_every": 0, "checkpoints": False, "batch_size": 6},
        **{"max_steps": 12, "epochs": 99, "warmup_steps": 0, "average": 0.0, "validate_every": 1000, "log_every": 1},
    }
    run = prepare_stage("coarse", "open_deca_taught", "encoded_faces", settings=settings)
    monkeypatch.setattr(type(run.task), "predict", lambda self, batch: {"loss": torch.zeros(len(batch.crop))})
    drawn.clear()  # of the rehearsal, which looks at everything
    run.train(tmp_path / "run")
    assert not drawn
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert losses[-1] < 0.8 * losses[0]
    file = tmp_path / "run" / "best.safetensors"
    again = get_registry().build("encoder", "point_regressor", {"weights": str(file)}, parts)
    assert torch.equal(again.layers[0].weight, load_file(file)["encoder.layers.0.weight"])


def test_the_weights_that_come_with_the_project_are_those_of_their_card(parts, monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))
    card = get_catalogue().card("encoder", "point_regressor")
    assert card.shipped.sha256 == sha256_of(WEIGHTS)
    assert "research only" in card.license and WEIGHTS.stat().st_size < 6.4e6
    assert {tensor.dtype for tensor in load_file(WEIGHTS).values()} == {torch.float16}
    figures = json.loads((ROOT / "benchmarks" / "results" / "open_weights.json").read_text())
    for part, faces in (("photos", "photos"), ("web", "web faces")):
        errors = {method: own["mean"][0] for method, own in figures[part]["landmark error"].items()}
        times = errors["open_deca"] / errors["open_fit"]
        assert f"{errors['open_deca']:.4f}, {times:.2f} times open_fit's" in card.shipped.figures[faces]


def test_the_shipped_network_sees_a_synthetic_face_as_it_is(parts):
    """Of people that nobody trained on; an untrained network answers with the neutral face instead."""
    size = {"image_size": 112, "length": 24, "seed": 77, "yaw_degrees": 15}
    samples = get_registry().build("dataset", "synthetic_faces", size).__getitems__(range(24))
    crop = FaceCrop(torch.stack([s.image for s in samples]), {"ibug68": torch.stack([s.landmarks for s in samples])})
    true = FaceParameters.cat([s.parameters for s in samples])
    shipped = encoder(parts, weights="open_deca")(crop)
    error = (seen(parts, shipped) - crop.landmarks["ibug68"]).norm(dim=-1).mean()
    assert error < 0.5 * (seen(parts, encoder(parts)(crop)) - crop.landmarks["ibug68"]).norm(dim=-1).mean()
    smile = ARKIT_NAMES.index("mouthSmileLeft")
    pairs = torch.stack([shipped.expression[:, smile].detach(), true.expression[:, smile]])
    assert torch.corrcoef(pairs)[0, 1] > 0.5
    assert torch.corrcoef(torch.stack([shipped.global_pose[:, 1].detach(), true.global_pose[:, 1]]))[0, 1] > 0.8


@pytest.mark.parametrize("name", ["open_deca", "open_emoca"])
def test_the_recipes_are_there_after_installation(name, monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "nothing"))
    method = load_method(name, device="cpu")
    neutral = Output.of(method.face_model, True, 1.5, 0.6).neutral_points
    code = method.encode(crop_at(neutral[None]))
    assert code.expression.shape == (1, 52) and code.lighting.shape == (1, 9, 3)
    assert (seen(method, code) - neutral).norm(dim=-1).mean() < 0.05
