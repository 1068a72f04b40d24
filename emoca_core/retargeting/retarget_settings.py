"""What a user may choose about a retargeting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from emoca_core.errors import ParamsError, unknown_name
from emoca_core.reconstruction import ClipSettings
from emoca_core.retargeting.curve import Curve
from emoca_core.retargeting.regions import REGIONS
from emoca_core.video.timed import USUAL_RATE

KEPT: Mapping[str, str] = MappingProxyType({"source-pose": "global_pose", "source-gaze": "eye_pose"})
"""What the driver may leave as it is, and the block that holds it."""
_STRONGEST = 5.0


@dataclass(frozen=True)
class RetargetSettings:
    """How a movement is handed on.

    Attributes:
        relative: What is handed on is the difference to the driver's rest, and not what their face looks like.
        rest: Moment of that rest, seconds; ``None`` finds the most neutral frame.
        gain: Factor for each of ``REGIONS``; 1 where there is none.
        keep: Which of ``KEPT`` stays as it is in the source's photo.
        curve: How strongly poses (photos, named emotions) are shown along time.
        rate: Frames a second of poses, and of tables without times; ``None``: 25, or what the table's time code says.
        clip: Which part of clips is read, and who is followed.

    Raises:
        ParamsError: A value that is not possible.
        UnknownNameError: There is no such region, or nothing of that name to keep.
    """

    relative: bool = False
    rest: float | None = None
    gain: Mapping[str, float] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    curve: Curve = field(default_factory=Curve)
    rate: float | None = None
    clip: ClipSettings = field(default_factory=ClipSettings)

    def __post_init__(self) -> None:
        for region, factor in self.gain.items():
            if region not in REGIONS:
                raise unknown_name("region", region, REGIONS)
            if not 0 <= factor <= _STRONGEST:
                raise ParamsError(f"the gain of {region} must be between 0 and {_STRONGEST:g}, got {factor}")
        for name in self.keep:
            if name not in KEPT:
                raise unknown_name("part of the source to keep", name, KEPT)
        if self.rest is not None and not self.relative:
            raise ParamsError("a rest is for what is relative to it: give --relative too")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ParamsError(f"the frame rate must be positive, got {self.rate}")
        if self.clip.track == "all":
            raise ParamsError("one person drives: track must be largest, or a number")

    @property
    def pose_rate(self) -> float:
        """Frames a second of what has no times of its own."""
        return self.rate or USUAL_RATE

    def describe(self) -> dict[str, object]:
        """For records, JSON-ready."""
        return {
            "relative": self.relative,
            "rest": self.rest,
            "gain": dict(self.gain),
            "keep": sorted(self.keep),
            "curve": str(self.curve),
            "rate": self.rate,
            "clip": {name: getattr(self.clip, name) for name in ("start", "end", "every", "track", "smooth", "crop")},
        }
