"""The published recipes, whole: published files go into the asset folder, a crop comes out as a face."""

from pathlib import Path

import pytest
import torch
from published import golden, keyed_state
from tiny_flame import write_all
from torch import Tensor

from emoca_core.catalogue import get_catalogue
from emoca_core.errors import MissingAssetError
from emoca_core.formats.add import add_files
from emoca_core.interfaces import FaceCrop
from emoca_core.method import load_method

WITHOUT_LANDMARKER = {"landmarker": None}


def published_state(shared: Path, name: str) -> dict[str, Tensor]:
    data = golden(shared, name)
    return keyed_state(shared, name, float(data["gain"]), str(data["prefix"]) if "prefix" in data else "")


@pytest.fixture(scope="module")
def assets(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DECA, EMOCA and SMIRK with reproducible weights and a tiny FLAME, taken in by ``emoca assets add``'s code."""
    folder = tmp_path_factory.mktemp("published")
    parts = {name: published_state(shared, f"deca_{name}") for name in ("E_flame", "E_detail", "D_detail")}
    torch.save(parts, folder / "deca_model.tar")
    expression = {name: t[150:200].clone() if "layers.2" in name else t for name, t in parts["E_flame"].items()}
    whole = {**parts, "E_expression": expression}
    flat = {f"deca.{part}.{name}": tensor for part, state in whole.items() for name, tensor in state.items()}
    flat["deca.flame.v_template"] = torch.zeros(5023, 3)
    torch.save({"state_dict": flat, "epoch": 3}, folder / "EMOCA.ckpt")
    smirk = {f"smirk_encoder.{name}": tensor for name, tensor in published_state(shared, "smirk").items()}
    torch.save(smirk, folder / "SMIRK_em1.pt")
    write_all(folder)
    target = tmp_path_factory.mktemp("assets")
    problems = [added.problem for added in add_files(sorted(folder.iterdir()), folder=target) if added.problem]
    assert problems == []
    return target


@pytest.fixture(autouse=True)
def use_assets(assets: Path, monkeypatch: pytest.MonkeyPatch, no_assets_of_this_machine: None) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(assets))


@pytest.mark.parametrize("recipe", ["deca_detail", "emoca_detail", "smirk"])
def test_a_crop_becomes_a_face(shared: Path, recipe: str) -> None:
    method = load_method(recipe, change=WITHOUT_LANDMARKER, device="cpu")
    image = torch.from_numpy(golden(shared, "smirk")["input"][:1])
    with torch.no_grad():
        capture = method(FaceCrop(image=image))
    assert capture.geometry is not None and capture.geometry.vertices.isfinite().all()
    assert capture.rendering is not None and capture.rendering.image.shape == (1, 3, 224, 224)
    assert (capture.displacement is not None) == (method.detail is not None)
    assert capture.parameters.shape is not None
    assert capture.parameters.shape.shape[1] == method.encoder.blocks["shape"]
    assert all(path.exists() for path in method.asset_paths().values()) and len(method.asset_paths()) >= 4


def test_emoca_shares_everything_but_the_expression_encoder_with_deca(shared: Path) -> None:
    crop = FaceCrop(image=torch.from_numpy(golden(shared, "smirk")["input"][:1]))
    with torch.no_grad():
        deca, emoca = (load_method(name, change=WITHOUT_LANDMARKER, device="cpu")(crop) for name in ("deca", "emoca"))
    for name, block in deca.parameters.blocks().items():
        torch.testing.assert_close(emoca.parameters.blocks()[name], block, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(emoca.geometry.vertices, deca.geometry.vertices, rtol=0, atol=1e-6)


def test_what_is_missing_is_listed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path))
    with pytest.raises(MissingAssetError) as caught:
        load_method("emoca_v2_detail", change=WITHOUT_LANDMARKER)
    for name in ("emoca_v2", "flame", "flame_landmarks", "flame_template"):
        assert f"missing asset '{name}'" in str(caught.value)


def test_every_published_recipe_names_assets_of_the_catalogue() -> None:
    catalogue = get_catalogue()
    for name in ("deca", "emoca", "emoca_v2", "smirk", "deep3dface", "mgcnet", "tddfa_v2"):
        for kind, use in catalogue.recipe(name).parts().items():
            card = catalogue.card(kind, use.uses)
            assert card is not None and set(card.assets) <= set(catalogue.assets), (name, kind)
