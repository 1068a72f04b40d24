"""Whether a captured face can be trusted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Quality:
    """One verdict, and what it rests on.

    Attributes:
        verdict: ``"good"``, or ``"doubtful"`` where there is a reason: perhaps no human face, or one that was fitted
            badly.
        reasons: In words, with the figure and what was expected.
        figures: Everything that was looked at, by name; ``None`` where the method or the landmarker does not tell.
    """

    verdict: Literal["good", "doubtful"]
    reasons: tuple[str, ...]
    figures: Mapping[str, float | None]

    @property
    def is_doubtful(self) -> bool:
        """Whether there is a reason for doubt."""
        return self.verdict == "doubtful"

    def describe(self) -> dict[str, Any]:
        """JSON-ready; a figure that is not finite is ``None``."""
        figures = {
            name: round(value, 4) if value is not None and math.isfinite(value) else None
            for name, value in self.figures.items()
        }
        return {"verdict": self.verdict, "reasons": list(self.reasons), "figures": figures}
