"""Descending an energy from several starts at once; each goes its own way, and its best step wins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from emoca_core.errors import ParamsError
from emoca_core.files import atomic_write
from emoca_core.interfaces import Albedo, Block, FaceParameters
from emoca_core.optimisation.energy import Energy
from emoca_core.optimisation.settings import OptimisationSettings, Optimizer
from emoca_core.optimisation.unknowns import Unknowns, check_gradients
from emoca_core.progress import progress_bar
from emoca_core.weights.torch_file import read_torch

ENERGY = "energy"
"""Name of the weighted sum beside the terms."""
KEPT_EVERY = 25
"""Steps after which the state of a descent is kept: what a stop costs at most."""


@dataclass(frozen=True)
class Trajectory:
    """The way of one start.

    Attributes:
        history: Every term, unweighted, and the energy, at every step.
        codes: The code at every step.
        best: The step with the least energy.
        stopped: Why there are no more steps.
    """

    history: Mapping[str, Float[Tensor, "S"]]
    codes: FaceParameters
    best: int
    stopped: str


def descend(
    energy: Energy,
    unknowns: Unknowns,
    starts: FaceParameters,
    settings: OptimisationSettings,
    hidden: bool = True,
    kept: Path | None = None,
) -> list[Trajectory]:
    """Go down from every start of a batch.

    SGD and Adam treat each number for itself, so that all starts are one batch and none knows of the others. LBFGS does
    not: there they go one after the other.

    Args:
        energy: What is descended.
        unknowns: What may change.
        starts: A batch of codes.
        settings: How.
        hidden: Show no progress.
        kept: Folder that belongs to this descent alone: a stopped one goes on from there, and comes to the same.

    Raises:
        ParamsError: Learning rates for blocks that are not unknown, or for LBFGS.
        RecipeError: An unknown that no term depends on.
        AssetFormatError: What is kept is damaged.
        OSError: It cannot be kept.
    """
    _check_rates(unknowns, settings)
    apart = settings.optimizer == "lbfgs"
    groups = [starts.map(lambda t, i=i: t[i : i + 1]) for i in range(len(starts))] if apart else [starts]  # type: ignore[misc]
    with progress_bar(total=settings.steps * len(groups), label="optimising", unit="step", hidden=hidden) as bar:
        ways: list[Trajectory] = []
        for number, group in enumerate(groups):
            descent = _Descent(energy, unknowns, group, settings)
            ways += descent.run(bar.update, None if kept is None else kept / f"descent_{number}.pt")
        return ways


def _check_rates(unknowns: Unknowns, settings: OptimisationSettings) -> None:
    if settings.learning_rates and settings.optimizer == "lbfgs":
        raise ParamsError("lbfgs has one step for all unknowns: leave out learning_rates, or choose sgd or adam")
    if odd := sorted(settings.learning_rates.keys() - set(unknowns.blocks)):
        raise ParamsError(f"a learning rate for {', '.join(odd)}, which is not unknown: add it to the unknowns")


_TRIES = 20
"""Evaluations that LBFGS may take for one step."""


_CHANGING = ("step", "ended", "active", "best", "best_step", "stopped", "terms", "path")


class _Descent:
    """One batch on its way down."""

    def __init__(self, energy: Energy, unknowns: Unknowns, starts: FaceParameters, settings: OptimisationSettings):
        self.energy, self.unknowns, self.starts, self.settings = energy, unknowns, starts, settings
        self.values = {name: value.detach().clone() for name, value in unknowns.values(starts).items()}
        for value in self.values.values():
            value.requires_grad_()
        self.optimizer = _OPTIMIZERS[settings.optimizer](self.values, settings)
        count = len(starts)
        self.active = torch.ones(count, dtype=torch.bool)
        self.best = torch.full((count,), torch.inf)
        self.best_step = torch.zeros(count, dtype=torch.int64)
        self.stopped = ["all steps"] * count
        self.step, self.ended = 0, False
        self.terms: list[dict[str, Tensor]] = []
        self.path: list[dict[Block, Tensor]] = []
        with torch.no_grad():
            self.albedo = None if "albedo" in unknowns.blocks else energy.method.face_model.albedo(starts)

    def run(self, advance: Callable[[int], object], kept: Path | None) -> list[Trajectory]:
        """All steps, until every face has stopped; from what is kept, if there is something."""
        if kept is not None and kept.exists():
            self._go_on(read_torch(kept))
        advance(self.step)
        while not self.ended:
            total, rows = self._evaluate(), self.active.nonzero()[:, 0]
            self._record(self.step, total, rows)
            self.ended = self.step == self.settings.steps or not self.active.any()
            if not self.ended:
                self._step()
                self.step += 1
                advance(1)
                self.ended = not self.active.any()  # it has not moved
            if kept is not None and (self.ended or self.step % KEPT_EVERY == 0):
                with atomic_write(kept) as temporary:
                    torch.save(self._state(), temporary)
        advance(self.settings.steps - self.step)
        return [self._trajectory(row) for row in range(len(self.starts))]

    def _state(self) -> dict[str, object]:
        """All that changes from step to step."""
        known = {name: getattr(self, name) for name in _CHANGING}
        return {**known, "values": self.values, "optimizer": self.optimizer.state_dict()}

    def _go_on(self, state: Mapping[str, Any]) -> None:
        for name in _CHANGING:
            setattr(self, name, state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(state["values"][name])

    def _evaluate(self) -> Float[Tensor, "A"]:
        """The energy of the active faces, with its gradient; its terms are kept."""
        keep = self.active.nonzero()[:, 0]
        chosen = {name: value[keep.to(value.device)] for name, value in self.values.items()}
        within = self.unknowns.clamped(chosen)
        outside = torch.stack([(chosen[name] - within[name]).square().sum() for name in chosen]).sum() / 2
        base = self.starts.map(lambda tensor: tensor[keep.to(tensor.device)])
        self.last = self.energy.terms(self.energy.captures(self.unknowns.code(base, within), self._albedo_of(keep)))
        total = self.energy.total(self.last)
        self.optimizer.zero_grad()
        torch.autograd.backward(total.sum() + outside)  # LBFGS looks beyond the bounds, the others are never there
        self.objective = (total.sum() + outside).detach()
        return total.detach().cpu()

    def _albedo_of(self, keep: Tensor) -> Albedo | None:
        if self.albedo is None or len(keep) == len(self.starts):
            return self.albedo
        texture, colours = self.albedo.texture, self.albedo.vertex_colors
        return Albedo(None if texture is None else texture[keep], None if colours is None else colours[keep])

    def _record(self, step: int, total: Float[Tensor, "A"], rows: Tensor) -> None:
        """Keep what was found, and stop faces that are done."""
        if step == 0:
            check_gradients(self.values, self.unknowns.blocks)
        values = {ENERGY: total, **{name: value.detach().cpu() for name, value in self.last.items()}}
        unknown = torch.full((len(self.starts),), torch.nan)
        self.terms.append({name: unknown.index_copy(0, rows, value.float()) for name, value in values.items()})
        self.path.append({name: value.detach().clone() for name, value in self.unknowns.clamped(self.values).items()})
        better = torch.zeros_like(self.active).index_copy(0, rows, total < self.best[rows])
        self.best = torch.where(better, self.terms[-1][ENERGY], self.best)
        self.best_step[better] = step
        self._stop(~torch.ones_like(better).index_copy(0, rows, total.isfinite()), "not finite")
        self._stop(self.best < self.settings.goal, "goal reached")
        self._stop(step - self.best_step >= self.settings.patience, "no better step")

    def _stop(self, rows: Bool[Tensor, "B"], reason: str) -> None:
        for row in (rows & self.active).nonzero()[:, 0].tolist():
            self.stopped[row] = reason
        self.active = self.active & ~rows

    def _step(self) -> None:
        evaluated = [self.objective]

        def closure() -> float:
            if evaluated:  # at the place where the optimiser begins
                return float(evaluated.pop())
            self._evaluate()
            return float(self.objective)

        before = [value.detach().clone() for value in self.values.values()]
        self.optimizer.step(closure)
        if all(map(torch.equal, before, self.values.values())):
            self._stop(torch.ones_like(self.active), "no way down")
        if self.settings.optimizer != "lbfgs":  # whose memory of the way must not be disturbed
            with torch.no_grad():
                for name, value in self.unknowns.clamped(self.values).items():
                    self.values[name].copy_(value)

    def _trajectory(self, row: int) -> Trajectory:
        length = sum(bool(values[ENERGY][row].isnan().logical_not()) for values in self.terms)
        length = max(length, 1)
        history = {name: torch.stack([values[name][row] for values in self.terms[:length]]) for name in self.terms[0]}
        path = {name: torch.stack([values[name][row] for values in self.path[:length]]) for name in self.values}
        base = self.starts.map(lambda tensor: tensor[row : row + 1].expand(length, *tensor.shape[1:]))
        with torch.no_grad():
            codes = self.unknowns.code(base, path).map(lambda tensor: tensor.cpu())
        return Trajectory(history, codes, int(self.best_step[row]), self.stopped[row])


def _groups(values: Mapping[Block, Tensor], settings: OptimisationSettings) -> list[dict[str, object]]:
    return [{"params": [value], "lr": settings.rate_of(name)} for name, value in values.items()]


def _lbfgs(values: Mapping[Block, Tensor], settings: OptimisationSettings) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(
        [*values.values()], settings.rate_of(""), max_iter=1, max_eval=_TRIES, line_search_fn="strong_wolfe"
    )


_Make = Callable[[Mapping[Block, Tensor], OptimisationSettings], torch.optim.Optimizer]
_OPTIMIZERS: Mapping[Optimizer, _Make] = {
    "sgd": lambda values, settings: torch.optim.SGD(_groups(values, settings)),
    "adam": lambda values, settings: torch.optim.Adam(_groups(values, settings)),
    "lbfgs": _lbfgs,
}
