"""What photos have and a bare head before a smooth background has not: how often, and how much of it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from emoca_core import ComponentParams
from emoca_core.registry.spec import ImageSize

Share = Annotated[float, Field(ge=0, le=1)]


class VarietyParams(ComponentParams):
    """Parameters of ``synthetic_faces`` that make its faces look as those of photos do."""

    variety: Share = 0.0
    """Multiplies every share below: 0, bare heads as in a studio; 1, all of it. Above 0, samples have a ``mask``."""
    hair: Share = 0.85
    """Share of people with hair: caps of any thickness and hairline, half of them with long hair."""
    hats: Share = 0.1
    """Share of faces with a cap, a beanie or a brimmed hat."""
    glasses: Share = 0.2
    """Share of faces with glasses, which may mirror a lamp; every sixth has dark ones."""
    clothes: Share = 0.95
    """Share of faces whose neck stands in shoulders."""
    occluders: Share = 0.2
    """Share of faces with a hand (every other one) or another thing before them."""
    shadows: Share = 0.25
    """Share of faces with a shadow across them."""
    strong_light: Share = 0.3
    """Share of faces under one hard lamp from anywhere in front; ``lighting`` of the code knows of it."""
    shine: Share = 0.5
    """Share of faces whose skin mirrors light."""
    wide_pose: Share = 0.25
    """Share of faces with yaw to 75, pitch to 35 and roll to 40 degrees, all equally often."""
    backgrounds: Path | None = None
    """A folder of photos that stand behind the faces, at any variety; none draws fields, noise and blurred shapes."""
    casts: Share = 0.4
    """Share of pictures with a cast: colours up to 30 % stronger or weaker, gamma 0.65 to 1.5."""
    grey: Share = 0.2
    """Share of pictures without colour."""
    defocus: Share = 0.25
    """Share of pictures out of focus, blurred by up to 2 % of their side (standard deviation)."""
    motion: Share = 0.1
    """Share of pictures blurred along a line of up to 6 % of their side."""
    low_resolution: Share = 0.4
    """Share of pictures with fewer pixels, enlarged again."""
    lowest_resolution: ImageSize = Field(default=40, ge=16)
    """Least side of those, pixels; faces of FER2013 have 48."""
    grain: Share = 0.06
    """Largest standard deviation of the noise of a sensor or film, of the whole range; most pictures have far less."""
    jpeg: Share = 0.5
    """Share of pictures that are compressed as JPEG, with a quality of 20 to 90."""
    hide_landmarks: bool = False
    """Make landmarks NaN, which means not seen, behind hands, hats, dark glasses and other things. Their true places
    are known: learn from them where the network should guess what it cannot see, as detectors do."""

    def share(self, name: str) -> float:
        """Share of the faces that have something, by the name of its parameter."""
        return self.variety * float(getattr(self, name))
