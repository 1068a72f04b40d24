"""Parameters in words: type, range, default and documentation of every field of a ``Params`` model."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from emoca_core.registry.spec import ComponentParams

Schema: TypeAlias = Mapping[str, Any]
"""JSON schema, as pydantic writes it."""
_BOUNDS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}
_TYPES = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "none", "object": "mapping"}


def describe_params(params: type[ComponentParams]) -> Iterator[str]:
    """Lines of text: for each field its name, type with range, default, and documentation."""
    schema = params.model_json_schema()
    yield from _fields(schema, schema.get("$defs", {}), "  ")


def _fields(schema: Schema, definitions: Schema, indent: str) -> Iterator[str]:
    required, inner = schema.get("required", ()), indent + "    "
    for name, field in schema.get("properties", {}).items():
        value = "none" if field.get("default") is None else repr(field["default"])
        default = "required" if name in required else f"default {value}"
        yield f"{indent}{name:<24} {describe_type(field, definitions)}, {default}"
        yield from textwrap.wrap(field.get("description", ""), 120, initial_indent=inner, subsequent_indent=inner)
        for reference in _references(field):
            yield from _fields(definitions[reference], definitions, inner)


def describe_type(schema: Schema, definitions: Schema) -> str:
    """A JSON schema as a short phrase, e.g. ``int >= 1`` or ``one of 'a', 'b'``."""
    if "$ref" in schema:
        target = definitions[_target(schema["$ref"])]
        return describe_type(target, definitions) if "enum" in target else str(target.get("title", "mapping"))
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else None):
        return "one of " + ", ".join(map(repr, choices))
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " or ".join(describe_type(option, definitions) for option in schema[union])
    bounds = () if "prefixItems" in schema else _BOUNDS.items()  # a tuple's length is in its name
    return " ".join([_name(schema, definitions), *(text.format(schema[key]) for key, text in bounds if key in schema)])


def _name(schema: Schema, definitions: Schema) -> str:
    kind = schema.get("type", "any")
    if kind == "array" and "prefixItems" in schema:
        return f"tuple of ({', '.join(describe_type(item, definitions) for item in schema['prefixItems'])})"
    if kind == "array":
        return f"list of {describe_type(schema.get('items', {}), definitions)}"
    if kind == "string" and "format" in schema:
        return str(schema["format"])
    return _TYPES.get(kind, str(kind))


def _references(schema: Schema) -> Iterator[str]:
    """Nested models of a field."""
    if "$ref" in schema:
        yield _target(schema["$ref"])
    for option in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *filter(None, [schema.get("items")])):
        if isinstance(option, Mapping):
            yield from _references(option)


def _target(reference: str) -> str:
    return reference.rpartition("/")[2]
