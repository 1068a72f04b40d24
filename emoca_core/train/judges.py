"""No training against noise: a term that judges by random weights is found, and refused.

A network whose weights were learnt says the same when it is built again; one with random weights does not. So the
terms, and the emotion backbone that they look through, are built a second time, with another seed, and must give the
same values. No component has to declare anything for this.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Capture, EmotionBackbone
from emoca_core.method.objective import Objective, build_objective
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Catalogue, Recipe
from emoca_core.registry.terms import Stage, terms_of

TOLERANCE = 1e-4
"""Relative; float32 gives the same weights the same value but for the order of sums."""
EMOTION = "emotion_backbone"


def refuse_random_judges(
    capture: Capture,
    objective: Objective,
    recipe: Recipe,
    stage: Stage,
    parts: Mapping[str, Any],
    catalogue: Catalogue,
    registry: Registry,
    *,
    trained_backbone: bool,
) -> None:
    """Refuse terms whose judges have random weights, unless the recipe says ``untrained: true`` beside their name.

    Args:
        capture: Some faces, with every field that the terms read.
        objective: The terms.
        recipe: With the terms, and with the emotion backbone.
        stage: Of the training.
        parts: Of the method.
        catalogue: For presets.
        registry: For components.
        trained_backbone: Whether the weights of the emotion backbone were loaded after it was built.

    Raises:
        RecipeError: All such terms.
    """
    uses, terms = recipe.parts(), terms_of(recipe, stage)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed((torch.initial_seed() + 1) % 2**63)
        again = build_objective(recipe, stage, parts, catalogue, registry, truth=capture.truth is not None)
        seen = capture
        if EMOTION in uses and not trained_backbone and not uses[EMOTION].untrained:
            params = catalogue.params(EMOTION, uses[EMOTION])
            seen = _seen_by(registry.build("emotion_backbone", uses[EMOTION].uses, params).eval(), capture)
        first, second = objective.values(capture), again.to(capture.crop.image.device).values(seen)
    suspects = [name for name, term in terms.items() if not term.untrained and not _same(first[name], second[name])]
    if suspects:
        raise RecipeError(
            f"the terms {', '.join(suspects)} judge by random weights, which nobody has trained: name trained ones "
            "(--emotion RUN, or `weights` of the component), or say `untrained: true` beside the name of the component"
        )


def _seen_by(backbone: EmotionBackbone, capture: Capture) -> Capture:
    """The capture with what another backbone sees, in the same two pictures."""
    image = capture.crop.image
    shown = capture.picture if capture.picture is not None else capture.rendering and capture.rendering.image
    backbone = backbone.to(image.device)
    return replace(
        capture,
        emotion_of_input=backbone(image),
        emotion_of_rendering=None if shown is None else backbone(shown),
    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=TOLERANCE, atol=1e-10, equal_nan=True)
