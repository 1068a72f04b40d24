"""What a loss promises."""

import dataclasses
from collections.abc import Callable

import torch

from emoca_core.interfaces import Capture, Loss
from emoca_core.interfaces.samples import sample_capture
from emoca_core.testing.common import Subject, changed, check_module, tensors_of

_ALWAYS = ("crop", "parameters")


def check(subject: Subject[Loss]) -> None:
    """One finite number, from nothing but the fields in ``requires``, with a gradient to one of them."""
    loss = subject.component
    fields = {field.name for field in dataclasses.fields(Capture)}
    subject.require(isinstance(getattr(loss, "requires", None), frozenset), "requires must be a frozenset")
    subject.require(loss.requires <= fields, f"requires names unknown fields: {sorted(loss.requires - fields)}")
    capture: Capture = sample_capture() if subject.sample is None else subject.sample
    replace: Callable[..., Capture] = dataclasses.replace
    read = replace(capture, **dict.fromkeys(fields - loss.requires - set(_ALWAYS)))
    value = check_module(subject, lambda module, faces: module(faces), read, per_face=False, double=True)
    subject.require(value.shape == (), f"must be one number, has shape {tuple(value.shape)}")
    _check_gradient(subject, loss, capture)


def _check_gradient(subject: Subject[Loss], loss: Loss, capture: Capture) -> None:
    """The estimates, not the crop, must be reached."""
    wanted = {name: getattr(capture, name) for name in (*loss.requires, "parameters") if name != "crop"}
    leaves = {
        name: changed(value, lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)
        for name, value in wanted.items()
    }
    value = loss(dataclasses.replace(capture, **leaves))
    subject.require(value.requires_grad, "the value is cut off from the graph")
    tensors = [tensor for leaf in leaves.values() for tensor in tensors_of(leaf).values() if tensor.requires_grad]
    gradients = [g for g in torch.autograd.grad(value, tensors, allow_unused=True) if g is not None]
    subject.require(any(g.abs().sum() > 0 for g in gradients), "no gradient reaches the fields in `requires`")
    subject.require(all(g.isfinite().all() for g in gradients), "gradients must be finite")
