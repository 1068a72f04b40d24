"""A package that adds a kind of components: what it takes is in this folder, and nothing of it in the framework."""

import importlib.resources

from emoca_core import ComponentSpec, hookimpl
from emoca_core.registry.kinds import KindSpec

VOICE = KindSpec(
    name="voice",
    summary="face code to sound",
    interface="voice_kind.voice:Voice",
    place="optional",
    check="voice_kind.voice:check",
    template="voice_kind:template.py.txt",
    example="Hums the expression.",
)


@hookimpl
def emoca_kinds():
    return [VOICE]


@hookimpl
def emoca_components():
    return [
        ComponentSpec("voice", "hum", "voice_kind.voice:Hum"),
        ComponentSpec("voice", "flat", "voice_kind.voice:Flat"),
    ]


@hookimpl
def emoca_catalogues():
    return [importlib.resources.files(__name__) / "registry.yaml"]
