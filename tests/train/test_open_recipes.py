"""The open recipes start from each other's runs, and look through a backbone that was trained before."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.runs.loading import trained_backbone
from emoca_core.runs.start import emotion_changes
from emoca_core.runs.trained_folder import open_folder
from emoca_core.runs.trained_part import sha256_of_tensors
from emoca_core.train.face_batches import collate_face_batch
from emoca_core.train.run_stage import prepare_stage
from emoca_core.train.stage_settings import stage_settings
from emoca_core.train.task import Step

TINY = {"encoder": {"params": {"model": "mobilenetv3_small_050", "hidden": 16, "image_size": 64}}}
SETTINGS = {
    **{
        "tracker": "none",
        "progress": False,
        "pictures_every": 0,
        "batch_size": 3,
        "max_steps": 1,
        "checkpoints": False,
    },
    **{
        "data": {"image_size": 64, "length": 6, "face_model": {"params": {"texture_size": 64}}},
        "validation_data": {"length": 3},
    },
}


@pytest.fixture(scope="module")
def emotion(tmp_path_factory):
    """A run folder as ``emoca train emotion`` leaves it."""
    folder = tmp_path_factory.mktemp("emotion")
    params = {"model": "mobilenetv3_small_050", "weights": "random", "image_size": 64}
    torch.manual_seed(4)
    backbone = get_registry().build("emotion_backbone", "timm", params)
    save_file(backbone.state_dict(), folder / "best.safetensors")
    card = {"emotion_backbone": {"uses": "timm", "params": backbone.params.model_dump(mode="json")}, "step": 1}
    (folder / "best.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    prepare_stage("coarse", "open_pretrain", "synthetic_faces", change=TINY, settings=SETTINGS).train(folder)
    return folder


@pytest.fixture(scope="module")
def emoca(tmp_path_factory, pretrained, emotion):
    folder = tmp_path_factory.mktemp("runs") / "emoca"
    options = {"change": TINY, "settings": SETTINGS, "start": pretrained, "emotion": emotion}
    prepare_stage("coarse", "open_emoca", "synthetic_faces", **options).train(folder)
    return folder


def test_the_expression_encoder_starts_as_a_copy_of_the_trained_trunk(pretrained, emotion):
    options = {"change": TINY, "settings": SETTINGS, "start": pretrained, "emotion": emotion}
    method = prepare_stage("coarse", "open_emoca", "synthetic_faces", **options).task.method
    trained = load_file(pretrained / "best.safetensors")
    encoder = method.encoder
    for name, tensor in trained.items():
        if name.startswith("encoder.coarse_network.trunk."):
            inside = name.removeprefix("encoder.coarse_network.")
            assert torch.equal(encoder.coarse_network.state_dict()[inside], tensor)
            assert torch.equal(encoder.expression_network.state_dict()[inside], tensor)
    assert any(parameter.abs().max() > 0 for parameter in encoder.expression_network.parameters())


def test_a_run_of_open_emoca_holds_the_expression_encoder_alone(emoca):
    names = load_file(emoca / "best.safetensors")
    assert names
    assert all(name.startswith("encoder.expression_network.") for name in names)
    card = json.loads((emoca / "best.json").read_text())
    assert {"encoder.coarse_network", "emotion_backbone"} <= set(card["frozen"])
    assert card["emotion"]["file"].endswith("best.safetensors")
    assert "emotion_distance" in card["metrics"]


def test_the_detail_stage_starts_from_the_chain_of_runs_without_the_emotion_backbone(emoca, pretrained):
    settings = SETTINGS | {"images_per_identity": 3}
    ready = prepare_stage("detail", "open_emoca_detail", "synthetic_faces", start=emoca, settings=settings)
    method = ready.task.method
    assert method.emotion_backbone is None
    assert method.detail.conditions == {"jaw_pose": 3, "expression": 52}
    state = method.state_dict()
    for run, prefix in ((emoca, "encoder.expression"), (pretrained, "encoder.coarse")):
        for name, tensor in load_file(run / "best.safetensors").items():
            if name.startswith(prefix):
                assert torch.equal(state[name], tensor)


def test_the_weights_of_a_trained_backbone_are_looked_through(emoca, emotion):
    card = json.loads((emoca / "best.json").read_text())
    state = trained_backbone(open_folder(emotion), get_registry()).state_dict()
    for name, tensor in load_file(emotion / "best.safetensors").items():
        assert torch.equal(state[name], tensor)
    assert card["frozen"]["emotion_backbone"] == sha256_of_tensors(state), "the training saw these weights"


def test_what_is_missing_is_said_at_once(tmp_path, pretrained):
    with pytest.raises(MissingAssetError, match="weights of regressor are yours"):
        prepare_stage("coarse", "open_emoca", "synthetic_faces", settings=SETTINGS)
    options = {"change": TINY, "settings": SETTINGS, "start": pretrained}
    task = prepare_stage("coarse", "open_emoca", "synthetic_faces", **options).task
    assert type(task.method.emotion_backbone).__name__ == "OpenEmotion", "the judge where no other is named"
    with pytest.raises(AssetFormatError, match="is not a run of 'emoca train emotion'"):
        emotion_changes(open_folder(pretrained), get_registry())


PUBLISHED = {
    ("deca", "coarse"): {"learning_rate": 1e-4, "batch_size": 16, "images_per_identity": 2, "mask": "gt"},
    ("deca_detail", "detail"): {"learning_rate": 1e-4, "batch_size": 18, "images_per_identity": 3},
    ("emoca", "coarse"): {
        **{"learning_rate": 5e-5, "batch_size": 32, "images_per_identity": 1, "epochs": 30, "patience": 15},
        **{"validate_every": 0.2, "mask": "rendered", "background": "black", "max_steps": None},
    },
    ("emoca_detail", "detail"): {
        **{"learning_rate": 1e-4, "batch_size": 12, "images_per_identity": 3, "epochs": 12, "patience": 5},
        **{"validate_every": 0.2, "mask": "gt", "background": "input", "few_images": "repeat"},
    },
}


@pytest.mark.parametrize(("recipe", "stage"), PUBLISHED)
def test_published_recipes_have_the_published_settings(recipe, stage):
    settings = stage_settings(stage, get_catalogue().recipe(recipe).training[stage])
    assert {name: getattr(settings, name) for name in PUBLISHED[recipe, stage]} == PUBLISHED[recipe, stage]
    assert (settings.betas, settings.weight_decay) == ((0.9, 0.999), 0.0)
    exchange = (settings.exchange.shape, settings.exchange.detail)
    assert exchange == {"deca": ("exchange", "none"), "emoca": ("none", "none")}.get(recipe, ("none", "exchange"))


class NoReadingBack(TorchDispatchMode):
    """Refuses what makes the host wait for a device: numbers, shapes or branches that depend on values."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in self.waiting, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("recipe", ["open_pretrain", "open_emoca", "open_emoca_detail"])
def test_a_step_never_waits_for_the_device(recipe, pretrained, emotion, emoca, monkeypatch):
    """Run on the CPU, where the operations that would wait can be seen; the kernels themselves are left out."""
    monkeypatch.setattr("emoca_plugins.renderers.zbuffer.check_faces", lambda *_: None)  # as on a GPU
    stage = "detail" if recipe.endswith("detail") else "coarse"
    starts = {"open_pretrain": {}, "open_emoca": {"start": pretrained, "emotion": emotion}}
    options = {"change": TINY, **starts.get(recipe, {"start": emoca, "change": {}})}
    settings = SETTINGS | ({"images_per_identity": 3} if stage == "detail" else {})
    ready = prepare_stage(stage, recipe, "synthetic_faces", settings=settings, **options)
    batch = collate_face_batch([ready.training[index] for index in range(3)])
    task = ready.task.train()
    task(batch, Step(0, 0, 0))  # what is made once may take its time
    with NoReadingBack():
        task(batch, Step(0, 1, 0)).total.backward()


PRIORS = {"shape_prior": 1e-4, "expression_prior": 1e-4}
WEIGHTS = {
    "deca": {
        **{"photometric": 2, "landmarks": 1, "eyes": 1, "mouth": 0.5, "identity": 0.2, "light": 1},
        **PRIORS,
        "albedo_prior": 1e-4,
    },
    "emoca": {
        **{"photometric": 2, "eyes": 0.5, "mouth": 0.5, "lip_corners": 0.5, "light": 12},
        **PRIORS,
        "albedo_prior": 1e-5,
    },
    "emoca_detail": {
        **{"detail_photometric": 1, "mrf": 0.05},
        **{"displacement": 0.005, "smoothness": 0.005, "symmetry": 0.005},
    },
}


@pytest.mark.parametrize("recipe", WEIGHTS)
def test_published_recipes_have_the_published_weights(recipe):
    """The emotion term of EMOCA is added while it is trained, since capturing needs no backbone."""
    catalogue = get_catalogue()
    terms = catalogue.recipe(recipe).losses
    stage = "detail" if recipe.endswith("detail") else "coarse"
    driving = {name: term.weight for name, term in terms.items() if term.role == "loss" and term.stage == stage}
    assert driving == WEIGHTS[recipe]
    added = catalogue.recipe("emoca").training["coarse"]["recipe"]["losses"]["emotion"]
    assert added == {"uses": "emotion_consistency", "weight": 1.0, "stage": "coarse"}
