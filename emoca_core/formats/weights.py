"""Published network weights, recognised by tensors that only one network has."""

from collections.abc import Mapping

from emoca_core.formats.content import BARE, Content
from emoca_core.formats.table import Arrays, Format

_BOOKKEEPING = ("opt_", "opt.", "optimizer", "sched_", "lr_scheduler", "callbacks.", "loops.")
_PREFIXES = ("", "module.", "state_dict.", "state_dict.module.")
"""How the same network is wrapped by different ways to save it."""


def _tensors(content: Content) -> Arrays:
    """Every tensor under its flat published name, without the state of the training."""
    return {name: content.array(name) for name in content.shapes if not name.startswith(_BOOKKEEPING)}


def _network(asset: str, entries: Mapping[str, str], prefixes: tuple[str, ...] = ("",)) -> tuple[Format, ...]:
    return tuple(
        Format(
            name=f"weights_{asset}",
            assets=(asset,),
            entries={f"{prefix}{name}": shape for name, shape in entries.items()},
            convert=_tensors,
            containers=("weights",),
        )
        for prefix in prefixes
    )


_EMOCA = {"E_expression.layers.2.weight": "_ 1024", "E_flame.layers.2.weight": "236 1024"}
_EMOCA_V2 = {**_EMOCA, "flame.lmk_faces_idx_mediapipe": "105"}
_LIGHTNING = ("state_dict.deca.", "deca.")

FORMATS: tuple[Format, ...] = (
    *_network("emoca_v2", _EMOCA_V2, _LIGHTNING),  # before v1, which it contains
    *_network("emoca_v1", _EMOCA, _LIGHTNING),
    *_network("deca", {"E_flame.layers.2.weight": "236 1024"}),
    *_network("deep3dface", {"backbone.conv1.weight": "64 3 7 7"}, ("net_recon.",)),
    *_network("tddfa_mb1", {"conv1.weight": "32 3 3 3", "fc_param.weight": "62 1024"}, _PREFIXES),
    *_network("tddfa_mb05", {"conv1.weight": "16 3 3 3", "fc_param.weight": "62 512"}, _PREFIXES),
    *_network("tddfa_mb1", {"conv1.weight": "32 3 3 3", "fc.weight": "62 1024"}, _PREFIXES),
    *_network("tddfa_mb05", {"conv1.weight": "16 3 3 3", "fc.weight": "62 512"}, _PREFIXES),
    *_network("tddfa_resnet22", {"conv1.weight": "32 3 5 5", "conv_param.weight": "62 512 1 1"}, _PREFIXES),
    *_network("mgcnet", {"resnet_v1_50/logits/weights": "1 1 2048 257"}),
    *_network("expnet_expression", {"exprCNN/exprCNN_fc1/weights": "2048 29"}),
    *_network("expnet_shape", {"shapeCNN/shapeCNN_fc1/weights": "2048 198"}),
    *_network("smirk", {"shape_encoder.shape_layers.0.weight": "300 960"}, ("smirk_encoder.", *_PREFIXES)),
    *_network("emonet_8", {"emo_fc_2.3.weight": "10 128", "bl0.weight": "256 256 1 1"}, _PREFIXES),
    *_network("emonet_5", {"emo_fc_2.3.weight": "7 128", "bl0.weight": "256 256 1 1"}, _PREFIXES),
    Format(
        name="vggface2_resnet50",
        assets=("vggface2_resnet50",),
        entries={
            "conv1.weight": "64 3 7 7",
            "layer4.0.downsample.0.weight": "2048 1024 1 1",
            "fc.weight": "8631 2048",  # the people of VGGFace2
        },
        containers=("pickle",),
        convert=lambda content: {n: content.array(n) for n in content.shapes if not n.startswith("fc.")},
        # the same network with squeeze-and-excitation has two more convolutions in every block
        matches=lambda content: not any(".conv4." in name for name in content.shapes),
    ),
    Format(
        name="expnet_mean",
        assets=("expnet_mean",),
        entries={BARE: "3 224 224"},
        containers=("npy",),
        convert=lambda content: {"mean": content.array(BARE)},
        matches=lambda content: float(content.array(BARE).max()) > 2,  # grey levels up to 255
    ),
)
