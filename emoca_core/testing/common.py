"""What every component promises, whatever its kind."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from emoca_core.errors import ComponentImportError, ParamsError
from emoca_core.files import leaves_of
from emoca_core.interfaces import Camera, Component, ModuleComponent, Parts
from emoca_core.registry import Registry
from emoca_core.registry.spec import ComponentParams, Kind

T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C", bound=Component)
M = TypeVar("M", bound=ModuleComponent)

SINGLE_TOLERANCE = 2e-4
"""Relative to the largest value: float32 sums in another order (other batch size, other device) differ by less."""


@dataclass(frozen=True)
class Subject(Generic[C]):
    """The component under test.

    Attributes:
        registry: Where it is registered.
        kind: Its kind.
        name: Its name.
        params: Parameters to build it with.
        sample: Input chosen by the caller, or ``None``.
        parts: What it works with, chosen by the caller, or ``None``.
    """

    registry: Registry
    kind: Kind
    name: str
    params: Mapping[str, object]
    sample: Any = None
    parts: Parts | None = None

    @cached_property
    def component(self) -> C:
        """The component that most checks look at; building a large network again takes a second."""
        return self.build()

    def build(self) -> C:
        """A fresh component, with its parts, in evaluation mode."""
        component = self.registry.build(self.kind, self.name, self.params, self.parts)
        if self.parts is not None and callable(attach := getattr(component, "attach", None)):
            attach(self.parts)
        return cast(C, component.eval() if isinstance(component, nn.Module) else component)

    def require(self, kept: object, promise: str) -> None:
        """Fail with the component's name and the broken promise."""
        if not kept:
            raise AssertionError(f"{self.kind} '{self.name}': {promise}")

    def require_same(self, actual: object, expected: object, tolerance: float, promise: str) -> None:
        """Fail unless all tensors of two results agree to ``tolerance`` times their largest value."""
        left, right = tensors_of(actual), tensors_of(expected)
        self.require(left.keys() == right.keys(), f"{promise} (one has {sorted(left)}, the other {sorted(right)})")
        for key, a in left.items():
            b = right[key].to(a.device)
            self.require(a.shape == b.shape, f"{promise} ({key}: shape {tuple(a.shape)} against {tuple(b.shape)})")
            if a.numel():
                a, b = a.detach().double(), b.detach().double()
                difference, scale = (a - b).abs().max().item(), max(b.abs().max().item(), 1e-12)
                # written so that NaN fails
                self.require(difference <= tolerance * scale, f"{promise} ({key} differs by {difference / scale:.1e})")

    def require_finite(self, value: object, what: str) -> None:
        """Fail on NaN and infinity."""
        for key, tensor in tensors_of(value).items():
            self.require(tensor.isfinite().all(), f"{what} must be finite, {key} is not")


def tensors_of(value: object, name: str = "value") -> dict[str, Tensor]:
    """All tensors inside dataclasses, mappings and sequences, by a readable path."""
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, np.ndarray):
        return {name: torch.as_tensor(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {}
    return {key: tensor for part, item in items for key, tensor in tensors_of(item, f"{name}.{part}").items()}


def changed(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same dataclass, mapping, tuple or tensor with every tensor replaced by ``change(tensor)``."""
    return cast(T, _changed(value, change))


def _changed(value: object, change: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Camera):
        return value.map(change)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _changed(getattr(value, field.name), change) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    return tuple(_changed(item, change) for item in value) if isinstance(value, tuple) else value


def twin_of(subject: Subject[M]) -> M:
    """A fresh component in the state of the first; networks initialise at random."""
    twin = subject.build()
    twin.load_state_dict(subject.component.state_dict())
    return twin


def as_double(value: T) -> T:
    """Floating-point tensors in float64."""
    return changed(value, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def check_declaration(subject: Subject[Component]) -> None:
    """The class, its documentation and its parameters."""
    try:
        cls = subject.registry.resolve(subject.kind, subject.name)
    except ComponentImportError as error:
        interface = subject.registry.kinds[subject.kind].interface.replace(":", ".")
        subject.require(error.__cause__ is not None, f"must subclass {interface}: {error}")
        raise
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    subject.require(not missing, f"must implement {missing}")
    own_doc = cls.__doc__ or ""  # inspect.getdoc would inherit the interface's
    subject.require(
        "Source:" in inspect.cleandoc(own_doc), "the class docstring must say 'Source:' and where it is from"
    )
    _check_params(subject, cls)


def _check_params(subject: Subject[C], cls: type[Component]) -> None:
    model = cls.Params
    subject.require(issubclass(model, ComponentParams), "Params must subclass emoca_core.ComponentParams")
    subject.require(
        model.model_config.get("extra") == "forbid" and model.model_config.get("frozen"),
        "Params must refuse unknown keys and stay frozen, as ComponentParams does",
    )
    undocumented = [field for field, info in model.model_fields.items() if not info.description]
    subject.require(not undocumented, f"Params: no docstring under {', '.join(undocumented)}")
    model.model_json_schema()  # `emoca show` prints it
    params = subject.registry.params(subject.kind, subject.name, subject.params)
    again = model.model_validate_json(params.model_dump_json())
    subject.require(again == params, f"Params must survive JSON, as checkpoints need ({params!r} became {again!r})")
    subject.require(subject.component.params == params, "must keep its parameters: call super().__init__(params)")
    try:
        subject.registry.params(subject.kind, subject.name, {**subject.params, "no_such_parameter": 1})
    except ParamsError:
        return
    subject.require(False, "must refuse an unknown parameter")


def check_module(
    subject: Subject[M],
    call: Callable[[M, T], R],
    batch: T,
    *,
    per_face: bool = True,
    double: bool = False,
    tolerance: float = SINGLE_TOLERANCE,
) -> R:
    """Determinism, purity, batch independence, precision, devices, and saving, for components that are modules.

    Args:
        subject: The component.
        call: Runs a component on a batch.
        batch: Two or more faces.
        per_face: The result has one entry per face.
        double: The component promises float64.
        tolerance: Of comparisons between different computations of the same thing, relative.

    Returns:
        The component's result.
    """
    component = subject.component
    check_registered_tensors(subject, component)
    before, random_state = copy.deepcopy(batch), torch.get_rng_state()
    result = call(component, batch)
    subject.require_same(batch, before, 0.0, "must not change its input")
    subject.require_finite(result, "the result")
    subject.require_same(call(component, batch), result, 0.0, "must give the same result twice")
    subject.require(torch.equal(torch.get_rng_state(), random_state), "must not draw from torch's global random state")
    if per_face:
        count = len(next(iter(tensors_of(batch).values())))
        for face in (0, count - 1):
            pick = itemgetter(slice(face, face + 1))
            promise = "a face must not depend on the others of its batch"
            subject.require_same(call(component, changed(batch, pick)), changed(result, pick), tolerance, promise)
    _check_saving_and_moving(subject, lambda module: call(module, batch), result)
    _check_precision(subject, call, batch, result, double, tolerance)
    _check_devices(subject, call, batch, result, tolerance)
    return result


def check_registered_tensors(subject: Subject[C], module: nn.Module) -> None:
    """Tensors must be parameters or buffers, otherwise ``.to(device)`` and ``state_dict`` leave them behind."""
    for path, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute not in ("_parameters", "_buffers", "_modules"):
                where = f"{path}.{attribute}".lstrip(".")
                held = any(isinstance(leaf, Tensor) for leaf in leaves_of(value))
                subject.require(not held, f"'{where}' holds a plain tensor: use register_buffer")


def _check_saving_and_moving(subject: Subject[M], call: Callable[[M], object], result: object) -> None:
    state = {key: tensor.clone() for key, tensor in subject.component.state_dict().items()}
    again = subject.build()
    again.load_state_dict(state)
    subject.require_same(call(again), result, 0.0, "parameters and state_dict must rebuild the same component")
    left = [key for key, tensor in again.to("meta").state_dict().items() if tensor.device.type != "meta"]
    subject.require(not left, f".to(device) must move {', '.join(left)}")


def _check_precision(
    subject: Subject[M], call: Callable[[M, T], object], batch: T, result: object, double: bool, tolerance: float
) -> None:
    wrong = [key for key, tensor in tensors_of(result).items() if tensor.dtype == torch.float64]
    subject.require(not wrong, f"float32 in must give float32 out, got float64 in {', '.join(wrong)}")
    if double:
        precise = call(twin_of(subject).double(), as_double(batch))
        wrong = [key for key, tensor in tensors_of(precise).items() if tensor.dtype in (torch.float16, torch.float32)]
        subject.require(not wrong, f"float64 in must give float64 out, got less in {', '.join(wrong)}")
        subject.require_same(result, precise, tolerance, "float32 must agree with float64")


def _check_devices(
    subject: Subject[M], call: Callable[[M, T], object], batch: T, result: object, tolerance: float
) -> None:
    if torch.cuda.is_available():
        on_gpu = call(twin_of(subject).cuda(), changed(batch, Tensor.cuda))
        stayed = [key for key, tensor in tensors_of(on_gpu).items() if not tensor.is_cuda]
        subject.require(not stayed, f"the result must be on the input's device, {', '.join(stayed)} is not")
        # cuBLAS and cuDNN may use TF32 and other orders of summation
        subject.require_same(on_gpu, result, 10 * tolerance, "the GPU must agree with the CPU")


def gradient_of(subject: Subject[C], output: Tensor, inputs: Tensor, promise: str) -> Tensor:
    """Gradient of a weighted sum, which must exist, be finite and not vanish everywhere."""
    subject.require(output.requires_grad, f"{promise}: the result is cut off from the graph")
    # weights, because the plain sum of a normalised output has no gradient
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype, device=output.device).view_as(output)
    (gradient,) = torch.autograd.grad((output * weights).sum(), inputs, allow_unused=True, retain_graph=True)
    subject.require(gradient is not None, f"{promise}: no gradient arrives")
    subject.require(gradient.isfinite().all(), f"{promise}: the gradient is not finite")
    subject.require(gradient.abs().sum() > 0, f"{promise}: the gradient is zero everywhere")
    return gradient
