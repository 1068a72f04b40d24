"""The conformance kit: one call checks that a component keeps the promises of its kind.

    from emoca_core.testing import check_component

    def test_contract():
        check_component("emotion_backbone", "colour_histogram")

What is checked is written in the module of each kind; what all kinds share is in ``common``. A broken promise is an
``AssertionError`` that says which one. Files that the user has to bring raise ``MissingAssetError``: turn it into a
skip, or test with files of your own.
"""

from collections.abc import Mapping

from emoca_core.interfaces import Component, Parts
from emoca_core.registry import Registry, get_registry
from emoca_core.registry.spec import Kind
from emoca_core.testing.common import Subject, check_declaration

__all__ = ["check_component"]


def check_component(
    kind: Kind,
    name: str,
    params: Mapping[str, object] | None = None,
    registry: Registry | None = None,
    *,
    sample: object = None,
    parts: Parts | None = None,
) -> None:
    """Assert that a component honours the contract of its kind.

    Args:
        kind: Kind of the component.
        name: Its name in the registry.
        params: Parameters to build it with.
        registry: Where it is registered; everything installed by default.
        sample: What to feed it instead of synthetic data: a ``FaceCrop`` of at least two faces for an encoder or a
            detail model, a ``Capture`` for a loss, an RGB photo with a face for a landmarker.
        parts: What an encoder or a loss works with: the face model and renderer of an encoder that inverts them.

    Raises:
        AssertionError: A promise is broken; the message says which one.
        MissingAssetError: It needs a file that is not there.
        ComponentImportError: It, or an optional dependency, cannot be imported.

    Example:
        >>> check_component("loss", "photometric")
    """
    subject: Subject[Component] = Subject(registry or get_registry(), kind, name, dict(params or {}), sample, parts)
    check_declaration(subject)
    subject.registry.kinds[kind].load_check()(subject)
