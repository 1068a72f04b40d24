"""DECA: coarse FLAME code from one photo."""

from jaxtyping import Float
from torch import Tensor

from emoca_core.images.resize import resized
from emoca_core.interfaces import Block, Encoder, FaceCrop, FaceParameters, WeakPerspectiveCamera
from emoca_core.weights.checkpoints import KeyMap, WeightsParams, load_published
from emoca_plugins.encoders.box_crops import EmocaCrop
from emoca_plugins.encoders.code_network import CoefficientRegressor
from emoca_plugins.encoders.network_output import split_code

LAYOUT: dict[Block, int] = {
    "shape": 100,
    "albedo": 50,
    "expression": 50,
    "global_pose": 3,
    "jaw_pose": 3,
    "camera": 3,
    "lighting": 27,
}
"""Order and sizes of the 236 outputs of ``E_flame``."""

GEOMETRY = "a copy of FLAME's geometry or texture; the user's own assets are taken instead"
NOT_ENCODERS = {
    r"(E_detail|D_detail)\.": "belongs to the detail model",
    r"(flame|flametex|render)\.": GEOMETRY,
    r"(uv_face_eye_mask|uv_face_mask|fixed_uv_dis)$": GEOMETRY,
    r"\w*loss\w*\.": "a loss of the training",
    r"displacement_mask$": "a mask of the training's detail; the user's own assets are taken instead",
    r"(emotion_)?mlp\.": "emotion head on top of the codes",
    r"(opt|optimizer\w*|sched\w*|lr_schedulers|callbacks|loops|global_step|epoch)(\.|$)": "state of the training",
}
"""What DECA's and EMOCA's files hold besides encoders -> why it is left out."""
WRAPPERS = ("state_dict.", "module.", "deca.", "deca.")
"""Leading parts of names in files of DECA (none), EMOCA (Lightning) and EMOCA's emotion probes."""
KEYS = KeyMap(
    strip=(*WRAPPERS, "E_flame.", "module."),
    rename={r"(?=encoder\.|layers\.)": "network."},
    drop={**NOT_ENCODERS, r"E_expression\.": "belongs to EMOCA"},
)


class Deca(Encoder):
    """ResNet-50 to FLAME shape, albedo, expression, pose, weak-perspective camera and light.

    Source: Feng et al., "Learning an Animatable Detailed 3D Face Model from In-The-Wild Images" (DECA), SIGGRAPH 2021;
    weights ``E_flame`` of ``deca_model.tar``. Input RGB in [0, 1], 224 px.
    """

    class Params(WeightsParams):
        """Parameters of ``deca``."""

    params: Params
    blocks = LAYOUT
    crop_rule = EmocaCrop()

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.network = CoefficientRegressor(LAYOUT)
        self.load_report = load_published(self, "deca", self.params.weights, KEYS)

    def forward(self, crop: FaceCrop) -> FaceParameters:
        return parameters_from_code(self.network(resized(crop.image, self.crop_rule.size)))


def parameters_from_code(code: Float[Tensor, "B 236"]) -> FaceParameters:
    """The named blocks of DECA's output; units and conventions are the project's own."""
    part = split_code(code, LAYOUT)
    camera, lighting = WeakPerspectiveCamera.from_code(part.pop("camera")), part.pop("lighting").reshape(-1, 9, 3)
    return FaceParameters(camera=camera, lighting=lighting).replace(**part)
