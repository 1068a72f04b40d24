"""Both stages with tiny parts: what is trained, what stays as it is, what a run leaves behind."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from emoca_core import Registry
from emoca_core.errors import AssetFormatError
from emoca_core.runs.run_folder import RunFolder
from emoca_core.runs.trained_part import sha256_of_tensors
from emoca_core.train.face_batches import collate_face_batch
from emoca_core.train.pictures import GAP
from emoca_core.train.run_stage import prepare_stage
from emoca_core.train.stage_task import twice
from emoca_core.train.task import Step

sys.path.insert(0, str(Path(__file__).parent))
import toy_stage


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    everything = Registry()
    everything.load_entry_points()
    toy_stage.add_components(everything)
    monkeypatch.setattr("emoca_core.train.run_stage.get_registry", lambda: everything)
    return everything


def train(folder, stage, *, name=None, resume=False, **options):
    return prepare(folder, stage, **options).train(folder / (name or stage), resume=resume)


def prepare(folder, stage, **options):
    return prepare_stage(stage, "toy", "synthetic_faces", registry_file=toy_stage.recipe_file(folder), **options)


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def one_step(ready):
    """A training step as the loop does it."""
    task = ready.task.train()
    batch = collate_face_batch([ready.training[index] for index in range(6)])
    optimizer = torch.optim.AdamW(list(task.trained_parameters()), 1e-2)
    task(batch, Step(0, 0, 5)).total.backward()
    optimizer.step()


def test_both_stages_run_end_to_end_and_leave_complete_folders(tmp_path):
    coarse = train(tmp_path, "coarse")
    detail = train(tmp_path, "detail", start=tmp_path / "coarse")
    assert (coarse.step, detail.step) == (12, 8)
    for stage, terms in {
        "coarse": {"photometric", "landmarks", "emotion", "truth"},
        "detail": {"detail.photometric", "displacement"},
    }.items():
        entries = log_of(tmp_path / stage)
        for prefix in ("train/", "validation/"):
            for entry in (e for e in entries if f"{prefix}loss" in e):
                assert terms < {key.removeprefix(prefix) for key in entry}, "every term is logged, metrics too"
        card = json.loads((tmp_path / stage / "best.json").read_text())
        assert {"name", "recipe", "assets", "stage", "frozen", "step", "metrics"} <= set(card)
        assert card["metrics"]["loss"] == pytest.approx(
            min(e["validation/loss"] for e in entries if "validation/loss" in e)
        )
    assert json.loads((tmp_path / "detail" / "best.json").read_text())["start"]["sha256"]


def test_training_reduces_the_objective_on_unseen_faces(tmp_path):
    whole = {"encoder": {"params": {"frozen": False, "norm": "group"}}}  # batches of 4 are few for BatchNorm
    losses = []
    for rate, epochs in ((1e-30, 1), (5e-3, 10)):
        settings = {"epochs": epochs, "validate_every": 1.0, "learning_rate": rate, "patience": None}
        train(tmp_path, "coarse", name=f"run-{epochs}", change=whole, settings=settings)
        log = log_of(tmp_path / f"run-{epochs}")
        losses.append(min(entry["validation/loss"] for entry in log if "validation/loss" in entry))
    untrained, trained = losses
    assert trained < 0.9 * untrained, losses


def test_only_what_is_trained_is_saved(tmp_path):
    train(tmp_path, "coarse", settings={"epochs": 1})
    train(tmp_path, "detail", start=tmp_path / "coarse", settings={"epochs": 1})
    for stage, prefix in {"coarse": "encoder.expression.", "detail": "detail."}.items():
        best = load_file(tmp_path / stage / "best.safetensors")
        checkpoint = load_file(RunFolder(tmp_path / stage).last / "model.safetensors")
        assert best
        assert all(name.startswith(prefix) for name in (*best, *checkpoint))
        assert best.keys() == checkpoint.keys()
        optimizer = load_file(RunFolder(tmp_path / stage).last / "optimizer.safetensors")
        trained = [name for name in best if "running" not in name and "num_batches" not in name]
        assert {name.rpartition(".")[0] for name in optimizer} == set(trained)


@pytest.mark.parametrize("stage", ["coarse", "detail"])
def test_whatever_is_frozen_stays_bit_identical(tmp_path, stage):
    ready = prepare(tmp_path, stage)
    method = ready.task.method
    frozen = {
        "coarse": [method.encoder.base, method.emotion_backbone],
        "detail": [method.encoder],
    }[stage]
    before = [snapshot(part) for part in frozen]
    trained = snapshot(ready.task)
    for _ in range(3):
        one_step(ready)
    for part, state in zip(frozen, before, strict=True):
        assert not any(module.training for module in part.modules())
        assert all(torch.equal(tensor, state[name]) for name, tensor in part.state_dict().items())
        assert all(parameter.grad is None for parameter in part.parameters())
    now = ready.task.state_dict()
    assert all(not torch.equal(tensor, trained[name]) for name, tensor in now.items())


def test_the_trained_networks_keep_statistics_of_their_own(tmp_path):
    """``encoder.expression`` has batch normalisation too, and it is trained: its statistics move."""
    ready = prepare(tmp_path, "coarse")
    before = ready.task.method.encoder.expression[1].running_mean.clone()
    one_step(ready)
    assert not torch.equal(ready.task.method.encoder.expression[1].running_mean, before)


def test_an_encoder_trained_as_a_whole_is_registered_as_a_whole(tmp_path):
    ready = prepare(tmp_path, "coarse", change={"encoder": {"params": {"frozen": False}}})
    assert ready.task.encoder is ready.task.method.encoder
    assert {name.split(".")[1] for name in ready.task.trained_state()} == {"base", "expression"}


def test_the_card_tells_what_was_frozen(tmp_path):
    task = prepare(tmp_path, "coarse").task
    frozen = task.card()["frozen"]
    assert frozen["encoder.base"] == sha256_of_tensors(task.method.encoder.base.state_dict())
    assert "emotion_backbone" in frozen
    assert "encoder.expression" not in frozen


def test_a_run_starts_from_the_weights_of_another(tmp_path):
    train(tmp_path, "coarse", settings={"epochs": 1})
    best = load_file(tmp_path / "coarse" / "best.safetensors")
    ready = prepare(tmp_path, "detail", start=tmp_path / "coarse")
    state = ready.task.method.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in best.items())
    assert ready.task.card()["start"]["file"] == str(tmp_path / "coarse" / "best.safetensors")


def test_a_run_starts_from_a_chain_of_runs(tmp_path):
    """The second run trains the expression alone; what the first trained is found through it."""
    whole = {"encoder": {"params": {"frozen": False}}}
    train(tmp_path, "coarse", name="first", change=whole, settings={"epochs": 1})
    train(tmp_path, "coarse", name="second", start=tmp_path / "first", settings={"epochs": 1, "seed": 9})
    first, second = (load_file(tmp_path / run / "best.safetensors") for run in ("first", "second"))
    state = prepare(tmp_path, "detail", start=tmp_path / "second", settings={"seed": 11}).task.method.state_dict()
    assert not any("base" in name for name in second)
    for name, tensor in (first | second).items():
        assert torch.equal(state[name], tensor), name


def test_a_start_on_top_of_another_frozen_network_is_refused(tmp_path):
    """The frozen trunk of the toy is random: another seed makes another one."""
    train(tmp_path, "coarse", settings={"epochs": 1})
    with pytest.raises(AssetFormatError, match=r"was trained on top of other weights of encoder\.base"):
        prepare(tmp_path, "detail", start=tmp_path / "coarse", settings={"seed": 6})


def test_a_start_that_is_none_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssetFormatError, match="empty holds no trained method"):
        prepare(tmp_path, "detail", start=tmp_path / "empty")
    train(tmp_path, "coarse", name="a", change={"encoder": {"params": {"frozen": False}}}, settings={"epochs": 1})
    train(tmp_path, "coarse", name="b", start=tmp_path / "a", settings={"epochs": 1})
    (tmp_path / "a" / "best.safetensors").write_bytes(b"")
    with pytest.raises(AssetFormatError, match="gone or has changed since"):
        prepare(tmp_path, "detail", start=tmp_path / "b")


def test_the_coarse_face_has_no_gradient_in_the_detail_stage(tmp_path):
    ready = prepare(tmp_path, "detail")
    batch = collate_face_batch([ready.training[index] for index in range(6)])
    ready.task.train()(batch, Step(0, 0, 5)).total.backward()
    assert all(parameter.grad is None for parameter in ready.task.method.encoder.parameters())
    gradients = [parameter.grad for parameter in ready.task.method.detail.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_exchange_renders_the_batch_again_with_permuted_codes(tmp_path):
    ready = prepare(tmp_path, "detail")
    task = ready.task
    batch = collate_face_batch([ready.training[index] for index in range(6)])
    codes = task._encode(batch.crop)
    doubled, exchanged = task._exchanged(batch, codes, Step(0, 1, 5))
    assert len(doubled.crop) == 12
    assert doubled.crop.keys == batch.crop.keys * 2
    assert torch.equal(doubled.crop.image, twice(batch).crop.image)
    assert torch.equal(exchanged.detail[:6], codes.detail)
    for ring in range(2):
        own, swapped = codes.detail[3 * ring : 3 * ring + 3], exchanged.detail[6 + 3 * ring : 9 + 3 * ring]
        assert torch.equal(own.sort(0).values, swapped.sort(0).values)
    assert torch.equal(exchanged.expression[6:], codes.expression)


@pytest.mark.parametrize(("kind", "faces"), [("exchange", 12), ("same", 6)])
def test_shape_is_shared_within_a_person(tmp_path, kind, faces):
    settings = {"images_per_identity": 3, "batch_size": 6, "exchange": {"shape": kind}}
    ready = prepare(tmp_path, "coarse", settings=settings)
    batch = collate_face_batch([ready.training[index] for index in range(6)])
    codes = ready.task._encode(batch.crop)
    doubled, shared = ready.task._exchanged(batch, codes, Step(0, 1, 5))
    assert len(doubled.crop) == len(shared.shape) == faces
    if kind == "same":
        assert torch.allclose(shared.shape[:3], codes.shape[:3].mean(0).expand(3, -1))
    else:
        assert torch.equal(shared.shape[6:9].sort(0).values, codes.shape[:3].sort(0).values)


def test_an_encoder_is_told_the_shape_that_it_gets(tmp_path, monkeypatch):
    settings = {"images_per_identity": 3, "batch_size": 6, "exchange": {"shape": "exchange"}}
    ready = prepare(tmp_path, "coarse", settings=settings)
    batch = collate_face_batch([ready.training[index] for index in range(6)])
    codes = ready.task._encode(batch.crop)

    def with_shape(crop, code, shape):
        return code.replace(shape=shape, expression=code.expression + shape.mean(1, keepdim=True))

    monkeypatch.setattr(ready.task.method.encoder, "with_shape", with_shape)
    _, shared = ready.task._exchanged(batch, codes, Step(0, 1, 5))
    assert torch.equal(shared.expression[:6], codes.expression)
    assert torch.equal(shared.expression[6:], codes.expression + shared.shape[6:].mean(1, keepdim=True))


def test_metrics_cost_nothing_where_they_are_not_logged(tmp_path):
    ready = prepare(tmp_path, "coarse")
    batch = collate_face_batch([ready.training[index] for index in range(4)])
    step = {"epoch": 0, "index": 0, "seed": 5}
    assert "truth" in ready.task(batch, Step(**step)).parts
    assert "truth" not in ready.task(batch, Step(**step, logged=False)).parts


def test_pictures_show_every_face_in_every_way(tmp_path):
    train(tmp_path, "detail", settings={"epochs": 1, "pictures_every": 1, "validate_every": 1.0})
    picture = np.asarray(Image.open(next((tmp_path / "detail" / "pictures").glob("faces-*.png"))))
    cell = toy_stage.SIZE + GAP
    assert picture.shape == (6 * cell + GAP, 6 * cell + GAP, 3)
    faces = picture[GAP:, GAP:].reshape(6, cell, 6, cell, 3)[:, : toy_stage.SIZE, :, : toy_stage.SIZE]
    photo, coarse, detail, mesh, albedo, mask = (faces[:, :, column].astype(float) for column in range(6))
    assert (np.abs(coarse - photo).mean((1, 2, 3)) > 1).all(), "the face lies over the photo"
    assert (coarse[:, 0, 0] == photo[:, 0, 0]).all(), "which stays visible around it"
    assert (np.abs(detail - coarse).mean((1, 2, 3)) > 0.1).all()
    for picture in (mesh, albedo):
        assert (picture[:, 0, 0] == 255).all()
        assert picture.mean() < 250
    assert (mask <= photo + 1).all()


def test_synthetic_faces_share_a_person_in_every_ring(tmp_path):
    ready = prepare(tmp_path, "detail")
    samples = [ready.training[index] for index in (0, 1, 2, 3)]
    batch = collate_face_batch(samples)
    assert batch.crop.identity.tolist() == [0, 0, 0, 1]
    assert batch.truth.geometry.vertices.shape[0] == 4
    assert torch.equal(batch.truth.parameters.expression[2], samples[2].parameters.expression[0])
