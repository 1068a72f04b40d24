"""No training against noise: a term that judges by random weights is found, and refused.

A network whose weights were learnt says the same when it is built again; one with random weights does not. So the
terms, and the emotion backbone that they look through, are built a second time, with another seed, and must give the
same values of made-up faces. No component has to declare anything for this.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from emoca_core.errors import RecipeError
from emoca_core.interfaces import Capture, EmotionBackbone, FaceTruth, Loss
from emoca_core.interfaces.samples import sample_crop, sample_parameters
from emoca_core.method.assembly import build_term
from emoca_core.method.method import Method
from emoca_core.registry import Registry
from emoca_core.registry.catalogue import Catalogue, Term
from emoca_core.rendering.masks import Composition

TOLERANCE = 1e-4
"""Relative; float32 gives the same weights the same value but for the order of sums."""


def refuse_random_judges(
    method: Method, terms: Mapping[str, tuple[Term, Loss]], catalogue: Catalogue, registry: Registry
) -> None:
    """Refuse terms whose judges have random weights, unless the recipe says ``untrained: true`` beside their name.

    An emotion backbone into which a state was loaded after it was built counts as trained.

    Args:
        method: With the emotion backbone.
        terms: As declared and as built, by name.
        catalogue: For presets.
        registry: For components.

    Raises:
        RecipeError: All such terms.
    """
    parts, use, backbone = method.parts(), method.recipe.parts().get("emotion_backbone"), method.emotion_backbone
    with torch.random.fork_rng(), torch.no_grad(), _evaluating(method):
        torch.manual_seed((torch.initial_seed() + 1) % 2**63)
        again = {name: build_term(term, parts, catalogue, registry) for name, (term, _) in terms.items()}
        capture = seen = _made_up(method)
        if use is not None and backbone is not None and not (use.untrained or backbone.is_loaded):
            params = catalogue.params("emotion_backbone", use)
            seen = _seen_by(registry.build("emotion_backbone", use.uses, params), capture)
        suspects = [
            name
            for name, (term, loss) in terms.items()
            if not (term.untrained or _agree(loss.eval(), capture, again[name].eval().to(method.device), seen))
        ]
    if suspects:
        raise RecipeError(
            f"the terms {', '.join(suspects)} judge by random weights, which nobody has trained: name trained ones "
            "(--emotion RUN, or `weights` of the component), or say `untrained: true` beside the name of the component"
        )


def _made_up(method: Method) -> Capture:
    """Faces that nobody has encoded, with every field that the method can fill."""
    crop = sample_crop().map(lambda tensor: tensor.to(method.device))
    parameters = sample_parameters(method.encoder.blocks).map(lambda tensor: tensor.to(method.device))
    if method.detail is not None:
        parameters = method.detail(crop, parameters)
    capture = method.decode(crop, parameters, Composition())
    assert capture.geometry is not None
    return replace(capture, truth=FaceTruth(capture.parameters, capture.geometry))


def _seen_by(backbone: EmotionBackbone, capture: Capture) -> Capture:
    """The capture with what another backbone sees, in the same two pictures."""
    image = capture.crop.image
    shown = capture.picture if capture.picture is not None else capture.rendering and capture.rendering.image
    backbone = backbone.eval().to(image.device)
    return replace(
        capture,
        emotion_of_input=backbone(image),
        emotion_of_rendering=None if shown is None else backbone(shown),
    )


def _agree(loss: Loss, capture: Capture, again: Loss, seen: Capture) -> bool:
    """Whether a term says the same as when it is built again; by its weights, where made-up faces tell it nothing."""
    try:
        return _same(loss(capture), again(seen))
    except (ValueError, KeyError):
        state, other = loss.state_dict(), again.state_dict()
        return all(_same(state[name], other[name]) for name in state)


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=TOLERANCE, atol=1e-10, equal_nan=True)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
