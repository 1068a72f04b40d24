"""Published weights of encoders, recognised by tensors that only one network has."""

from emoca_core.formats import BARE, Content, Format, Use, named, network_formats
from emoca_core.formats.networks import WRAPPERS

_E_FLAME = {"E_flame.layers.2.weight": "236 1024"}
_EMOCA = {**_E_FLAME, "E_expression.layers.2.weight": "_ 1024"}
_EMOCA_V2 = {**_EMOCA, "flame.lmk_faces_idx_mediapipe": "105"}
_LIGHTNING = ("state_dict.deca.", "deca.")
_SWITCHES = ("exp_deca_global_pose", "exp_deca_jaw_pose")


def _some_switch(content: Content) -> dict[str, bool]:
    """A checkpoint that does not say which pose it has can be added; who uses it has to say."""
    last = [shape for name, shape in content.shapes.items() if name.endswith("E_expression.layers.2.weight")]
    return {"jaw_pose": True, "global_pose": False} if last and last[0][0] == 53 else {}


_READERS = (
    Use("encoder", "emoca", _some_switch),
    Use("detail", "deca", {"mask": "none", "fixed_displacement": "none"}, where="E_detail."),
)
_DECA_READERS = (Use("encoder", "deca"), _READERS[1])


def _tddfa(name: str, first: str, last: tuple[str, ...], shape: str) -> tuple[Format, ...]:
    use = Use("encoder", "tddfa_v2", {"architecture": name, "statistics": "none"})
    entries = [{"conv1.weight": first, f"{layer}.weight": shape} for layer in last]
    return tuple(f for e in entries for f in network_formats(f"tddfa_{name}", e, use, prefixes=WRAPPERS))


FORMATS: tuple[Format, ...] = (
    *network_formats(
        "emoca_v2", _EMOCA_V2, *_READERS, prefixes=_LIGHTNING, switches=_SWITCHES
    ),  # before v1, which it contains
    *network_formats("emoca_v1", _EMOCA, *_READERS, prefixes=_LIGHTNING, switches=_SWITCHES),
    *network_formats("deca", _E_FLAME, *_DECA_READERS),
    *network_formats(
        "deep3dface", {"backbone.conv1.weight": "64 3 7 7"}, Use("encoder", "deep3dface"), prefixes=("net_recon.",)
    ),
    *_tddfa("mb1", "32 3 3 3", ("fc_param", "fc"), "62 1024"),
    *_tddfa("mb05", "16 3 3 3", ("fc_param", "fc"), "62 512"),
    *_tddfa("resnet22", "32 3 5 5", ("conv_param",), "62 512 1 1"),
    *network_formats("mgcnet", {"resnet_v1_50/logits/weights": "1 1 2048 257"}, Use("encoder", "mgcnet")),
    *network_formats(
        "expnet_expression",
        {"exprCNN/exprCNN_fc1/weights": "2048 29"},
        Use("encoder", "expnet", {"shape_weights": "random", "mean_image": "none"}),
    ),
    *network_formats(
        "expnet_shape",
        {"shapeCNN/shapeCNN_fc1/weights": "2048 198"},
        Use("encoder", "expnet", {"weights": "random"}, parameter="shape_weights"),
    ),
    *network_formats(
        "smirk",
        {"shape_encoder.shape_layers.0.weight": "300 960"},
        Use("encoder", "smirk"),
        prefixes=("smirk_encoder.", *WRAPPERS),
    ),
    Format(
        "expnet_mean",
        entries={BARE: "3 224 224"},
        containers=("npy",),
        convert=named("mean"),
        matches=lambda content: float(content.array(BARE).max()) > 2,  # grey levels up to 255
    ),
)
