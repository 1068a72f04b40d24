"""Faces and codes: computed once, kept by content, resumed in the middle."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy_benchmark import RECIPES, Colour, ToyLandmarker, toy_registry

from emoca_core.errors import AssetFormatError, RecipeError, UnknownNameError
from emoca_core.probe import codes, detections, sources
from emoca_core.probe.codes import RecipeSource, extract_codes
from emoca_core.probe.detections import detect_faces
from emoca_core.registry import get_registry
from emoca_core.registry.catalogue import get_catalogue, load
from emoca_core.runs.trained_folder import without_weights


@pytest.fixture
def small_parts(monkeypatch):
    """Files of 16 images, so that there are several."""
    for module in (codes, detections):
        monkeypatch.setattr(module, "PART", 16)


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The toy components and recipes in place of the project's."""
    (tmp_path / "toys.yaml").write_text(RECIPES)
    catalogue, registry = load([tmp_path / "toys.yaml"]), toy_registry()
    monkeypatch.setattr(sources, "get_catalogue", lambda: catalogue)
    monkeypatch.setattr(sources, "get_registry", lambda: registry)


def test_codes_are_computed_once_and_rows_without_a_face_have_none(manifest, small_parts):
    found = detect_faces(manifest, ToyLandmarker(), "toy")
    assert sorted(found.faces) == list(range(90))
    source = Colour("red", (0, 2))
    first = extract_codes(source, manifest, found, batch_size=7)
    assert source.encoded == 90
    assert np.isnan(first[90]).all()
    assert np.isfinite(first[:90]).all()
    again = extract_codes(source, manifest, found, batch_size=32)
    assert source.encoded == 90
    np.testing.assert_array_equal(again, first)


def test_an_interrupted_extraction_goes_on_where_it_stopped(manifest, small_parts, cache):
    found = detect_faces(manifest, ToyLandmarker(), "toy")
    source = Colour("red", (0,))
    first = extract_codes(source, manifest, found)
    lost = sorted((cache / "emoca" / "codes").glob("*/*.safetensors"))[2:4]
    for file in lost:
        file.unlink()
    np.testing.assert_array_equal(extract_codes(source, manifest, found), first)
    assert source.encoded == 90 + 32


def test_another_version_of_a_method_is_not_taken_from_the_cache(manifest):
    found = detect_faces(manifest, ToyLandmarker(), "toy")
    extract_codes(Colour("red", (0,)), manifest, found)
    changed = Colour("red", (0,), version=1)
    extract_codes(changed, manifest, found)
    assert changed.encoded == 90


def test_a_recipe_is_probed_without_the_face_model_that_it_does_not_need(toys, manifest):
    [source], missing = sources.find_sources(["colour"], "native")
    assert not missing
    assert isinstance(source, RecipeSource)
    assert set(source.parts) == {"encoder"}
    found = detect_faces(manifest, ToyLandmarker(), "toy")
    assert extract_codes(source, manifest, found)[:90].std(0)[0] > 0.1
    assert "ColourEncoder" not in json.dumps(source.description()["parts"])  # parameters and code tell them apart
    assert len(source.description()["code"]["encoder"]) == 64


@pytest.mark.parametrize("name", sorted(get_catalogue().recipes))
def test_every_recipe_reads_blocks_that_it_has(name, tmp_path, monkeypatch):
    for method in ("MGCNet", "ExpNet"):  # of codes_from_disk
        (tmp_path / "predictions" / method).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    recipe = get_catalogue().recipe(name)
    encoder = get_registry().resolve("encoder", recipe.encoder.uses)
    blocks = dict(getattr(encoder, "blocks", {}))
    if not blocks:  # known when it is built, or when it has met its face model
        params = get_catalogue().params("encoder", recipe.encoder)
        params |= without_weights("encoder", recipe.encoder.uses, get_registry())  # which may be nobody's yet
        probe = tuple(block for block in recipe.probe if block != "detail")
        encoder_use = recipe.encoder.model_copy(update={"preset": None, "params": params})
        alone = recipe.model_copy(update={"encoder": encoder_use, "probe": probe, "detail": None})
        device = torch.device("cpu")
        parts = sources.recipe_source(name, alone, None, get_catalogue(), get_registry(), "shared", device).parts
        blocks = dict(parts["encoder"].blocks)
    assert recipe.probe
    assert set(recipe.probe) <= {*blocks, *(["detail"] if recipe.detail else [])}
    assert ("detail" in recipe.probe) == (recipe.detail is not None)


def test_what_is_missing_is_listed_with_the_reason(toys):
    found, missing = sources.find_sources(["licensed", "colour", "attached", "ColourBackbone"])
    assert [source.name for source in found] == ["colour", "ColourBackbone"]
    assert {m.name: m.reason for m in missing} == {
        "licensed": "missing asset 'toy_weights': ask its authors",
        "attached": "missing asset 'toy_head': ask its authors",  # this one inverts its face model
    }


def test_wrong_names_and_recipes_are_refused(toys):
    with pytest.raises(UnknownNameError, match="Did you mean 'colour'"):
        sources.find_sources(["color"])
    with pytest.raises(RecipeError, match="'no_probe' has no 'probe'"):
        sources.find_sources(["no_probe"])


def test_a_run_folder_is_a_method(toys, tmp_path):
    folder = tmp_path / "my_run"
    folder.mkdir()
    with pytest.raises(AssetFormatError, match="holds no trained method"):
        sources.find_sources([str(folder)])
    save_file({"gain": torch.tensor(3.0)}, folder / "best.safetensors")
    (folder / "best.json").write_text(
        json.dumps({"emotion_backbone": {"uses": "ColourBackbone", "params": {}}, "step": 1})
    )
    [source], _ = sources.find_sources([str(folder)])
    assert source.name == "my_run"
    assert source.backbone.gain == 3
    save_file({"other": torch.tensor(3.0)}, folder / "best.safetensors")
    with pytest.raises(AssetFormatError, match="do not fit ColourBackbone"):
        sources.find_sources([str(folder)])
