"""The components of one method, handed to those that work with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from emoca_core.errors import RecipeError
from emoca_core.interfaces.component import Component
from emoca_core.interfaces.detail import DetailModel
from emoca_core.interfaces.emotion import EmotionBackbone
from emoca_core.interfaces.face_model import FaceModel
from emoca_core.interfaces.landmarker import Landmarker
from emoca_core.interfaces.renderer import Renderer
from emoca_core.interfaces.tracker import Tracker
from emoca_core.registry.spec import Kind


@dataclass(frozen=True)
class Parts:
    """What an encoder or a loss may work with: the other parts of its method, built by the same registry.

    Attributes:
        face_model: Parameters to geometry and albedo.
        renderer: Geometry to pixels.
        landmarker: Finds faces, if the method has it.
        tracker: Detections of successive frames to tracks, if the method has it.
        detail: Detail code and displacement, if the method has it.
        emotion_backbone: Reads emotion in pictures, if the method has it.
        others: Parts of kinds that plugins add, by kind.

    Example:
        ``parts = Parts(registry.build("face_model", "open_head"), registry.build("renderer", "zbuffer"))``, then
        ``registry.build("encoder", "regressor", {"weights": "random"}, parts)``.
    """

    face_model: FaceModel
    renderer: Renderer
    landmarker: Landmarker | None = None
    tracker: Tracker | None = None
    detail: DetailModel | None = None
    emotion_backbone: EmotionBackbone | None = None
    others: Mapping[Kind, Component] = field(default_factory=dict)

    @classmethod
    def of(cls, components: Mapping[Kind, Any]) -> "Parts":
        """From components by kind; the encoder, which works with the others, is left out.

        Raises:
            RecipeError: There is no face model or no renderer.
        """
        if missing := [kind for kind in ("face_model", "renderer") if components.get(kind) is None]:
            raise RecipeError(f"the parts of a method work with its {' and '.join(missing)}, which is not there")
        own = {name.name for name in fields(cls)} - {"others"}
        known = {kind: part for kind, part in components.items() if kind in own}
        others: dict[Kind, Any] = {k: part for k, part in components.items() if k not in own and k != "encoder"}
        return cls(**known, others=others)
