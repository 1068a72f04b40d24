"""DECA's and EMOCA's detail: a latent code of wrinkles and its decoder into a displacement map."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from emoca_core.errors import AssetFormatError
from emoca_core.formats import open_asset
from emoca_core.images.resize import resized
from emoca_core.interfaces import Block, DetailModel, FaceCrop, FaceParameters
from emoca_core.registry.spec import ImageSize
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, find_all_weights, load_published
from emoca_core.weights.timm_trunk import create_trunk, head_width
from emoca_plugins.detail.deca_files import DECA_FIXED_DISPLACEMENT, DECA_UV_MASK

SIZE = 224
MAP = 256
"""Side of the displacement map."""
MASK, FIXED = "deca_uv_face_eye_mask", "deca_fixed_displacement"
"""Assets that are the same for every face."""
CODE, LATENT = 128, 181
"""Detail code; decoder input: jaw 3, expression 50, detail 128."""
LARGEST = 0.01
"""Bound of the displacement, metres."""
UPSAMPLED = (64, 64, 32, 16)
"""Channels after the decoder's first upsampling step; the first keeps 128."""
DECODER_EPS = 0.8
"""BatchNorm's *eps* of all but the first layer: ``BatchNorm2d(n, 0.8)`` was meant as the momentum, but the published
weights depend on what it does."""
Layers = Callable[[Tensor], Tensor]
CONDITIONS: Mapping[Block, int] = {"jaw_pose": 3, "expression": 50}

KEYS = KeyMap(
    strip=("state_dict.", "module.", "deca.", "deca."),
    rename={r"E_detail\.(module\.)?": "detail_encoder.", r"D_detail\.(module\.)?": "detail_decoder."},
    drop={
        r"(E_flame|E_expression)\.": "belongs to the encoder",
        r"(flame|flametex|render)\.": "a copy of FLAME's geometry or texture; the user's own assets are taken instead",
        r"(uv_face_eye_mask|uv_face_mask|fixed_uv_dis|displacement_mask)$": "UV maps come from the user's own assets",
        r"\w*loss\w*\.": "a loss of the training",
        r"(emotion_)?mlp\.": "emotion head on top of the codes",
        r"(opt|optimizer\w*|sched\w*|lr_schedulers|callbacks|loops|global_step|epoch)(\.|$)": "state of the training",
    },
)


class DetailEncoder(nn.Module):
    """ResNet-50 to the detail code; the architecture of DECA's coarse encoder. Other trunks are for training."""

    def __init__(self, trunk: str = "resnet50") -> None:
        super().__init__()
        self.encoder = create_trunk(trunk, pretrained=False)
        self.layers = nn.Sequential(nn.Linear(head_width(self.encoder), 1024), nn.ReLU(), nn.Linear(1024, CODE))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 128"]:
        """Code of RGB in [0, 1]."""
        return self.layers(self.encoder(image))


class DetailDecoder(nn.Module):
    """Latent vector to a 256 px map: linear layer to 8 px, then five times upsampling, convolution, BatchNorm.

    Every layer adds to the rounding of the one before, and the steep tanh at the end shows it. In evaluation on the CPU
    the decoder therefore computes in float64 inside.
    """

    def __init__(self, latent: int = LATENT) -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(latent, 128 * 8 * 8))
        layers: list[nn.Module] = [nn.BatchNorm2d(128)]
        channels = 128
        for outputs in (128, *UPSAMPLED):
            layers += [
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(channels, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs, eps=DECODER_EPS),
                nn.LeakyReLU(0.2),
            ]
            channels = outputs
        self.conv_blocks = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1), nn.Tanh())

    def forward(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B 1 256 256"]:
        """Displacements in metres."""
        if self.training or latent.device.type != "cpu":
            return self._decode(self.l1, self.conv_blocks, latent)
        precise = self._decode(_in_double(self.l1), _in_double(self.conv_blocks), latent.double())
        return precise.to(latent.dtype)

    @staticmethod
    def _decode(linear: Layers, convolutions: Layers, latent: Tensor) -> Tensor:
        return convolutions(linear(latent).reshape(-1, 128, 8, 8)) * LARGEST


def _in_double(module: nn.Module) -> Layers:
    """The module with its weights in float64; gradients still reach the float32 weights."""
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    double = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    return lambda x: torch.func.functional_call(module, double, x)


class DecaDetail(DetailModel):
    """``E_detail`` and ``D_detail`` of DECA's or EMOCA's checkpoint.

    ``decode`` gives the map of one face. What is the same for all faces, the mask and the fixed displacement, comes
    from two files of its own, never from a checkpoint.

    Source: Feng et al., "Learning an Animatable Detailed 3D Face Model from In-The-Wild Images" (DECA), SIGGRAPH 2021.
    """

    class Params(WeightsParams):
        mask: str | None = None
        """UV picture of the face with eyes, where the displacement applies: name of an asset or path of a file; by
        default the asset ``deca_uv_face_eye_mask``. ``none`` displaces the whole head."""
        fixed_displacement: str | None = None
        """Constant map that hides the mesh's seams: name of an asset or path of a file; by default the asset
        ``deca_fixed_displacement``. ``none`` adds nothing."""
        blend_normals: bool = False
        """Whether pictures show the coarse mesh's normals outside the mask, as DECA does. EMOCA's public code shows the
        detailed mesh's everywhere."""
        trunk: str = "resnet50"
        """Network of timm in the detail encoder; the published weights are of ``resnet50``."""
        image_size: ImageSize = Field(default=SIZE, ge=32)
        """Side to which crops are resized for the detail encoder, pixels."""
        expression_size: int = Field(default=CONDITIONS["expression"], ge=1)
        """Expression coefficients that the decoder reads; the published weights read 50."""

    params: Params
    code_size = CODE
    map_size = MAP

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        options = self.params
        self.blend_normals = options.blend_normals
        maps = {MASK: options.mask, FIXED: options.fixed_displacement}
        paths = find_all_weights({"deca": options.weights, **maps})  # one message for all that is missing
        self.conditions: Mapping[Block, int] = {**CONDITIONS, "expression": options.expression_size}
        self.detail_encoder = DetailEncoder(options.trunk)
        self.detail_decoder = DetailDecoder(sum(self.conditions.values()) + CODE)
        self.load_report = load_published(self, "deca", options.weights, KEYS)
        self.asset_paths = {**self.asset_paths, **{name: paths[name] for name in maps if name in paths}}
        self.register_buffer("mask", _read_mask(paths[MASK]) if MASK in paths else None, persistent=False)
        fixed = _read_fixed_displacement(paths[FIXED]) if FIXED in paths else None
        self.register_buffer("fixed_displacement", fixed, persistent=False)

    def encode(self, crop: FaceCrop) -> Float[Tensor, "B 128"]:
        return self.detail_encoder(resized(crop.image, self.params.image_size))

    def decode(self, parameters: FaceParameters) -> Float[Tensor, "B 1 256 256"]:
        """Displacement along the normal in UV space, metres. Longer expression codes are cut to ``expression_size``.

        Raises:
            UnknownNameError: The code has no jaw pose, expression or detail.
        """
        blocks = [parameters.select([name])[:, :size] for name, size in {**self.conditions, "detail": CODE}.items()]
        return self.detail_decoder(torch.cat(blocks, dim=1))


def _read_mask(path: Path) -> Float[Tensor, "1 1 256 256"]:
    """The first channel of the picture; nearest-neighbour to the map's size. Source: DECA."""
    mask = torch.from_numpy(open_asset(path, DECA_UV_MASK).array("mask").astype(np.float32))
    return F.interpolate(mask[None, None], size=(MAP, MAP), mode="nearest")


def _read_fixed_displacement(path: Path) -> Float[Tensor, "256 256"]:
    """In metres.

    Raises:
        AssetFormatError: It is of another size than the decoder's map.
    """
    values = open_asset(path, DECA_FIXED_DISPLACEMENT).array("displacement").astype(np.float32)
    if values.shape != (MAP, MAP):
        raise AssetFormatError(f"{path} has {' x '.join(map(str, values.shape))} texels, expected {MAP} x {MAP}")
    return torch.from_numpy(values)
