"""The two networks of a method that applications embed, as functions of plain tensors, and their ONNX files."""

import dataclasses
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.errors import ComponentImportError, EmocaError, RecipeError, first_line
from emoca_core.interfaces import Camera, Encoder, FaceCrop, FaceModel, FaceParameters
from emoca_core.interfaces.samples import frontal_landmarks

TOLERANCE = 1e-4
"""Of the largest number of an output: float32 sums in another order, through some fifty layers."""
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_WRITTEN, _TRIED = 7, 3
"""Faces in the batches with which a file is written and then compared, so that its batch is free. The first is a number
that no network has as a size of its own: torch would take them for the same."""


LANDMARKS = "landmarks.ibug68"
"""Input of encoders that read the 68 points beside the picture: x and y in the crop, [-1, 1] from edge to edge."""


class EncoderNetwork(nn.Module):
    """An encoder as a function of a picture: image [B, 3, H, W] in [0, 1] to the tensors of its code.

    Attributes:
        inputs: ``image``; with ``LANDMARKS`` [B, 68, 2] where the encoder reads them.
        outputs: Blocks, ``camera.<field>`` for the tensors of the camera.
        code: A code of the same structure; a batch of one.

    Raises:
        RecipeError: The encoder reads more than picture and landmarks, or has no weights.
    """

    def __init__(self, encoder: Encoder, size: int) -> None:
        super().__init__()
        more = encoder.needs - {"landmarks"}
        if more or next(encoder.parameters(), None) is None:
            reads = f"reads {', '.join(sorted(more))} beside the picture" if more else "has no weights"
            raise RecipeError(f"{type(encoder).__name__} {reads}: only encoders that are one network can leave torch")
        self.inputs: tuple[str, ...] = ("image", LANDMARKS) if encoder.needs else ("image",)
        self.encoder, self.size = encoder.eval(), size
        with torch.no_grad():
            self.code: FaceParameters = self.encoder(_crop(self.example(1)))
        self.outputs = tuple(name for name, _ in named_tensors(self.code))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """The tensors that ``outputs`` names, in its order."""
        return tuple(tensor for _, tensor in named_tensors(self.encoder(_crop(given))))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Made-up pictures and points, always the same."""
        device = next(self.encoder.parameters()).device
        drawn = torch.Generator().manual_seed(batch)
        image = torch.rand(batch, 3, self.size, self.size, generator=drawn).to(device)
        points = frontal_landmarks() + 0.02 * torch.randn(batch, 68, 2, generator=drawn)
        return (image, points.to(device))[: len(self.inputs)]


def _crop(given: Sequence[Tensor]) -> FaceCrop:
    image, *points = given
    return FaceCrop(image, landmarks={"ibug68": points[0]} if points else {})


class FaceModelNetwork(nn.Module):
    """A face model as a function of blocks, in the order of ``inputs``, to vertices, landmarks and triangles.

    Attributes:
        inputs: Blocks.
        outputs: ``vertices``, ``landmarks.<set>``, ``faces``.
    """

    def __init__(self, face_model: FaceModel, code: FaceParameters) -> None:
        super().__init__()
        self.face_model = face_model.eval()
        read = {name: block for name, block in code.blocks().items() if name in face_model.blocks}
        self.sizes = {name: block.shape[1] for name, block in read.items() if name != "albedo"}
        self.inputs = tuple(self.sizes)
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
        return self._empty.replace(**dict(zip(self.inputs, blocks, strict=True)))


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


Exportable: TypeAlias = EncoderNetwork | FaceModelNetwork


def write_onnx(network: Exportable, path: Path) -> None:
    """Write a network whose batch size is free.

    Raises:
        ComponentImportError: The extra ``onnx`` is not installed.
        EmocaError: torch cannot express the network in ONNX.
    """
    require_onnx()
    example, batch = network.example(_WRITTEN), torch.export.Dim("batch")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                network.eval(),
                example,
                input_names=list(network.inputs),
                output_names=list(network.outputs),
                dynamic_shapes=(tuple({0: batch} for _ in example),),
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


def difference(path: Path, network: Exportable) -> float:
    """The largest difference between a file and its network, relative to the largest number of each output.

    Raises:
        EmocaError: It is above ``TOLERANCE``.
    """
    example = network.example(_TRIED)
    with torch.no_grad():
        expected = network(*example)
    found = run_onnx(path, dict(zip(network.inputs, example, strict=True)))
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
