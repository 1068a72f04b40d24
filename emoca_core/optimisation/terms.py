"""The terms of an energy: those of the paper by default."""

from collections.abc import Mapping, Sequence

from emoca_core.interfaces import FaceParameters
from emoca_core.optimisation.unknowns import DEVIATIONS
from emoca_core.registry.merging import merge

PRIOR = 1e-3
"""Weight of the squared length of the expression, in standard deviations."""
JAW = 1.0
"""Weight of the jaw's distance from its reference, radians squared."""


def default_terms(code: FaceParameters) -> dict[str, object]:
    """||a(picture) - a(photo)|| + 1e-3 ||psi||^2, where psi counts standard deviations.

    Activations are taken to have one of 0.2, as in the open recipes.

    Source: EMOCA (Danecek et al., CVPR 2022), supplementary material, section 4.
    """
    weight = 2 * PRIOR / DEVIATIONS[code.unit_of("expression")] ** 2  # code_prior is half the squared length
    return {
        "emotion": {"uses": "emotion_consistency", "params": {"metric": "euclidean"}},
        "expression_prior": {"uses": "code_prior", "weight": weight, "params": {"block": "expression"}},
    }


def jaw_term(reference: Sequence[float], weight: float = JAW, **params: object) -> dict[str, object]:
    """A term that keeps the jaw near a reference.

    Args:
        reference: Axis-angle, radians.
        weight: Of the term.
        **params: Of the loss ``jaw_prior``: ``angles``, ``metric``.
    """
    return {"uses": "jaw_prior", "weight": weight, "params": {"reference": [*reference], **params}}


def changed_terms(terms: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Terms with changes merged into them; ``null`` takes one away."""
    return merge(terms, changes)
