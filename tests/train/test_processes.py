"""Several processes compute what one computes: layers and losses, one step of every training, and whole programs."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from launch import TORCHRUN, run_workers
from PIL import Image
from torch import nn

from emoca_core.datasets import ManifestRow, write_manifest
from emoca_core.errors import EmocaError, ParamsError
from emoca_core.train import batch_independence
from emoca_core.train.batch_independence import LARGE, make_batch_independent
from emoca_core.train.world import processes

sys.path.insert(0, str(Path(__file__).parent))
import toy_stage

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", *(ROOT / "emoca_core" / "cli").glob("*.py")]
LAUNCHED = "torchrun --nproc_per_node N -m -- emoca_core"
"""The one way that README, docs and help name."""


def test_losses_and_layers_of_shares_are_those_of_the_whole_batch():
    done = run_workers(str(HERE / "shared_batch.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b(2[5-9]|[3-9]\d) cases, not equal: \[\]", done.stdout)


def test_a_launch_line_that_gives_one_process_fails_its_test():
    """As this one of Accelerate does, which looks like two."""
    alone = ("accelerate.commands.launch", "--cpu", "--num_processes", "{processes}", "--main_process_port", "0")
    with pytest.raises(AssertionError, match=r"is not 2 processes: \{0: '1 1'\}"):
        run_workers(str(HERE / "toy_run.py"), "nowhere", launcher=alone)


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    """Each would do all the work, and write the same files."""
    from accelerate import PartialState

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(PartialState, "_shared_state", dict(PartialState()._shared_state))
    with pytest.raises(EmocaError, match=r"2 processes were started, but Accelerate sees one .* torchrun"):
        processes()


def test_documents_name_no_other_way_to_launch():
    """The one they name is ``TORCHRUN`` with any free port: ``run_workers`` runs it in every test."""
    lines = [
        (path.name, line)
        for path in DOCUMENTS
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"torchrun --|accelerate launch|torch\.distributed\.run|mpirun", line)
    ]
    assert {"README.md", "training.md", "benchmark.md", "train.py", "benchmark.py"} <= {name for name, _ in lines}
    shape = LAUNCHED.replace("N", r"(N|\d)")
    other = [line for _, line in lines if not re.search(shape, line)]
    assert [line for line in other if "starts a" not in line] == []  # the warning about the one that starts one
    assert TORCHRUN[:3] == ("torch.distributed.run", "--nproc_per_node", "{processes}")  # torchrun is its other name


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Photos by colour, some without a class, a valence or an arousal."""
    folder, rows, random = tmp_path_factory.mktemp("photos"), [], np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(random.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(folder / f"{i}.png")
        levels = {"valence": float(random.uniform(-1, 1)), "arousal": float(random.uniform(-1, 1))} if i % 7 else {}
        label = ("happy", "sad", "anger")[i % 3] if i % 5 else None
        rows.append(ManifestRow(f"{i}.png", "validation" if i > 32 else "train", label, **levels))
    write_manifest(rows, folder / "m.parquet")
    return folder / "m.parquet"


def trainings(manifest):
    """Options of each training with its default network, and images in a pass of two processes."""
    drawn = ["--data", "synthetic_faces", "--recipe-set", "encoder.params.weights=random"]
    drawn += ["--recipe-set", "emotion_backbone={params: {weights: random}, untrained: true}"]
    drawn += ["--set", "validation_data={length: 4}"]
    people = ["--data-set", "faces_per_identity=3", "--data-set", "length=24"]
    emotion = ["--backbone", "small", "--data", str(manifest), "--no-balanced"]
    helped = ["--objective-set", "mixup=0.4", "--objective-set", "label_smoothing=0.1"]
    return {
        "emotion": (emotion, 8),
        "emotion, mixed": ([*emotion, *helped, "--backbone-set", "batch_norm=measured"], 8),
        "coarse": ([*drawn, "--recipe", "open_emoca", "--data-set", "length=20"], 4),
        "detail": ([*drawn, "--recipe", "open_emoca_detail", *people], 6),
    }


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("stage", ["emotion", "emotion, mixed", "coarse", "detail"])
def test_one_step_of_two_processes_has_the_gradient_of_one(manifest, tmp_path, stage, accumulation):
    """With the default networks and their 34 normalisations and more. Float32 sums in another order: 5e-6 measured."""
    options, size = trainings(manifest)[stage]
    options += ["--set", f"accumulation={accumulation}", "--set", f"batch_size={size * accumulation}"]
    done = run_workers(str(HERE / "one_step.py"), str(tmp_path), stage.split(",")[0], *options, timeout=900)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "difference.json").read_text())
    assert measured["processes"] == 2 and measured["norms"] >= 34 and measured["size"] > 1e-3
    assert measured["difference"] <= 1e-5


@pytest.mark.slow
def test_one_step_of_a_small_stage_has_the_gradient_of_one(tmp_path):
    options = ["--catalogue", str(toy_stage.recipe_file(tmp_path)), "--recipe", "toy", "--data", "synthetic_faces"]
    done = run_workers(str(HERE / "one_step.py"), str(tmp_path), "coarse", *options)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "difference.json").read_text())
    assert measured["processes"] == 2 and measured["norms"] == 3
    assert measured["difference"] <= 1e-5


@pytest.fixture
def normalised():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def test_alone_it_is_the_batch_normalisation_of_torch(normalised):
    """The same function: values, gradients and statistics, whichever float type; evaluation is torch's own."""
    import copy

    ours, x = copy.deepcopy(normalised), torch.randn(6, 3, 8, 8) * 3 + 2
    make_batch_independent(ours)
    for network in (normalised, ours):
        network(x).square().mean().backward()
    for (name, a), b in zip(normalised.named_parameters(), ours.parameters(), strict=True):
        if name != "0.bias":  # before a normalisation it has no gradient but rounding
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-5, atol=1e-7)
    for a, b in zip(normalised.buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-7)
    assert ours.state_dict().keys() == normalised.state_dict().keys()
    copied = copy.deepcopy(ours).eval()
    torch.testing.assert_close(copied(x), ours.eval()(x), rtol=0, atol=0)


def test_a_single_value_has_no_variance():
    norm = nn.BatchNorm1d(3)
    make_batch_independent(norm)
    with pytest.raises(ParamsError, match="more than one value for each channel: raise batch_size"):
        norm(torch.randn(1, 3))


def test_the_gradient_of_a_convolution_is_right_where_maps_are_large():
    """All addends of one sign: torch's own sum over 1.2 million pixels is wrong by a percent."""
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 1, 3, padding=1), torch.rand(18, 4, 256, 256)
    exact = nn.Conv2d(4, 1, 3, padding=1).double()
    exact.load_state_dict(layer.state_dict())
    exact(x.double()).mean().backward()

    def error() -> float:
        layer.zero_grad()
        layer(x).mean().backward()
        return max(float((p.grad - q.grad).norm() / q.grad.norm()) for p, q in _pairs(layer, exact))

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    plain = error()
    make_batch_independent(layer)
    precise = error()
    torch.set_num_threads(before)
    assert x.shape[-1] ** 2 > LARGE
    assert precise < 1e-5 < 1e-3 < plain


def _pairs(a, b):
    return zip(a.parameters(), b.parameters(), strict=True)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_a_vector_does_not_depend_on_how_many_others_there_are(rows):
    torch.manual_seed(0)
    layer, x = nn.Linear(1024, 221), torch.randn(24, 1024)
    make_batch_independent(layer)
    assert torch.equal(torch.cat([layer(part) for part in x.split(rows)]), layer(x))


def test_functions_are_exchanged_only_while_a_layer_computes(normalised):
    make_batch_independent(normalised)
    with pytest.raises(RuntimeError):
        normalised(torch.randn(6, 5, 8, 8))  # an error inside leaves nothing behind
    assert torch.overrides._get_current_function_mode() is None
    assert batch_independence.F.linear is nn.functional.linear
