"""The 52 ARKit expression names, and the project's emotion prototypes in terms of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from emoca_core.errors import unknown_name

ARKIT_NAMES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip
"""Apple's face blendshapes in alphabetical order, the order of every 52-vector of this project.

MediaPipe's Face Landmarker scores are the first 51 of these behind a leading `_neutral`; it has no `tongueOut`.
"Left" is the subject's left.
"""


_SIDE = re.compile("(Left|Right)$")
_SHORTEST = 7
"""Letters of a name from which on anything may stand before it."""


def arkit_name(text: str) -> str | None:
    """The ARKit name that another program's name stands for, whatever its case, prefix, separators or form of side.

    Example:
        >>> [arkit_name(text) for text in ("EyeBlinkLeft", "head.mouth_smile_R", "Wolf3D_jawOpen", "brow")]
        ['eyeBlinkLeft', 'mouthSmileRight', 'jawOpen', None]
    """
    bare, known = re.sub("[^a-z0-9]", "", text.lower()), _bare_names()
    if bare in known:
        return known[bare]
    ends = [name for name in known if len(name) >= _SHORTEST and bare.endswith(name)]
    return known[max(ends, key=len)] if ends else None


@cache
def _bare_names() -> Mapping[str, str]:
    """Letters of each name in lower case, with the whole side and with its first letter."""
    short = {_SIDE.sub(lambda side: side[0][0], name).lower(): name for name in ARKIT_NAMES}
    return short | {name.lower(): name for name in ARKIT_NAMES}


@dataclass(frozen=True)
class EmotionPrototype:
    """How a face shows an emotion at full intensity.

    Attributes:
        name: Name of the prototype, e.g. ``"happy"``.
        emotion: The emotion it stands for; variants such as ``"anger_closed"`` share one.
        action_units: FACS action units shown.
        activations: ARKit name to activation in [0, 1] at intensity 1.
        jaw_open: Jaw rotation as a fraction of the rotation that `jawOpen` stands for.
        gaze_pitch: Rotation of both eyes about x, radians; positive looks down.
    """

    name: str
    emotion: str
    action_units: tuple[str, ...]
    activations: Mapping[str, float]
    jaw_open: float = 0.0
    gaze_pitch: float = 0.0

    def scaled(self, intensity: float) -> "EmotionPrototype":
        """The prototype at another intensity, every activation clamped to [0, 1].

        Args:
            intensity: 0 is neutral, 1 the full expression; up to about 1.3 stays human.

        Raises:
            ValueError: A negative intensity.
        """
        if intensity < 0:
            raise ValueError(f"intensity must not be negative, got {intensity}")
        return EmotionPrototype(
            self.name,
            self.emotion,
            self.action_units,
            MappingProxyType({name: min(1.0, value * intensity) for name, value in self.activations.items()}),
            min(1.5, self.jaw_open * intensity),
            self.gaze_pitch * intensity,
        )

    def vector(self) -> list[float]:
        """Activations of all 52 ARKit shapes in the order of ``ARKIT_NAMES``, the jaw left to ``jaw_open``."""
        return [self.activations.get(name, 0.0) for name in ARKIT_NAMES]


def emotion_prototype(name: str, intensity: float = 1.0) -> EmotionPrototype:
    """One of ``emotion_prototypes()``, by its name; ``intensity`` 0 is neutral, 1 the full expression.

    Raises:
        UnknownNameError: There is no such prototype.
        ValueError: A negative intensity.

    Example:
        >>> emotion_prototype("happy", 0.5).activations["mouthSmileLeft"] > 0.3
        True
    """
    prototypes = emotion_prototypes()
    if name not in prototypes:
        raise unknown_name("emotion prototype", name, prototypes)
    return prototypes[name].scaled(intensity)


@cache
def emotion_prototypes() -> Mapping[str, EmotionPrototype]:
    """All prototypes by name: neutral, the six basic emotions, contempt, and variants.

    Source: Ekman and Friesen's EMFACS combinations of action units; the activations are this project's.
    """
    import yaml

    text = files("emoca_core").joinpath("data/emotion_prototypes.yaml").read_text(encoding="utf-8")
    return MappingProxyType({name: _prototype(name, entry) for name, entry in yaml.safe_load(text).items()})


def _prototype(name: str, entry: Mapping[str, object]) -> EmotionPrototype:
    """Expand the file's shorthand: `mouthSmile` means both sides."""
    activations: dict[str, float] = {}
    shapes = entry.get("shapes") or {}
    assert isinstance(shapes, Mapping)
    for shape, value in shapes.items():
        sides = [shape] if shape in ARKIT_NAMES else [shape + "Left", shape + "Right"]
        for side in sides:
            if side not in ARKIT_NAMES:
                raise unknown_name(f"ARKit shape (prototype '{name}')", side, ARKIT_NAMES)
            activations[side] = float(value)
    units = entry.get("action_units") or []
    assert isinstance(units, list)
    return EmotionPrototype(
        name=name,
        emotion=str(entry.get("emotion", name)),
        action_units=tuple(str(unit) for unit in units),
        activations=MappingProxyType(activations),
        jaw_open=float(str(entry.get("jaw_open", 0.0))),
        gaze_pitch=float(str(entry.get("gaze_pitch", 0.0))),
    )
