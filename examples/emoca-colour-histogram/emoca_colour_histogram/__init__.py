"""An EMOCA Core plugin. This module is light: it is imported to list the components."""

import importlib.resources

from emoca_core import ComponentSpec, hookimpl


@hookimpl
def emoca_components():
    """What this package offers; the module behind the name is imported when it is first used."""
    return [ComponentSpec("emotion_backbone", "colour_histogram", "emoca_colour_histogram.backbone:ColourHistogram")]


@hookimpl
def emoca_catalogues():
    """The card of the component."""
    return [importlib.resources.files(__name__) / "registry.yaml"]
