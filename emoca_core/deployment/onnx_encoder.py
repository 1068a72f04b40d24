"""``--engine onnx``: an encoder that runs by onnxruntime, kept on disk between runs."""

import hashlib
from pathlib import Path

import platformdirs
import torch
from jaxtyping import Float

from emoca_core.deployment.onnx_networks import LANDMARKS, EncoderNetwork, difference, require_onnx, write_onnx
from emoca_core.errors import RecipeError
from emoca_core.files import atomic_write
from emoca_core.interfaces import Encoder, FaceCrop, FaceParameters
from emoca_core.method import Method
from emoca_core.runs.trained_part import sha256_of_tensors


class OnnxEncoder(Encoder):
    """Another encoder's network by onnxruntime, on the CPU; what it answers is the other's answer to 1e-4."""

    def __init__(self, encoder: Encoder) -> None:
        """Write the network as ONNX, unless it was before, and open it.

        Raises:
            RecipeError: The encoder reads more than picture and landmarks.
            ComponentImportError: The extra ``onnx`` is not installed.
            EmocaError: ONNX cannot express it.
        """
        super().__init__(encoder.params)
        require_onnx()
        import onnxruntime

        self.blocks, self.crop_rule, self.asset_paths = encoder.blocks, encoder.crop_rule, encoder.asset_paths
        self.needs, self._torch = encoder.needs, (encoder,)  # in a tuple, it is no part of this one
        network = EncoderNetwork(encoder, encoder.crop_rule.size)
        self._code = network.code
        self._session = onnxruntime.InferenceSession(str(_kept(network)), providers=["CPUExecutionProvider"])

    def forward(self, crop: FaceCrop) -> FaceParameters:
        """As the other encoder does."""
        given = {"image": crop.image.numpy()}
        if self.needs:
            given[LANDMARKS] = crop.landmarks["ibug68"].numpy()
        outputs = iter(self._session.run(None, given))
        return self._code.map(lambda _: torch.from_numpy(next(outputs)))

    def with_shape(self, crop: FaceCrop, code: FaceParameters, shape: Float[torch.Tensor, "B S"]) -> FaceParameters:
        """As the other encoder does, in torch."""
        return self._torch[0].with_shape(crop, code, shape)

    def encode_frames(self, crop: FaceCrop, person: FaceParameters) -> FaceParameters:
        """In torch where the rest of the code goes along with the shape; else by onnxruntime."""
        other = self._torch[0]
        follows = type(other).with_shape is not Encoder.with_shape
        return other.encode_frames(crop, person) if follows else super().encode_frames(crop, person)


def use_onnx(method: Method) -> Method:
    """The method with its encoder by onnxruntime.

    Raises:
        RecipeError: The encoder is no single network, or the method is on another device.
        ComponentImportError: The extra ``onnx`` is not installed.
    """
    if method.device.type != "cpu":
        raise RecipeError(f"--engine onnx runs on the CPU, and the method is on {method.device}: give --device cpu")
    method.encoder = OnnxEncoder(method.encoder).eval()
    return method


def _kept(network: EncoderNetwork) -> Path:
    """The file of a network with these weights; written once."""
    encoder = network.encoder
    key = f"{type(encoder).__qualname__} {encoder.params!r} {network.size} {torch.__version__}"
    key += sha256_of_tensors(encoder.state_dict())
    name = f"{hashlib.sha256(key.encode()).hexdigest()}.onnx"
    path = Path(platformdirs.user_cache_dir("emoca")) / "onnx" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            write_onnx(network, temporary)
            difference(temporary, network)
    return path
