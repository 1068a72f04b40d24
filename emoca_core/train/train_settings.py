"""How to train, whatever is trained."""

import math
from typing import Annotated, Literal

from pydantic import Field

from emoca_core.registry.spec import BatchSize, Count, Seed, SettingsModel

DecayRate = Annotated[float, Field(ge=0, lt=1)]


class TrainSettings(SettingsModel):
    """Settings of the loop. Saved with every run; unknown keys are errors."""

    epochs: Count = Field(default=20, ge=1)
    """Passes over the training set, at most."""
    max_steps: Count | None = Field(default=None, ge=1)
    """Optimiser steps, at most; none means as many as the epochs have."""
    batch_size: BatchSize = 64
    """Samples per optimiser step over ALL processes and accumulation steps."""
    accumulation: BatchSize = 1
    """Forward passes per optimiser step; must divide the batch."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Step size of Adam; with a warm-up or a schedule, the highest."""
    warmup_steps: Count = Field(default=0, ge=0)
    """Optimiser steps over which the learning rate rises from near 0."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The learning rate after the warm-up; ``cosine`` falls to 0 at the last step."""
    average: DecayRate = 0.0
    """Decay of a running average of the weights, which is what validation measures and ``best.safetensors`` holds;
    0.999 remembers about the last thousand steps, 0 keeps no average."""
    channels_last: bool = False
    """Keep pictures inside the network with their channels last: on CPUs convolutions are faster, on some twice."""
    betas: tuple[DecayRate, DecayRate] = (0.9, 0.999)
    """Adam's decay rates."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW); 0 is plain Adam."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient; none does not clip."""
    precision: Literal["no", "fp16", "bf16"] = "no"
    """Mixed precision."""
    workers: int = Field(default=0, ge=0, le=1024)
    """Data loading processes for each training process."""
    seed: Seed = 0
    """Fixes sampling, augmentation, loss weights and initialisation."""
    patience: Count | None = Field(default=None, ge=1)
    """Stop after this many validations without improvement; none never stops early."""
    validate_every: float = Field(default=1.0, gt=0)
    """Epochs between validations; 0.2 validates five times an epoch."""
    checkpoint_every: Count | None = Field(default=None, ge=1)
    """Optimiser steps between checkpoints besides those at validations; none writes only those."""
    checkpoints: bool = True
    """Keep a checkpoint to resume from; off keeps the best weights alone, for runs of seconds."""
    progress: bool = True
    """Show a progress bar."""
    log_every: Count = Field(default=10, ge=1)
    """Optimiser steps between log entries; the loss is checked for NaN as often."""
    pictures_every: Count = Field(default=1, ge=0)
    """Validations between pictures, of tasks that have something to show; 0 writes none."""
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    """Where curves go; ``none`` still writes metrics.jsonl."""

    def rate_at(self, step: int, total: int) -> float:
        """The learning rate of an optimiser step; a function of the step alone, so that a resumed run has the same.

        Args:
            step: Optimiser steps done before.
            total: Optimiser steps of the whole run.

        Source: Loshchilov and Hutter, SGDR, ICLR 2017 (one cycle); linear warm-up of Goyal et al., 2017.

        Example:
            >>> settings = TrainSettings(learning_rate=0.1, warmup_steps=2, schedule="cosine")
            >>> [round(settings.rate_at(step, 6), 3) for step in range(6)]
            [0.05, 0.1, 0.1, 0.085, 0.05, 0.015]
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
