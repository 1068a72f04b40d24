"""A small run of the real loop, started by the tests as a program of its own: alone, in two processes, or killed."""

import argparse
import json
import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from emoca_core.interfaces import EmotionPrediction
from emoca_core.measures.metrics import valence_arousal_metrics
from emoca_core.method.objective import Losses
from emoca_core.train import TrainSettings, train
from emoca_core.train.emotion_batch import EmotionBatch
from emoca_core.train.emotion_objective import EmotionObjectiveSettings, emotion_objective
from emoca_core.train.task import Step, Task


class Points:
    """Random features with a valence, an arousal and a class that depend on them."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 6, generator=generator)
        mix = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
        self.y = (self.x @ mix).tanh()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        valence, arousal, score = self.y[index]
        return self.x[index], (score > 0).long(), valence, arousal


class ToyTask(Task[EmotionBatch]):
    monitor = "valence_ccc"

    def __init__(self, explode_at: int | None = None, kill_at: int | None = None, wait_for: Path | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))
        self.explode_at, self.kill_at, self.wait_for = explode_at, kill_at, wait_for

    def read(self, x: Tensor) -> EmotionPrediction:
        out = self.net(x)
        return EmotionPrediction({"features": out}, logits=out[:, :2], valence=out[:, 2], arousal=out[:, 3])

    def forward(self, batch: EmotionBatch, step: Step) -> Losses:
        if step.index == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        while self.wait_for and not self.wait_for.exists():
            time.sleep(0.05)
        losses = emotion_objective(
            self.read(batch.input), batch.expression, batch.valence, batch.arousal, EmotionObjectiveSettings(), step
        )
        return Losses(losses.total * float("nan"), losses.parts) if step.index == self.explode_at else losses

    def predict(self, batch: EmotionBatch) -> dict[str, Tensor]:
        seen, truth = self.read(batch.input), {"true_valence": batch.valence, "true_arousal": batch.arousal}
        return {"valence": seen.valence, "arousal": seen.arousal, **truth}

    def metrics(self, gathered: dict[str, Tensor]) -> dict[str, float]:
        names = ("valence", "arousal")
        return valence_arousal_metrics(
            {n: gathered[n].numpy() for n in names}, {n: gathered[f"true_{n}"].numpy() for n in names}
        )


def jitter(sample: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    return sample[0] + 0.01 * torch.randn(6, generator=generator), *sample[1:]


def stack(samples: list[tuple[Tensor, ...]]) -> EmotionBatch:
    return EmotionBatch(*map(torch.stack, zip(*samples, strict=True)))


def run(out: Path, *, resume: bool = False, settings: dict | None = None, **task: int | Path | None) -> None:
    torch.manual_seed(0)
    chosen = TrainSettings.model_validate(
        {
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 1e-2,
            "seed": 5,
            "validate_every": 0.5,
            "log_every": 1,
            "checkpoint_every": 2,
            "tracker": "none",
        }
        | (settings or {})
    )
    train(ToyTask(**task), Points(70, 1), Points(33, 2), chosen, out, collate=stack, augment=jitter, resume=resume)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--wait-for", type=Path)
    parser.add_argument("--settings", type=json.loads, default={})
    args = parser.parse_args()
    run(args.out, resume=args.resume, settings=args.settings, kill_at=args.kill_at, wait_for=args.wait_for)
