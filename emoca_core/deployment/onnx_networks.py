"""The two networks of a method that applications embed, as functions of plain tensors, and their ONNX files."""

import dataclasses
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.errors import ComponentImportError, EmocaError, RecipeError, first_line
from emoca_core.interfaces import Camera, Encoder, FaceCrop, FaceModel, FaceParameters

TOLERANCE = 1e-4
"""Of the largest number of an output: float32 sums in another order, through some fifty layers."""
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
WRITTEN, _TRIED = 7, 3
"""Faces in the batches with which a file is written and then compared, so that its batch is free. The first is a number
that no network has as a size of its own: torch would take them for the same."""


class EncoderNetwork(nn.Module):
    """An encoder as a function of a picture: image [B, 3, H, W] in [0, 1] to the tensors that ``names`` names.

    Attributes:
        names: Of the outputs: blocks, ``camera.<field>`` for the tensors of the camera.
        code: A code of the same structure; a batch of one.

    Raises:
        RecipeError: The encoder reads more than the picture, or has no weights.
    """

    def __init__(self, encoder: Encoder, size: int) -> None:
        super().__init__()
        if encoder.needs or next(encoder.parameters(), None) is None:
            reads = (
                f"reads {', '.join(sorted(encoder.needs))} beside the picture" if encoder.needs else "has no weights"
            )
            raise RecipeError(f"{type(encoder).__name__} {reads}: only encoders that are one network can leave torch")
        self.encoder, self.size = encoder.eval(), size
        with torch.no_grad():
            self.code: FaceParameters = self.encoder(FaceCrop(self.example(1)))
        self.names = tuple(name for name, _ in named_tensors(self.code))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """The tensors of the code, in the order of ``names``."""
        return tuple(tensor for _, tensor in named_tensors(self.encoder(FaceCrop(image))))

    def example(self, batch: int) -> Float[Tensor, "B 3 H W"]:
        """Made-up pictures, always the same."""
        device = next(self.encoder.parameters()).device
        return torch.rand(batch, 3, self.size, self.size, generator=torch.Generator().manual_seed(batch)).to(device)


class FaceModelNetwork(nn.Module):
    """A face model as a function of blocks, in the order of ``names``, to vertices, landmarks and triangles.

    Attributes:
        names: Of the inputs.
        outputs: Of the outputs: ``vertices``, ``landmarks.<set>``, ``faces``.
    """

    def __init__(self, face_model: FaceModel, code: FaceParameters) -> None:
        super().__init__()
        self.face_model = face_model.eval()
        read = {name: block for name, block in code.blocks().items() if name in face_model.blocks}
        self.names = tuple(name for name in read if name != "albedo")
        self.sizes = {name: read[name].shape[1] for name in self.names}
        self._empty = FaceParameters(units=code.units)
        with torch.no_grad():
            geometry = self.face_model(self._code(self.example(1)))
        self.outputs = ("vertices", *(f"landmarks.{name}" for name in geometry.landmarks), "faces")

    def forward(self, *blocks: Float[Tensor, "B _"]) -> tuple[Tensor, ...]:
        """The tensors that ``outputs`` names, in its order."""
        geometry = self.face_model(self._code(blocks))
        return geometry.vertices, *geometry.landmarks.values(), self.face_model.faces

    def example(self, batch: int) -> tuple[Float[Tensor, "B _"], ...]:
        """Made-up codes, always the same; poses of some degrees."""
        drawn, device = torch.Generator().manual_seed(batch), self.face_model.faces.device
        return tuple(0.1 * torch.randn(batch, size, generator=drawn).to(device) for size in self.sizes.values())

    def _code(self, blocks: Sequence[Tensor]) -> FaceParameters:
        return self._empty.replace(**dict(zip(self.names, blocks, strict=True)))


def named_tensors(code: FaceParameters) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a code in the order in which ``code.map`` meets them, by name."""
    for field in dataclasses.fields(code):
        value = getattr(code, field.name)
        if isinstance(value, Tensor):
            yield field.name, value
        elif isinstance(value, Camera) and dataclasses.is_dataclass(value):
            parts = ((part.name, getattr(value, part.name)) for part in dataclasses.fields(value))
            yield from ((f"{field.name}.{name}", part) for name, part in parts if isinstance(part, Tensor))
        elif isinstance(value, Mapping):
            yield from ((name, part) for name, part in value.items() if isinstance(part, Tensor))


def write_onnx(
    network: nn.Module, example: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    """Write a network whose batch size is free.

    Raises:
        ComponentImportError: The extra ``onnx`` is not installed.
        EmocaError: torch cannot express the network in ONNX.
    """
    require_onnx()
    batch = torch.export.Dim("batch")
    shapes = [{0: batch} for _ in example]
    takes_all = isinstance(network, FaceModelNetwork)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                network.eval(),
                tuple(example),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=(tuple(shapes),) if takes_all else tuple(shapes),
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise EmocaError(f"{path.stem} cannot be written as ONNX: {first_line(error)}") from error
    assert program is not None  # as it is without a path
    program.save(path, external_data=False)


def run_onnx(path: Path, given: Mapping[str, Tensor]) -> list[Tensor]:
    """Outputs of a file for these inputs, on the CPU.

    Raises:
        ComponentImportError: The extra ``onnx`` is not installed.
    """
    require_onnx()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {entry.name for entry in session.get_inputs()}
    arrays = {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in given.items() if name in taken}
    return [torch.from_numpy(output) for output in session.run(None, arrays)]


def difference(path: Path, network: EncoderNetwork | FaceModelNetwork, inputs: Sequence[str]) -> float:
    """The largest difference between a file and its network, relative to the largest number of each output.

    Raises:
        EmocaError: It is above ``TOLERANCE``.
    """
    example = network.example(_TRIED)
    given = (example,) if isinstance(example, Tensor) else example
    with torch.no_grad():
        expected = network(*given)
    found = run_onnx(path, dict(zip(inputs, given, strict=True)))
    worst = max(
        float((a.cpu().double() - b.double()).abs().max() / a.abs().max().clamp_min(1e-12))
        for a, b in zip(expected, found, strict=True)
    )
    if not worst <= TOLERANCE:
        raise EmocaError(f"{path.name} differs from its network by {worst:.1e} of its numbers; at most {TOLERANCE:.0e}")
    return worst


def require_onnx() -> None:
    """Refuse in one line where the packages are missing.

    Raises:
        ComponentImportError: The extra ``onnx`` is not installed.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise ComponentImportError(f"ONNX needs {', '.join(missing)}: pip install 'emoca-core[onnx]'")
