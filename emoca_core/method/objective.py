"""The objective of a recipe: its terms, built, weighted and named. For training, and for whatever else descends it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_core.errors import EmocaError, RecipeError
from emoca_core.interfaces import Capture, Loss
from emoca_core.method.assembly import build_term
from emoca_core.method.judges import refuse_random_judges
from emoca_core.method.method import Method
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.catalogue import Catalogue, Recipe, Term, changed, get_catalogue
from emoca_core.registry.terms import Stage, terms_of, unavailable, unfilled


@dataclass(frozen=True)
class Losses:
    """A loss and its named, unweighted parts."""

    total: Float[Tensor, ""]
    parts: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)


class Objective(nn.Module):
    """Terms that drive the training, and terms that are only measured. Frozen, always in evaluation mode.

    It can be evaluated and differentiated outside training as well: ``examples/optimise_emotion.py`` descends it for
    the expression of one photo.

    Example:
        ``objective = Objective.of(method, {"emotion": {"uses": "emotion_consistency"}})``, then
        ``objective(method.decode(crop, parameters)).total.backward()``.

    Attributes:
        losses: The terms by name.
        weights: Factor of every term that drives the training, by name.
        metrics: Names of the terms that are only measured: those declared so, and those of weight 0.
    """

    def __init__(self, terms: Mapping[str, tuple[Term, Loss]]) -> None:
        """Take terms by name, as declared and as built.

        Raises:
            RecipeError: No term drives the training.
        """
        super().__init__()
        self.losses = {name: loss for name, (_, loss) in terms.items()}
        self._modules_of_losses = nn.ModuleList(self.losses.values())  # names may hold dots, module names may not
        driving = {name: term for name, (term, _) in terms.items() if term.role == "loss" and term.weight > 0}
        self.weights = {name: term.weight for name, term in driving.items()}
        self.metrics = tuple(name for name in terms if name not in driving)
        if not driving:
            raise RecipeError(f"no term drives the training: {', '.join(terms) or 'the recipe has none'}")
        self.requires_grad_(False).eval()

    @classmethod
    def of(
        cls,
        method: Method,
        terms: Mapping[str, object] | None = None,
        stage: Stage = "coarse",
        registry: Registry | None = None,
    ) -> "Objective":
        """The objective of a method, on the device of the method.

        Args:
            method: What makes the captures.
            terms: Terms by name, as the ``losses`` of a recipe; by default those of the method's own recipe.
            stage: Which of them count.
            registry: Where the losses are registered; everything installed by default.

        Raises:
            RecipeError: No term drives, a term cannot be built, reads what the method does not fill, or judges by
                random weights.
        """
        registry = registry or get_registry()
        recipe = method.recipe
        if terms is not None:
            recipe = changed(recipe.model_copy(update={"losses": {}}), {"losses": dict(terms)})
        return build_objective(method, recipe, stage, get_catalogue(None, registry), registry, truth=True)

    def train(self, mode: bool = True) -> "Objective":
        """Stay in evaluation mode."""
        return super().train(False)

    def required(self, names: Iterable[str]) -> frozenset[str]:
        """Fields of a capture that some terms read."""
        return frozenset().union(*(self.losses[name].requires for name in names))

    def forward(self, capture: Capture) -> Losses:
        """The weighted sum of the driving terms, and their unweighted values by name."""
        parts: dict[str, Tensor] = {name: self.losses[name](capture) for name in self.weights}
        total = torch.stack([self.weights[name] * value for name, value in parts.items()]).sum()
        return Losses(total, parts)

    @torch.no_grad()
    def values(self, capture: Capture) -> dict[str, Tensor]:
        """All terms, unweighted, by name."""
        return {name: loss(capture) for name, loss in self.losses.items()}

    @torch.no_grad()
    def measure(self, capture: Capture) -> dict[str, Tensor]:
        """The terms that are only measured, by name."""
        return {name: self.losses[name](capture) for name in self.metrics}


def build_objective(
    method: Method, recipe: Recipe, stage: Stage, catalogue: Catalogue, registry: Registry, *, truth: bool
) -> Objective:
    """Build the terms of a stage, on the device of the method.

    Args:
        method: What makes the captures.
        recipe: With its terms.
        stage: Which of them count.
        catalogue: For presets.
        registry: For components.
        truth: Whether the data know the true code.

    Raises:
        RecipeError: A term cannot be built, or reads what this stage cannot fill; the message lists all reasons. Or
            terms judge by random weights.
    """
    parts = method.parts()
    terms: dict[str, tuple[Term, Loss]] = {}
    reasons = []
    for name, term in terms_of(recipe, stage).items():
        try:
            terms[name] = term, build_term(term, parts, catalogue, registry)
        except (EmocaError, ValueError) as error:
            reasons.append(f"term '{name}' cannot be built: {error}")
    empty = unavailable(parts, stage, truth)
    reasons += unfilled({name: loss.requires for name, (_, loss) in terms.items()}, empty)
    if reasons:
        raise RecipeError("\n  ".join([f"the objective of the {stage} stage cannot be computed:", *reasons]))
    objective = Objective(terms).to(method.device)
    refuse_random_judges(method, terms, catalogue, registry)
    return objective
