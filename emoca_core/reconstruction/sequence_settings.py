"""What a user may choose about a reconstruction of a clip, besides the recipe."""

from dataclasses import dataclass
from typing import Literal

from emoca_core.errors import ParamsError
from emoca_core.images.crops import CropPolicy
from emoca_core.video.smoothing import DEFAULT_STRENGTH

Which = Literal["largest", "all"] | int
"""Which people of a clip: the one seen largest and longest, everybody, or the one with a number."""


@dataclass(frozen=True)
class SequenceSettings:
    """How people are followed through clips.

    Attributes:
        track: ``"largest"`` is the person who is seen largest and longest, ``"all"`` everybody who is seen long enough;
            a number is that of one of them.
        smooth: How strongly crops and codes are smoothed, [0, 1]; 0 leaves every frame as it was measured.
        crop: ``"native"`` cuts faces as the method was published, ``"shared"`` by one rule for all methods.
        min_score: Faces that the detector is less sure of are not seen, 0 to 1.
        batch_size: Frames that go through the encoder together.

    Raises:
        ParamsError: A value that is not possible.
    """

    track: Which = "largest"
    smooth: float = DEFAULT_STRENGTH
    crop: CropPolicy = "native"
    min_score: float = 0.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("smooth", "min_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParamsError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.track not in ("largest", "all") and not (isinstance(self.track, int) and self.track >= 0):
            raise ParamsError(f"track must be largest, all or a number from 0, got {self.track!r}")
        if self.batch_size < 1:
            raise ParamsError(f"batch_size must be 1 or more, got {self.batch_size}")
