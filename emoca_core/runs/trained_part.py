"""Which part of a network is trained: kept apart, so that optimiser and checkpoints hold nothing else."""

import hashlib
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Shaped
from torch import Tensor, nn


def trained_part(module: nn.Module) -> nn.Module | None:
    """What takes a gradient, under the names it has in ``module``; the tensors are shared, not copied.

    Returns:
        ``module`` itself if every parameter is trained, else a container of those children that are, recursively;
        ``None`` if nothing is.
    """
    trained = [parameter.requires_grad for parameter in module.parameters()]
    if not any(trained):
        return None
    if all(trained):
        return module
    part = nn.Module()
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.requires_grad:
            part.register_parameter(name, parameter)
    for name, child in module.named_children():
        if (kept := trained_part(child)) is not None:
            part.add_module(name, kept)
    return part


def frozen_parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The largest submodules that have parameters, none of which is trained, by name."""
    trained = [parameter.requires_grad for parameter in module.parameters()]
    if trained and not any(trained):
        yield prefix, module
    elif trained:
        for name, child in module.named_children():
            yield from frozen_parts(child, f"{prefix}.{name}" if prefix else name)


def set_mode(module: nn.Module, mode: bool) -> None:
    """Training mode for what is trained; what is frozen stays in evaluation, so that BatchNorm keeps its statistics."""
    module.train(mode)
    for _, part in frozen_parts(module):
        part.eval()


def sha256_of_tensors(state: Mapping[str, Shaped[Tensor, "..."]]) -> str:
    """Hash of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
