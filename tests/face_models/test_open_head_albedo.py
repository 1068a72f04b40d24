"""The open head's texture: what each number of the code changes, and that gradients flow."""

import pytest
import torch

from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.face_models.open_head_albedo import OpenHeadAlbedo

SIZE = 256


@pytest.fixture(scope="module")
def albedo():
    return OpenHeadAlbedo(SIZE)


@pytest.fixture(scope="module")
def head():
    return OpenHead(OpenHead.Params(texture_size=SIZE))


def paint(albedo, **values):
    code = torch.zeros(1, len(albedo.names))
    for name, value in values.items():
        code[0, albedo.names.index(name)] = value
    return albedo(code)[0]


def colours_at(head, texture, mask):
    """Texture colours [N, 3] at the triangle corners of a vertex mask."""
    corners = head.uv_faces[mask[head.faces]]
    grid = head.uv[corners] * 2 - 1
    grid = torch.stack([grid[:, 0], -grid[:, 1]], -1)[None, None]
    return torch.nn.functional.grid_sample(texture[None], grid, align_corners=False)[0, :, 0].T


def test_mean_texture_is_a_plausible_face(albedo, head):
    texture = paint(albedo)
    assert texture.shape == (3, SIZE, SIZE)
    assert texture.min() >= -0.02
    assert texture.max() <= 1
    cheeks = colours_at(head, texture, head.vertex_masks["cheeks"]).mean(0)
    assert cheeks[0] > cheeks[1] > cheeks[2]  # skin is reddish
    teeth = colours_at(head, texture, head.vertex_masks["teeth_upper"]).amax(0)
    assert teeth.min() > 0.6
    lips = colours_at(head, texture, head.vertex_masks["lips"]).mean(0)
    assert lips[0] / lips[1] > cheeks[0] / cheeks[1]


def test_first_mode_is_lightness(albedo, head):
    dark, light = (colours_at(head, paint(albedo, skin_1=x), head.vertex_masks["cheeks"]).mean() for x in (-1.5, 1.5))
    assert light > 2 * dark


@pytest.mark.parametrize(
    ("name", "region", "elsewhere"),
    [
        ("lip_redness", "lips", "forehead"),
        ("stubble", "chin", "forehead"),
        ("blush", "cheeks", "chin"),
        ("scalp_hair", "scalp", "chin"),
        ("brow_density", "brows", "chin"),
        ("iris_lightness", "eye_left", "chin"),
    ],
)
def test_regional_numbers_stay_in_their_region(albedo, head, name, region, elsewhere):
    change = (paint(albedo, **{name: 2.0}) - paint(albedo)).abs()
    inside = colours_at(head, change, head.vertex_masks[region]).mean()
    outside = colours_at(head, change, head.vertex_masks[elsewhere]).mean()
    assert inside > 0.005
    assert outside < 0.1 * inside


@pytest.mark.parametrize("name", ["stubble", "freckles", "blush", "scalp_hair"])
def test_there_is_no_less_than_none(albedo, name):
    less = (paint(albedo, **{name: -3.0}) - paint(albedo)).abs().max()
    more = (paint(albedo, **{name: 3.0}) - paint(albedo)).abs().max()
    assert less < 0.05 * more


def test_brow_styles_differ(albedo):
    first, second = (paint(albedo, **{f"brow_style_{i}": 20.0}) for i in (1, 2))
    assert (first - second).abs().max() > 0.05


def test_every_number_has_a_gradient(albedo):
    code = torch.zeros(2, len(albedo.names), requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    texture = albedo(code)
    (texture * torch.rand(texture.shape, generator=generator)).sum().backward()
    assert torch.isfinite(code.grad).all()
    assert (code.grad.abs() > 0).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")  # torch's own, inside its forward mode
def test_change_is_what_differentiation_finds(albedo):
    """Row by row, against forward mode."""
    code = torch.zeros(1, len(albedo.names))
    for name, row, direction in zip(albedo.names, albedo.changes(), torch.eye(len(albedo.names)), strict=True):
        expected = torch.func.jvp(albedo, (code,), (direction[None],))[1][0]
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(row, expected, atol=2e-6, rtol=2e-5, msg=lambda said, name=name: f"{name}: {said}")


def test_people_stay_in_the_range_of_colours(albedo):
    """The 20 known skins with random lips, stubble, brows, ... are almost nowhere brighter than white."""
    code = 0.8 * torch.randn(len(albedo.skin_codes), len(albedo.names), generator=torch.Generator().manual_seed(1))
    code[:, : albedo.skin_codes.shape[1]] = albedo.skin_codes
    texture = albedo(code)
    assert texture.min() > -0.02
    assert (texture > 1).float().mean() < 0.01


def test_known_skins_order_by_tone(albedo, head):
    tones = {}
    for name, skin in zip(albedo.skin_names, albedo.skin_codes, strict=True):
        code = torch.zeros(1, len(albedo.names))
        code[0, : len(skin)] = skin
        tones[name] = colours_at(head, albedo(code)[0], head.vertex_masks["cheeks"]).mean()
    assert tones["young_african_male"] < tones["young_asian_male"]
    assert tones["young_african_female"] < tones["young_caucasian_female"]


def test_small_textures_are_averages_of_the_large_one(albedo):
    small = OpenHeadAlbedo(64)
    expected = torch.nn.functional.interpolate(paint(albedo)[None], size=(64, 64), mode="area")[0]
    # the average of logarithms is not the logarithm of averages: equal where the texture is smooth
    assert (paint(small) - expected).abs().median() < 0.01


def test_face_model_returns_the_texture(head):
    from emoca_core.interfaces import FaceParameters

    code = torch.randn(2, len(head.albedo_names), generator=torch.Generator().manual_seed(3))
    texture = head.albedo(FaceParameters(albedo=code)).texture
    assert texture.shape == (2, 3, SIZE, SIZE)
    torch.testing.assert_close(texture[0], head.appearance(code[:1])[0])
