"""Every component of the registry: it is described, it can be imported, and it keeps its contract."""

import pytest
import torch

from emoca_core import get_registry
from emoca_core.errors import ComponentImportError, MissingAssetError
from emoca_core.interfaces import Parts
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.testing import check_component

BUILTIN = [key for key in get_registry() if get_registry().components[key].plugin == "builtin"]


def test_every_component_has_a_card():
    cards = get_catalogue().components
    missing = [f"{kind} {name}" for kind, name in BUILTIN if name not in cards.get(kind, {})]
    assert missing == []


def test_every_card_has_code():
    cards = get_catalogue().components
    missing = [
        f"{kind} {name}" for kind in cards for name in cards[kind] if (kind, name) not in get_registry().components
    ]
    assert missing == []


def test_no_plugin_failed_to_load():
    assert get_registry().problems == []


@pytest.mark.parametrize(("kind", "name"), BUILTIN)
def test_component_can_be_imported_or_says_what_to_install(kind, name):
    try:
        get_registry().resolve(kind, name)
    except ComponentImportError as error:
        assert f"pip install 'emoca-core[{get_registry().find(kind, name).spec.extra}]'" in str(error)


RANDOM_WEIGHTS = {"weights": "random"}  # the contract does not depend on what a network has learnt
PARAMS = {
    ("encoder", "deca"): RANDOM_WEIGHTS,
    ("encoder", "emoca"): RANDOM_WEIGHTS,
    ("encoder", "deep3dface"): RANDOM_WEIGHTS,
    ("encoder", "tddfa_v2"): RANDOM_WEIGHTS | {"statistics": "none"},
    ("encoder", "mgcnet"): RANDOM_WEIGHTS,
    ("encoder", "expnet"): RANDOM_WEIGHTS,
    ("encoder", "smirk"): RANDOM_WEIGHTS,
    ("encoder", "refined_fit"): RANDOM_WEIGHTS | {"fit": {"uses": "landmark_fit", "params": {"appearance": False}}},
    ("encoder", "point_regressor"): RANDOM_WEIGHTS,
    ("encoder", "regressor"): {"model": "mobilenetv3_small_050", "weights": "random", "image_size": 112},
    ("detail", "deca"): RANDOM_WEIGHTS | {"mask": "none", "fixed_displacement": "none"},
    ("emotion_backbone", "emonet"): RANDOM_WEIGHTS,
    ("emotion_backbone", "fer_mini_xception"): RANDOM_WEIGHTS,
    ("emotion_backbone", "face_api_expression"): RANDOM_WEIGHTS,
    ("emotion_backbone", "timm"): {"model": "resnet18", "weights": "random"},
    ("loss", "emotion_witness"): {"backbone": {"uses": "fer_mini_xception", "params": RANDOM_WEIGHTS}},
    ("loss", "code_prior"): {"block": "shape"},
    ("loss", "identity"): RANDOM_WEIGHTS | {"network": "resnet18"},
    ("loss", "id_mrf"): RANDOM_WEIGHTS | {"size": 32},
    ("landmarker", "mediapipe"): {"search": False},  # the search is tested with the landmarker
}
"""Parameters with which a component can be built without anybody's files."""


@pytest.fixture
def manifest(tmp_path):
    """Two labelled pictures."""
    import numpy as np
    from PIL import Image

    from emoca_core.datasets import ManifestRow, write_manifest

    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / name)
    file = tmp_path / "faces.csv"
    write_manifest([ManifestRow("a.png", "train", "happy", 0.5, 0.1), ManifestRow("b.png", "test", "sad")], file)
    return {"params": {"file": str(file)}}


@pytest.fixture
def portrait():
    """A photo with one face."""
    from skimage.data import astronaut

    return {"sample": astronaut()[:320, 60:380].copy()}


@pytest.fixture
def parts():
    """What an encoder works with."""
    registry = get_registry()
    return {"parts": Parts(registry.build("face_model", "open_head"), registry.build("renderer", "zbuffer"))}


INPUTS = {
    ("dataset", "manifest"): "manifest",
    ("landmarker", "mediapipe"): "portrait",
    ("encoder", "landmark_fit"): "parts",
    ("encoder", "refined_fit"): "parts",
    ("encoder", "point_regressor"): "parts",
    ("encoder", "regressor"): "parts",
}
"""Fixtures that make what a component needs."""

ELSEWHERE = {
    ("encoder", "codes_from_disk"): "reads another program's files, which its own tests write",
    ("encoder", "encoded_codes"): "reads codes, which the tests of encoded_faces write",
    ("dataset", "encoded_faces"): "reads codes and photos, which its own tests write",
    ("loss", "shown_emotion"): "draws the head of a method, which its own tests make",
}


@pytest.mark.parametrize(("kind", "name"), BUILTIN)
def test_component_keeps_its_contract(kind, name, request, monkeypatch, tmp_path):
    if (kind, name) in ELSEWHERE:
        pytest.skip(ELSEWHERE[kind, name])
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "no-assets"))  # the same on every machine
    torch.manual_seed(0)  # of the random weights
    inputs = {"params": PARAMS.get((kind, name))}
    if fixture := INPUTS.get((kind, name)):
        inputs |= request.getfixturevalue(fixture)
    try:
        check_component(kind, name, **inputs)
    except (ComponentImportError, MissingAssetError) as error:
        pytest.skip(str(error).splitlines()[0])
