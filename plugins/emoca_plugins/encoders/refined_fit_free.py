"""``refined_fit`` for commercial use: another judge, weights of synthetic faces alone."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from emoca_core.registry.spec import UsedComponent, uses
from emoca_plugins.encoders.refined_fit import WEIGHTS, RefinedFit, Share

_HELD = ("eyeLook", "jaw", "tongueOut", "cheekPuff", "mouthPucker", "mouthLeft", "mouthRight", "mouthRoll")
_LIMITS = {**dict.fromkeys(_HELD, 0.0), "mouthFrown": 0.14, "mouthLowerDown": 0.2, "mouthSmile": 0.15}


class RefinedFitFree(RefinedFit):
    """``refined_fit`` with the judge ``open_emotion_free``, and weights that were trained on synthetic faces alone.

    Source: this project, docs/open-weights.md.
    """

    class Params(RefinedFit.Params):
        judge: UsedComponent = uses("emotion_backbone", "open_emotion_free")
        """The emotion backbone that looks at the crops."""
        weights: str = "untrained"
        """``untrained`` refuses to work. ``open_emoca_fit_free``: those that come with the project. ``random``: no
        change yet, for training. Else the network's own file, e.g. ``best.safetensors`` of a run of ``emoca train
        coarse``."""
        bound: float = Field(default=0.4, gt=0, le=1)
        """As in ``refined_fit``; what the weights were trained with."""
        limits: dict[str, Share] = Field(default=_LIMITS)
        """Other bounds, by the beginnings of names, as those of ``refined_fit``. This judge also takes lips that are
        rolled in for a smile, and neutral faces for happy ones."""

    params: Params
    shipped: ClassVar[Path] = WEIGHTS.with_name("open_emoca_fit_free.safetensors")
    asset: ClassVar[str] = "refined_fit_free"
