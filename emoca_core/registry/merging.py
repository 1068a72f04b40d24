"""Merging plain data, as files of the catalogue, recipes and changes of them go on top of one another."""

from collections.abc import Mapping


def merge(base: Mapping[str, object], change: Mapping[str, object], *, keep_null: bool = False) -> dict[str, object]:
    """Deep merge; ``null`` removes a key; a different ``uses`` replaces the whole block.

    Args:
        base: What to start from.
        change: What goes on top.
        keep_null: Let ``null`` stand for a later merge instead of removing the key now.

    Example:
        >>> merge({"encoder": {"uses": "deca", "params": {"size": 224}}}, {"encoder": {"params": {"size": 112}}})
        {'encoder': {'uses': 'deca', 'params': {'size': 112}}}
    """
    if "uses" in change and change["uses"] != base.get("uses"):
        base = {}
    merged = dict(base)
    for key, value in change.items():
        if value is None and not keep_null:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, Mapping) else {}, value, keep_null=keep_null)
        else:
            merged[key] = value
    return merged
