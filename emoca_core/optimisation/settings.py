"""What a user may choose about an optimisation, besides its photos, terms, unknowns and backbones."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from emoca_core.interfaces import Block
from emoca_core.registry.spec import SettingsModel
from emoca_core.rendering.masks import Background

Optimizer = Literal["sgd", "adam", "lbfgs"]
OPTIMIZER_RATES: Mapping[Optimizer, float] = {"sgd": 0.01, "adam": 0.05, "lbfgs": 1.0}
"""Learning rates by default. SGD's is the published one."""
MOST_STEPS = 100_000


class OptimisationSettings(SettingsModel):
    """How an energy is descended.

    Source: EMOCA (Danecek et al., CVPR 2022), supplementary material, section 4, and its public code.
    """

    optimizer: Optimizer = "adam"
    """``sgd`` is the published one, whose step depends on how large the judge's features are."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Of standard deviations of the unknowns; by default 0.01 for sgd, 0.05 for adam, 1 for lbfgs."""
    learning_rates: dict[Block, float] = Field(default_factory=dict)
    """Of some blocks, in place of ``learning_rate``; not for lbfgs, which has one step for all."""
    steps: int = Field(default=1000, ge=1, le=MOST_STEPS)
    """At most so many."""
    patience: int = Field(default=20, ge=1, le=MOST_STEPS)
    """Stop after so many steps without a better energy."""
    goal: float = 1e-6
    """Stop below this energy."""
    size: int = Field(default=128, ge=16, le=1024)
    """Side of the pictures that the judges look at, pixels."""
    background: Background = "none"
    """Around the face: ``none`` shows the whole rendered head on black, as published; ``black`` its face alone;
    ``input`` its face in the target's photo."""
    detail: bool = False
    """Whether the judges look at the picture with wrinkles."""

    def rate_of(self, block: Block) -> float:
        """Learning rate of a block."""
        default = self.learning_rate or OPTIMIZER_RATES[self.optimizer]
        return self.learning_rates.get(block, default)
