"""The gradient of one optimiser step of ``emoca train``, of all processes together and then of the first one alone.

``python one_step.py FOLDER STAGE OPTIONS...`` writes ``FOLDER/difference.json``.
"""

import json
import sys
from pathlib import Path

import torch
import toy_stage
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from emoca_core import get_registry
from emoca_core.cli import main
from emoca_core.train import loop
from emoca_core.train.world import go_on_alone, processes

QUIET = ["max_steps=1", "tracker=none", "progress=false", "pictures_every=0", "checkpoints=false"]


def first_gradient(out: Path, stage: str, options: list[str]) -> tuple[Tensor, int]:
    """All numbers of it, and how many normalisations took part."""
    gradients: list[Tensor] = []
    norms: list[int] = []

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients.append(torch.cat([p.grad.double().flatten() for p in parameters]))

    def look(model: nn.Module) -> None:
        norms.append(sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()))
        prepare(model)

    hook, prepare = register_optimizer_step_pre_hook(keep), loop.make_batch_independent
    loop.make_batch_independent = look
    code = main(["train", stage, *options, *(word for s in QUIET for word in ("--set", s)), "--out", str(out)])
    hook.remove()
    loop.make_batch_independent = prepare
    assert code == 0 and len(gradients) == 1
    return gradients[0], norms[0]


if __name__ == "__main__":
    folder, stage, *options = sys.argv[1:]
    toy_stage.add_components(get_registry())
    together, norms = first_gradient(Path(folder) / "together", stage, options)
    count = processes().num_processes
    if go_on_alone():
        alone, _ = first_gradient(Path(folder) / "alone", stage, options)
        difference = float((together - alone).norm() / alone.norm())
        result = {"difference": difference, "size": float(alone.norm()), "norms": norms, "processes": count}
        (Path(folder) / "difference.json").write_text(json.dumps(result))
