"""Emotion optimisation: two photos, an energy, and the code that descends it."""

from emoca_core.optimisation.optimisation import Optimisation, Run, optimise
from emoca_core.optimisation.settings import OptimisationSettings
from emoca_core.optimisation.starts import STARTS
from emoca_core.optimisation.terms import default_terms

__all__ = ["STARTS", "Optimisation", "OptimisationSettings", "Run", "default_terms", "optimise"]
