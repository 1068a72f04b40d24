"""Losses, objectives and layers on shares of a batch against the whole batch, as a program for two processes.

Everything in float64: what differs by more than rounding is not the same.
"""

import dataclasses
import math
import sys
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn

from emoca_core import get_registry
from emoca_core.interfaces import Capture, EmotionPrediction, FaceParameters, Loss, Parts
from emoca_core.interfaces.samples import sample_capture, sample_crop
from emoca_core.testing.common import as_double, changed, tensors_of
from emoca_core.train.batch_independence import make_batch_independent
from emoca_core.train.emotion_objective import EmotionObjectiveSettings, emotion_objective
from emoca_core.train.task import Step
from emoca_core.train.world import processes

ROWS = 4
RANDOM = {"weights": "random"}
LOSSES = {
    "code_prior": [{"block": "shape"}, {"block": "expression", "reduction": "sum"}],
    "code_truth": [{}],
    "detail_photometric": [{}],
    "code_gaussian": [{}],
    "displacement_prior": [{}],
    "displacement_symmetry": [{}, {"reduction": "sum"}],
    "emotion_consistency": [{"metric": metric} for metric in ("l1", "l2", "cosine", "barlow_twins")],
    "emotion_witness": [{"backbone": {"uses": "fer_mini_xception", "params": RANDOM}}],
    "eye_closure": [{}],
    "id_mrf": [{**RANDOM, "size": 32, "reduction": "sum"}],
    "identity": [{**RANDOM, "network": "resnet18"}],
    "jaw_prior": [{}, {"angles": "quaternion", "metric": "l1"}],
    "landmark_reprojection": [{}],
    "lighting_prior": [{}],
    "lip_corner_distance": [{}],
    "mouth_closure": [{}],
    "photometric": [{}, {"normalization": "mask"}],
    "shading_smoothness": [{}],
    "shown_emotion": [{"varied": False, "classes": 1.0}, {"image_size": 64, "skin": 0.0}],  # skins are float32
    "vertex_truth": [{}],
}
Case = Callable[[slice], tuple[Tensor, list[Tensor]]]
"""Some rows of the batch to a loss, and what its gradient is taken for."""


def loss_case(name: str, params: dict) -> Case:
    """A term; the photo of one face lacks points of the eyes and the mouth."""
    torch.manual_seed(0)
    loss = get_registry().build("loss", name, params).double().eval()
    two = as_double(_drawn(loss) if name == "shown_emotion" else sample_capture(32))
    faces = changed(two, lambda t: torch.cat([t, 0.9 * t.flip(0)]) if t.is_floating_point() else torch.cat([t, t]))
    landmarks = {set_: points.clone() for set_, points in faces.crop.landmarks.items()}
    landmarks["ibug68"][0, 36:64] = math.nan

    def rows_of(rows: slice) -> tuple[Tensor, list[Tensor]]:
        part = changed(faces, lambda t: t[rows])
        own = {key: points[rows] for key, points in landmarks.items()}
        crop = dataclasses.replace(part.crop, landmarks=own)
        wanted = {key: getattr(part, key) for key in (*sorted(loss.requires), "parameters") if key != "crop"}
        leaves = {
            key: changed(value, lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)
            for key, value in wanted.items()
        }
        tensors = [t for leaf in leaves.values() for t in tensors_of(leaf).values() if t.requires_grad]
        return loss(dataclasses.replace(part, crop=crop, **leaves)), tensors

    return rows_of


def _drawn(loss: Loss) -> Capture:
    """Two faces of a head that the loss can draw."""
    registry = get_registry()
    head = registry.build("face_model", "open_head", {"texture_size": 16})
    loss.attach(Parts(head, registry.build("renderer", "zbuffer")))
    expression = 0.3 * torch.rand(2, 52, generator=torch.Generator().manual_seed(1))
    code = FaceParameters(shape=torch.zeros(2, 100), expression=expression, global_pose=torch.zeros(2, 3))
    return Capture(sample_crop(32), code, head(code))


def objective_case(weights: str) -> Case:
    """Emotion recognition: one class, one valence and one arousal are not known."""
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(ROWS, 8, generator=random).double()
    levels = torch.rand(ROWS, 2, generator=random).double()
    classes = torch.tensor([2, -1, 5, 2])
    truth = torch.tensor([[0.1, 0.3], [0.7, math.nan], [-0.3, 0.4], [0.2, -0.6]]).double()

    def rows_of(rows: slice) -> tuple[Tensor, list[Tensor]]:
        leaves = [t[rows].clone().requires_grad_() for t in (logits, levels)]
        seen = EmotionPrediction({}, leaves[0], *leaves[1].T)
        settings = EmotionObjectiveSettings(weights=weights)
        return emotion_objective(seen, classes[rows], *truth[rows].T, settings, Step(0, 3, 7)).total, leaves

    return rows_of


class Layers(nn.Module):
    """Normalisations of all kinds: plain, without weights, of vectors, with an activation inside (timm)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh()),
            *(nn.Conv2d(6, 5, 3), timm.layers.BatchNormAct2d(5), nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4, affine=False)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 7), nn.BatchNorm1d(7, momentum=None)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def layers_case() -> tuple[Case, nn.Module]:
    torch.manual_seed(2)
    model, x, target = Layers().double().train(), torch.randn(ROWS, 3, 9, 9).double(), torch.randn(ROWS, 7).double()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    make_batch_independent(model)

    def rows_of(rows: slice) -> tuple[Tensor, list[Tensor]]:
        model.load_state_dict(start)
        return (model(x[rows]) - target[rows]).square().mean(), list(model.parameters())

    return rows_of, model


def gradients(case: Case, rows: slice) -> tuple[Tensor, list[Tensor]]:
    value, tensors = case(rows)
    found = torch.autograd.grad(value, tensors, allow_unused=True)
    return value.detach(), [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-11 * b.abs().max().clamp(min=1e-3)) if a.numel() else True


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert sorted(LOSSES) == sorted(get_registry().names("loss")), "a loss without a case"
    cases = {f"{name} {params}": loss_case(name, params) for name, many in LOSSES.items() for params in many}
    cases |= {weights: objective_case(weights) for weights in ("paper", "upstream")}
    normalised, model = layers_case()
    whole = {name: gradients(case, slice(0, ROWS)) for name, case in (cases | {"layers": normalised}).items()}
    assert all(any(bool(g.any()) for g in found) for _, found in whole.values()), "a case without a gradient"
    statistics = [buffer.clone() for buffer in model.buffers()]

    state = processes()
    share = ROWS // state.num_processes
    rows = slice(share * state.process_index, share * (state.process_index + 1))
    wrong = []
    for name, case in cases.items():
        value, found = gradients(case, rows)
        torch.distributed.all_reduce(value)
        expected = [gradient[rows] for gradient in whole[name][1]]
        equal = [close(own / state.num_processes, of_whole) for own, of_whole in zip(found, expected, strict=True)]
        if not (all(equal) and close(value / state.num_processes, whole[name][0])):
            wrong.append(name)
    _, found = gradients(normalised, rows)
    for own, of_whole in zip(found, whole["layers"][1], strict=True):
        torch.distributed.all_reduce(own)
        if not close(own / state.num_processes, of_whole):
            wrong.append(f"layers {tuple(own.shape)}")
    if not all(
        close(own.double(), of_whole.double()) for own, of_whole in zip(model.buffers(), statistics, strict=True)
    ):
        wrong.append("statistics of the layers")
    if state.is_main_process:
        print(f"{len(cases) + 1} cases, not equal: {wrong}")
    state.destroy_process_group()
    sys.exit(bool(wrong))
