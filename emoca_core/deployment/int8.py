"""An ONNX encoder in 8 bits: a quarter of the size, and what that costs in millimetres."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.deployment.onnx_networks import EncoderNetwork, run_onnx
from emoca_core.interfaces import FaceModel


class _Crops:
    """The crops one after the other, as onnxruntime asks for them."""

    def __init__(self, images: Float[Tensor, "N 3 H W"]) -> None:
        self._images = iter(images.cpu().numpy())

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch of one; ``None`` at the end."""
        image = next(self._images, None)
        return None if image is None else {"image": image[None]}


def write_int8(whole: Path, calibration: Float[Tensor, "N 3 H W"], path: Path) -> None:
    """Quantise weights by channel, and activations by the ranges that they have on some faces.

    Args:
        whole: The file in float32.
        calibration: Crops; ten different faces are enough for ranges.
        path: The file to write.
    """
    from onnxruntime.quantization import QuantType, quantize_static, shape_inference

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        shape_inference.quant_pre_process(str(whole), str(prepared))
        quantize_static(
            str(prepared),
            str(path),
            _Crops(calibration),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        )


def int8_cost_mm(
    whole: Path, small: Path, network: EncoderNetwork, face_model: FaceModel, images: Float[Tensor, "N 3 H W"]
) -> float:
    """Mean distance between the vertices of two encoder files on the same crops, millimetres; head pose included."""

    def vertices(path: Path) -> Float[Tensor, "N V 3"]:
        found = iter(run_onnx(path, {"image": images}))
        with torch.no_grad():
            code = network.code.map(lambda _: next(found).to(face_model.faces.device))
            return face_model(code).vertices

    return 1000 * float((vertices(whole) - vertices(small)).norm(dim=-1).mean())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
