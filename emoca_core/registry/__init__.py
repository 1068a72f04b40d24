"""Which parts exist, and what the catalogue says of them: specs, hooks, registry, catalogue, assets, terms."""

from emoca_core.registry.registry import Registry, get_registry

__all__ = ["Registry", "get_registry"]
