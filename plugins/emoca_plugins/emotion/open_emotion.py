"""The emotion backbone that comes with the project: trained, and ready without any file of yours."""

from pathlib import Path

from pydantic import Field, JsonValue

from emoca_core.registry.spec import ImageSize
from emoca_plugins.emotion.timm_backbone import TimmBackbone

WEIGHTS = Path(__file__).parent / "data" / "open_emotion.safetensors"


class OpenEmotion(TimmBackbone):
    """MobileNetV1 at 96 pixels, trained on FER2013, faces from the web and synthetic faces: for research only.

    Seven expressions, valence and arousal; features as of ``timm``. Give it the face as the shared crop has
    it, or tighter.

    Source: this project, docs/open-weights.md; architecture of Howard et al., MobileNets, 2017.
    """

    class Params(TimmBackbone.Params):
        model: str = "mobilenetv1_100"
        """Name of the network in timm."""
        options: dict[str, JsonValue] = Field(
            default={
                "pad_type": "same",
                "pretrained_cfg_overlay": {"mean": [0.48502, 0.45796, 0.40760], "std": [0.229, 0.224, 0.225]},
            }
        )
        """Arguments of the network itself."""
        weights: str = "open_emotion"
        """``open_emotion``: those that come with the project. Else as of ``timm``."""
        image_size: ImageSize | None = Field(default=96, ge=16)
        """Side to which images are resized, pixels."""

    params: Params

    def _file(self, weights: str) -> Path | None:
        return WEIGHTS if weights == "open_emotion" else super()._file(weights)
