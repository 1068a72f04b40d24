"""``emoca export onnx``: a method's encoder and face model as files that need neither torch nor this project."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from emoca_core.deployment.int8 import int8_cost_mm, write_int8
from emoca_core.deployment.onnx_networks import (
    LANDMARKS,
    EncoderNetwork,
    FaceModelNetwork,
    difference,
    require_onnx,
    write_onnx,
)
from emoca_core.errors import OutputError, RecipeError
from emoca_core.files import atomic_folder, sha256_of, write_json, writing_to
from emoca_core.method import Method
from emoca_core.registry.catalogue import Catalogue

ENCODER, FACE_MODEL, INT8, CARD = "encoder.onnx", "face_model.onnx", "encoder_int8.onnx", "card.json"


@dataclass(frozen=True)
class OnnxCard:
    """What lies in a folder of ``export_onnx``; written to it as ``card.json``.

    Attributes:
        recipe: Name of the method.
        image_size: Side of the square crops that the encoder takes, pixels.
        crop: Name of the rule that cuts them.
        units: What the numbers of each block mean.
        difference: Of each file to its network, relative to the largest number of an output.
        int8_vertex_error_mm: Mean distance of the vertices between the int8 encoder and the whole one on the photos
            that it was calibrated on; ``None`` without one.
        sha256: Of each file.
        licenses: Of every part and file that the networks were made of. All of them bind.
    """

    recipe: str
    image_size: int
    crop: str
    units: Mapping[str, str]
    difference: Mapping[str, float]
    int8_vertex_error_mm: float | None
    sha256: Mapping[str, str]
    licenses: Mapping[str, str]


def export_onnx(
    method: Method, out: Path, catalogue: Catalogue, calibration: Float[Tensor, "N 3 H W"] | None = None
) -> OnnxCard:
    """Write ``encoder.onnx`` (image, for some landmarks too, to blocks), ``face_model.onnx`` and ``card.json``.

    ``face_model.onnx`` makes the mesh of the blocks. All three appear, or none.

    Every file is run by onnxruntime and compared with its network before it counts. Batches may have any size.

    Args:
        method: What ``emoca_core.load_method`` returned; its encoder must be one network.
        out: The folder to make.
        catalogue: With the licences.
        calibration: Face crops as the encoder sees them; with them ``encoder_int8.onnx`` is made as well.

    Raises:
        RecipeError: The encoder reads more than picture and landmarks, or landmarks and is to be calibrated.
        ComponentImportError: The extra ``onnx`` is not installed.
        EmocaError: ONNX cannot express a network, or a file gives other numbers.
        OutputError: ``out`` exists already.
    """
    require_onnx()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already: remove it, or give another --out")
    rule = method.encoder.crop_rule
    encoder = EncoderNetwork(method.encoder, rule.size)
    if calibration is not None and LANDMARKS in encoder.inputs:
        raise RecipeError(f"recipe '{method.name}' reads landmarks: int8 is for encoders that read the picture alone")
    face_model = FaceModelNetwork(method.face_model, encoder.code)
    with writing_to(out), atomic_folder(out) as folder:
        differences = {}
        for name, network in ((ENCODER, encoder), (FACE_MODEL, face_model)):
            write_onnx(network, folder / name)
            differences[name] = difference(folder / name, network)
        cost = None
        if calibration is not None:
            write_int8(folder / ENCODER, calibration, folder / INT8)
            cost = int8_cost_mm(folder / ENCODER, folder / INT8, encoder, method.face_model, calibration)
        card = OnnxCard(
            recipe=method.name,
            image_size=rule.size,
            crop=rule.name,
            units={name: encoder.code.unit_of(name) for name in encoder.code.blocks()},
            difference=differences,
            int8_vertex_error_mm=cost,
            sha256={path.name: sha256_of(path) for path in sorted(folder.glob("*.onnx"))},
            licenses=catalogue.licenses(method.recipe),
        )
        write_json(folder / CARD, asdict(card))
    return card
