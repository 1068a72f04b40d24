"""The published recipes, whole: published files go into the asset folder, a crop comes out as a face."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import golden, keyed_state
from tiny_flame import write_all
from torch import Tensor

from emoca_core.api import Method, load_method
from emoca_core.errors import MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import Capture, FaceCrop, FaceParameters, WeakPerspectiveCamera
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.rendering.topology import sample_texture

WITHOUT_LANDMARKER = {"landmarker": None}


def published_state(name: str) -> dict[str, Tensor]:
    data = golden(name)
    return keyed_state(name, float(data["gain"]), str(data["prefix"]) if "prefix" in data else "")


def write_uv_maps(folder: Path) -> None:
    """``uv_face_eye_mask.png`` with half of the tiny head's front in it, and ``fixed_displacement_256.npy``."""
    mask = np.zeros((256, 256, 4), np.uint8)
    mask[30:226, :128] = 255
    Image.fromarray(mask).save(folder / "uv_face_eye_mask.png")
    wave = np.sin(np.arange(256) / 3)
    np.save(folder / "fixed_displacement_256.npy", 1e-3 * wave[:, None] * wave)


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DECA, EMOCA and SMIRK with reproducible weights and a tiny FLAME, taken in by ``emoca assets add``'s code."""
    folder = tmp_path_factory.mktemp("published")
    parts = {name: published_state(f"deca_{name}") for name in ("E_flame", "E_detail", "D_detail")}
    torch.save(parts, folder / "deca_model.tar")
    expression = {name: t[150:200].clone() if "layers.2" in name else t for name, t in parts["E_flame"].items()}
    whole = {**parts, "E_expression": expression}
    flat = {f"deca.{part}.{name}": tensor for part, state in whole.items() for name, tensor in state.items()}
    flat["deca.flame.v_template"] = torch.zeros(5023, 3)
    torch.save({"state_dict": flat, "epoch": 3}, folder / "EMOCA.ckpt")
    smirk = {f"smirk_encoder.{name}": tensor for name, tensor in published_state("smirk").items()}
    torch.save(smirk, folder / "SMIRK_em1.pt")
    write_all(folder)
    write_uv_maps(folder)
    target = tmp_path_factory.mktemp("assets")
    problems = [added.problem for added in add_files(sorted(folder.iterdir()), folder=target) if added.problem]
    assert problems == []
    return target


@pytest.fixture(autouse=True)
def use_assets(assets: Path, monkeypatch: pytest.MonkeyPatch, no_assets_of_this_machine: None) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(assets))


@pytest.mark.parametrize("recipe", ["deca_detail", "emoca_detail", "smirk"])
def test_a_crop_becomes_a_face(recipe: str) -> None:
    method = load_method(recipe, change=WITHOUT_LANDMARKER, device="cpu")
    image = torch.from_numpy(golden("smirk")["input"][:1])
    with torch.no_grad():
        capture = method(FaceCrop(image=image))
    assert capture.geometry is not None and capture.geometry.vertices.isfinite().all()
    assert capture.rendering is not None and capture.rendering.image.shape == (1, 3, 224, 224)
    assert (capture.displacement is not None) == (method.detail is not None)
    assert (capture.detail_rendering is not None) == (method.detail is not None)
    assert capture.parameters.shape is not None
    assert capture.parameters.shape.shape[1] == method.encoder.blocks["shape"]
    assert all(path.exists() for path in method.asset_paths().values()) and len(method.asset_paths()) >= 4


@pytest.fixture(scope="module")
def detailed(assets: Path) -> tuple[Method, Capture]:
    """DECA with detail, and what it makes of one crop, seen from the front so that the mask's border is in sight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCA_ASSETS", str(assets))
        method = load_method("deca_detail", change=WITHOUT_LANDMARKER, device="cpu")
    encode, crop = method.encode, FaceCrop(image=torch.from_numpy(golden("smirk")["input"][:1]))

    def encode_frontal(crop: FaceCrop) -> FaceParameters:
        camera = WeakPerspectiveCamera(torch.tensor([8.0]), torch.zeros(1, 2))
        lighting = 0.3 * torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0))
        lighting[:, 0] = 3.0
        return encode(crop).replace(global_pose=torch.zeros(1, 3), camera=camera, lighting=lighting)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(method, "encode", encode_frontal)
        return method, method(crop)


def mask_of_pixels(method: Method, capture: Capture) -> Tensor:
    """How much of each visible pixel's texel neighbourhood is in the mask; -1 outside the face."""
    seen = capture.rendering.mask > 0
    return torch.where(seen, sample_texture(method.detail.mask, capture.rendering.uv), -torch.ones(()))[:, 0]


def test_wrinkles_are_rendered_inside_the_mask(detailed: tuple[Method, Capture]) -> None:
    method, capture = detailed
    fine, coarse = capture.detail_rendering, capture.rendering
    assert fine.image.isfinite().all() and fine.image.shape == coarse.image.shape
    assert torch.equal(fine.mask, coarse.mask) and torch.equal(fine.albedo_image, coarse.albedo_image)
    assert (fine.image * (1 - fine.mask)).abs().max() == 0
    inside = mask_of_pixels(method, capture) == 1
    assert inside.sum() > 1000
    difference = (fine.image - coarse.image).abs().amax(1)
    # albedo 0.5 under a light of about 1; these weights' wrinkles are steep
    assert difference[inside].mean() > 0.01 and (difference[inside] > 1e-4).float().mean() > 0.9


def test_flat_detail_is_the_coarse_picture(detailed: tuple[Method, Capture], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any displacement only the resampling through UV space is left."""
    method, capture = detailed
    monkeypatch.setitem(method.detail._buffers, "fixed_displacement", None)
    flat = method.render_detail(
        capture.rendering, capture.geometry, capture.parameters, torch.zeros_like(capture.displacement)
    )
    weight = mask_of_pixels(method, capture)
    left = (flat.image - capture.rendering.image).abs().amax(1)
    outside = weight == 0  # there the blend takes the interpolated coarse normals
    assert outside.sum() > 1000
    # the tiny head's texture wraps around, so that its last column of triangles lies over all others in UV space
    assert left[outside].median() < 5e-3
    wrinkles = (capture.detail_rendering.image - flat.image).abs().amax(1)
    assert wrinkles[weight == 1].median() > 3 * left[outside].median()


def test_blend_concerns_only_what_is_outside_the_mask(
    detailed: tuple[Method, Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, capture = detailed
    assert method.detail.blend_normals  # DECA's preset
    monkeypatch.setattr(method.detail, "blend_normals", False)
    other = method.render_detail(capture.rendering, capture.geometry, capture.parameters, capture.displacement)
    weight = mask_of_pixels(method, capture)
    difference = (other.image - capture.detail_rendering.image).abs().amax(1)
    assert difference[weight == 1].max() == 0
    assert (weight == 0).sum() > 1000 and (difference[weight == 0] > 1e-4).float().mean() > 0.5


def test_presets_follow_the_public_code_in_the_blend() -> None:
    presets = get_catalogue().card("detail", "deca").presets
    blends = {name: presets[name]["blend_normals"] for name in ("deca", "emoca_v1", "emoca_v2")}
    assert blends == {"deca": True, "emoca_v1": False, "emoca_v2": False}


def test_light_is_needed_for_a_detailed_picture(detailed: tuple[Method, Capture]) -> None:
    method, capture = detailed
    dark = capture.parameters.replace(lighting=None)
    assert method.render_detail(capture.rendering, capture.geometry, dark, capture.displacement) is None


def test_emoca_shares_everything_but_the_expression_encoder_with_deca() -> None:
    crop = FaceCrop(image=torch.from_numpy(golden("smirk")["input"][:1]))
    with torch.no_grad():
        deca, emoca = (load_method(name, change=WITHOUT_LANDMARKER, device="cpu")(crop) for name in ("deca", "emoca"))
    for name, block in deca.parameters.blocks().items():
        torch.testing.assert_close(emoca.parameters.blocks()[name], block, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(emoca.geometry.vertices, deca.geometry.vertices, rtol=0, atol=1e-6)


def test_what_is_missing_is_listed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(MissingAssetError) as caught:
        load_method("emoca_v2_detail", change=WITHOUT_LANDMARKER)
    maps = ("deca_uv_face_eye_mask", "deca_fixed_displacement")
    for name in ("emoca_v2", "flame", "flame_landmarks", "flame_template", *maps):
        assert f"missing asset '{name}'" in str(caught.value)


def test_every_published_recipe_names_assets_of_the_catalogue() -> None:
    catalogue = get_catalogue()
    for name in ("deca", "emoca", "emoca_v2", "smirk", "deep3dface", "mgcnet", "tddfa_v2"):
        for kind, use in catalogue.recipe(name).parts().items():
            card = catalogue.card(kind, use.uses)
            assert card is not None and set(card.assets) <= set(catalogue.assets), (name, kind)
