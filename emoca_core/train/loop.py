"""The training loop. One for every task; Accelerate decides where it runs."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Generic

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from emoca_core.errors import EmocaError, ParamsError
from emoca_core.method.objective import Losses
from emoca_core.parsing import read_record
from emoca_core.progress import progress_bar
from emoca_core.runs.run_folder import TRACKED, Progress, RunFolder, RunSettings
from emoca_core.train import checkpoint
from emoca_core.train.batch_independence import make_batch_independent
from emoca_core.train.sampling import (
    DrawnDataset,
    EvaluationBatches,
    Sample,
    Samples,
    TrainBatches,
)
from emoca_core.train.task import Batch, Step, Task
from emoca_core.train.train_settings import TrainSettings
from emoca_core.train.weight_average import WeightAverage
from emoca_core.train.world import processes, together


class TrainingDivergedError(EmocaError, ArithmeticError):
    """The loss is not finite any more."""


def train(
    task: Task[Batch],
    training: Samples[Sample],
    validation: Samples[Sample],
    settings: TrainSettings,
    out: Path,
    *,
    collate: Callable[[list[Sample]], Batch],
    augment: Callable[[Sample, torch.Generator], Sample] | None = None,
    sampling_weights: Float[Tensor, "N"] | None = None,
    batches: Callable[[int, int], TrainBatches] | None = None,
    also: Mapping[str, Samples[Sample]] | None = None,
    resume: bool = False,
) -> Progress:
    """Train a task and return where it ended. Runs alone or in each of several processes.

    Args:
        task: What to train.
        training: Indexable set of samples.
        validation: Indexable set of samples; may be empty.
        settings: How to train.
        out: The run folder.
        collate: List of samples to the batch that the task understands.
        augment: Changes a training sample, with randomness from the generator alone.
        sampling_weights: Draw by these weights, with replacement, instead of a permutation.
        batches: Makes the batches of a process from its rank and the number of processes; by default ``TrainBatches``.
        also: Further validation sets, by name: every validation measures them too, as ``NAME/METRIC``; they choose
            nothing.
        resume: Continue the run in ``out`` from its last checkpoint.

    Raises:
        TrainingDivergedError: The loss became NaN or infinite; the last checkpoint is good.
        EmocaError: The run folder is in use by another run, its settings differ, the tracker is not installed, or
            another process of the run has ended.
        OSError: The disk is full; the last checkpoint is whole.
    """
    accelerator = _accelerator(settings, out)
    set_seed(settings.seed, device_specific=True)  # what a network draws, as dropout does, differs among processes
    folder = RunFolder(out)
    where = {"rank": accelerator.process_index, "world": accelerator.num_processes}
    shared = {"batch_size": settings.batch_size, "accumulation": settings.accumulation, "seed": settings.seed, **where}
    drawn = batches(*where.values()) if batches else TrainBatches(len(training), weights=sampling_weights, **shared)
    loading: Callable[..., Iterable[Batch]] = partial(
        DataLoader,
        collate_fn=collate,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    loader = loading(DrawnDataset(training, settings.seed, augment), batch_sampler=drawn)
    per_pass = settings.batch_size // settings.accumulation // accelerator.num_processes
    watched: dict[str, _Watched[Batch]] = {}
    for name, faces in {"": validation, **(also or {})}.items():
        if len(faces):
            order = EvaluationBatches(len(faces), batch_size=per_pass, **where)
            watched[name] = _Watched(order, loading(faces, batch_sampler=order))
    optimizer = torch.optim.AdamW(
        list(task.trained_parameters()), settings.learning_rate, settings.betas, weight_decay=settings.weight_decay
    )
    for model in (task, *task.frozen()):
        make_batch_independent(model)
        model.to(accelerator.device)
        if settings.channels_last:
            model.to(memory_format=torch.channels_last)
    if accelerator.num_processes > 1:
        first = collate(DrawnDataset(training, settings.seed, augment).__getitems__(next(iter(drawn))))
        unused = _leaves_out_parameters(task, _to(first, accelerator.device), settings, where)
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=unused)
    model, optimizer = accelerator.prepare(task, optimizer)
    average = WeightAverage(task, settings.average) if settings.average else None
    run = _Run(accelerator, folder, settings, task, model, optimizer, average, drawn, loader, watched)
    with folder.claimed() if accelerator.is_main_process else nullcontext(), together():
        if accelerator.is_main_process:
            folder.start(RunSettings(train=settings.model_dump(mode="json"), task=task.card()), resume)
        accelerator.wait_for_everyone()
        if settings.tracker != "none":
            accelerator.init_trackers(TRACKED)
        return run.go(run.load() if resume and folder.last else Progress())


@dataclass(frozen=True)
class _Watched(Generic[Batch]):
    """A validation set: which samples each batch has, and the batches."""

    order: EvaluationBatches
    batches: Iterable[Batch]


@dataclass
class _Run(Generic[Batch]):
    accelerator: Accelerator
    folder: RunFolder
    settings: TrainSettings
    task: Task[Batch]
    model: torch.nn.Module
    optimizer: AcceleratedOptimizer
    average: WeightAverage | None
    batches: TrainBatches
    loader: Iterable[Batch]
    watched: Mapping[str, _Watched[Batch]]

    def go(self, progress: Progress) -> Progress:
        settings, per_epoch, total = self.settings, self.batches.steps, self.total
        hidden = not (settings.progress and self.accelerator.is_local_main_process)
        bar = progress_bar(total=total, initial=progress.step, label="training", unit="step", hidden=hidden)
        while progress.step < total and not self._patience_spent(progress):
            self.batches.begin(progress.epoch, progress.step_in_epoch)
            for losses in self._steps(progress):
                progress.step, progress.step_in_epoch = progress.step + 1, progress.step_in_epoch + 1
                bar.update()
                if progress.step_in_epoch == per_epoch:
                    progress.epoch, progress.step_in_epoch = progress.epoch + 1, 0
                if self._is_logged(progress.step):
                    bar.set_postfix(loss=self._log_losses(progress, losses)["loss"])
                if self._is_validated(progress.step):
                    with self.average.in_place() if self.average else nullcontext():
                        self._validate(progress)
                if self._is_saved(progress.step):
                    self.save(progress)
                if progress.step >= total or self._patience_spent(progress):
                    break
        bar.close()
        self.accelerator.end_training()
        return progress

    @property
    def total(self) -> int:
        """Optimiser steps of the run, unless patience ends it."""
        steps = self.settings.epochs * self.batches.steps
        return min(steps, self.settings.max_steps or steps)

    @property
    def validate_every(self) -> int:
        """Optimiser steps between validations."""
        return max(1, round(self.settings.validate_every * self.batches.steps))

    def _is_validated(self, step: int) -> bool:
        return step % self.validate_every == 0 or step == self.total

    def _is_saved(self, step: int) -> bool:
        return self._is_validated(step) or step % (self.settings.checkpoint_every or math.inf) == 0

    def _is_logged(self, step: int) -> bool:
        return self._is_saved(step) or step % self.settings.log_every == 0

    def _position(self, progress: Progress, micro: int) -> Step:
        """Where a forward pass stands; ``micro`` counts those of one optimiser step."""
        world = self.accelerator.num_processes
        return Step(
            progress.epoch,
            progress.step,
            self.settings.seed,
            part=micro * world + self.accelerator.process_index,
            parts=self.settings.accumulation * world,
            logged=self._is_logged(progress.step + 1),
        )

    def _steps(self, progress: Progress) -> Iterator[dict[str, Tensor]]:
        """Do optimiser steps to the end of the epoch; yield the mean losses of each, still on the device."""
        self.model.train()
        total: dict[str, Tensor] = {}
        for number, batch in enumerate(self.loader):
            position = self._position(progress, number % self.settings.accumulation)
            with self.accelerator.accumulate(self.model):
                losses: Losses = self.model(_to(batch, self.accelerator.device), position)
                self.accelerator.backward(losses.total)
                if self.accelerator.sync_gradients and self.settings.clip_norm:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
                for group in self.optimizer.param_groups:
                    group["lr"] = self.settings.rate_at(position.index, self.total)
                self.optimizer.step()
                self.optimizer.zero_grad()
            parts = {"loss": losses.total, **losses.parts}
            total = {k: total.get(k, 0) + v.detach() / self.settings.accumulation for k, v in parts.items()}
            if self.accelerator.sync_gradients:
                if self.average:
                    self.average.update(position.index + 1)
                yield total
                self.model.train()  # validation may have come between
                total = {}

    def _log_losses(self, progress: Progress, losses: dict[str, Tensor]) -> dict[str, float]:
        """Mean over the processes; this is the one place where the step waits for the device."""
        names = sorted(losses)
        mean = self.accelerator.reduce(torch.stack([losses[n].float() for n in names]), reduction="mean").tolist()
        values = dict(zip(names, mean, strict=True))
        if not math.isfinite(values["loss"]):
            raise self._diverged(f"the loss is {values['loss']} at step {progress.step} ({values})")
        self._record(progress, {f"train/{name}": value for name, value in values.items()})
        return values

    def _diverged(self, what: str) -> TrainingDivergedError:
        kept = f"the last good checkpoint is {self.folder.last}" if self.folder.last else "there is no checkpoint yet"
        return TrainingDivergedError(f"{what}; {kept}. Try a lower learning rate, or clip_norm 1.")

    @torch.no_grad()
    def _validate(self, progress: Progress) -> None:
        if "" not in self.watched:
            return
        self.model.eval()
        task = self.accelerator.unwrap_model(self.model)
        found = {name: self._measured(task, watched, progress, name) for name, watched in self.watched.items()}
        metrics = found.pop("")
        value = metrics[task.monitor]
        for name, own in found.items():
            metrics |= {f"{name}/{metric}": known for metric, known in own.items() if math.isfinite(known)}
        sign = 1 if task.higher_is_better else -1
        better = math.isfinite(value) and (progress.best is None or sign * value > sign * progress.best)
        progress.validations_without_gain = 0 if better else progress.validations_without_gain + 1
        if better:
            progress.best, progress.best_step = value, progress.step
            if self.accelerator.is_main_process:
                self.folder.write_best(task.trained_state(), {**task.card(), "step": progress.step, "metrics": metrics})
        self._record(progress, {f"validation/{name}": value for name, value in metrics.items()})

    def _measured(self, task: Task[Batch], watched: _Watched[Batch], progress: Progress, name: str) -> dict[str, float]:
        """The metrics of one validation set."""
        rows = []
        for number, (indices, batch) in enumerate(zip(watched.order, watched.batches, strict=True)):
            batch = _to(batch, self.accelerator.device)
            if number == 0:
                self._show(task, batch, progress, name)
            predicted = task.predict(batch)
            predicted["index"] = torch.tensor(indices, device=self.accelerator.device)
            rows.append(self.accelerator.gather(predicted))
        gathered = {key: torch.cat([row[key].cpu() for row in rows]) for key in rows[0]}
        first = _first_of_each(gathered.pop("index"))
        return task.metrics({key: value[first] for key, value in gathered.items()})

    def _show(self, task: Task[Batch], batch: Batch, progress: Progress, of: str) -> None:
        """Write the task's pictures to the run folder and the tracker, now and then."""
        every = self.settings.pictures_every
        if not every or not self.accelerator.is_main_process or -(-progress.step // self.validate_every) % every:
            return
        for kind, picture in (task.pictures(batch) or {}).items():
            name = f"{of}-{kind}" if of else kind
            pixels = picture.cpu().numpy()
            self.folder.write_picture(name, progress.step, pixels)
            for tracker in self.accelerator.trackers:
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({name: pixels[None]}, step=progress.step, **layout)

    def save(self, progress: Progress) -> None:
        """Write a checkpoint beside the last one, then let it take its place."""
        trained = self.accelerator.unwrap_model(self.model).trained_parameters()
        if not all(bool(parameter.isfinite().all()) for parameter in trained):
            raise self._diverged(f"a weight is not finite after step {progress.step}")
        if not self.settings.checkpoints:
            return
        if self.accelerator.is_main_process:
            self.folder.begin_checkpoint(progress.step)
        self.accelerator.wait_for_everyone()
        temporary = self.folder.path / "checkpoints" / f".step-{progress.step:08d}"
        with self.folder.writing():
            checkpoint.write_own_state(temporary, self.accelerator.process_index)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            with self.folder.writing():
                average = self.average.state if self.average else None
                checkpoint.write_shared_state(temporary, self.task, self.optimizer.optimizer, self.accelerator, average)
            self.folder.commit_checkpoint(temporary, progress)
        self.accelerator.wait_for_everyone()

    def load(self) -> Progress:
        """Weights, optimiser, randomness and position of the last checkpoint."""
        last = self.folder.last
        assert last is not None
        with self.folder.reading(last):
            progress = read_record(last / "progress.json", Progress)
            if not checkpoint.read_state(last, self.task, self.optimizer.optimizer, self.accelerator):
                set_seed(self.settings.seed + progress.step, device_specific=True)  # another number of processes
            if self.average:
                self.average.load(load_file(last / checkpoint.AVERAGE))
        if self.accelerator.is_main_process:
            self.folder.forget_after(progress.step)
        return progress

    def _record(self, progress: Progress, values: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            self.folder.log({"step": progress.step, "epoch": progress.epoch, **values})
        self.accelerator.log(values, step=progress.step)

    def _patience_spent(self, progress: Progress) -> bool:
        return progress.validations_without_gain >= (self.settings.patience or math.inf)


def _accelerator(settings: TrainSettings, out: Path) -> Accelerator:
    """Accelerate with the tracker that was asked for; one that is not installed it would leave out with a warning."""
    tracked = settings.tracker != "none"
    if tracked and find_spec(settings.tracker) is None:
        raise ParamsError(
            f"the tracker {settings.tracker} is not installed: pip install {settings.tracker}, or set tracker=none"
        )
    processes()
    try:
        accelerator = Accelerator(
            mixed_precision=settings.precision,
            gradient_accumulation_steps=settings.accumulation,
            project_dir=str(out),
            log_with=settings.tracker if tracked else None,
        )
    except ValueError as error:  # Accelerate keeps one precision for each process
        raise ParamsError(f"training with precision={settings.precision} is not possible here: {error}") from None
    return accelerator


def _leaves_out_parameters(task: Task[Batch], batch: Batch, settings: TrainSettings, where: Mapping[str, int]) -> bool:
    """Whether the loss of a batch leaves trained parameters without a gradient: DistributedDataParallel must know.

    Looks without leaving a trace: in evaluation, the randomness is put back.
    """
    parts = {"part": where["rank"], "parts": settings.accumulation * where["world"]}
    with torch.random.fork_rng([device] if (device := next(task.parameters()).device).type == "cuda" else []):
        loss = task.eval()(batch, Step(0, 0, settings.seed, **parts, logged=False)).total
    gradients = torch.autograd.grad(loss, list(task.trained_parameters()), allow_unused=True)
    return any(gradient is None for gradient in gradients)


def _first_of_each(index: Tensor) -> Tensor:
    """Where each number occurs first, in the order of the numbers: processes repeat samples to have equal shares."""
    order = torch.argsort(index, stable=True)
    ordered = index[order]
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return order[new]


def _to(batch: Batch, device: torch.device) -> Batch:
    return batch.map(lambda tensor: tensor.to(device, non_blocking=True))
