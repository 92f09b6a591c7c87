"""Gemini's `Schema`, a dialect of OpenAPI 3.0, as JSON schema; the other way is not needed: Gemini takes both."""

from collections.abc import Mapping
from typing import Any, Final

from stream_protocols.dialects.gemini.request import proto

_DROPPED: Final = ("nullable", "example", "propertyOrdering")

_COUNTS: Final = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")

_MAX_DEPTH: Final = 64
"""Levels that are translated; what is nested deeper stays as it is."""


def json_schema(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A JSON schema that says the same: types in lower case, `nullable` as a type, counts as numbers."""
    if depth > _MAX_DEPTH:
        return dict(schema)
    fields = proto(dict(schema))
    result = {name: value for name, value in fields.items() if name not in _DROPPED}
    for name in _COUNTS:  # 64-bit numbers are strings in protocol buffers' JSON
        if isinstance(count := result.get(name), str) and count.isascii() and count.isdigit() and len(count) < 16:
            result[name] = int(count)
    if isinstance(kind := result.get("type"), str):
        if kind == "TYPE_UNSPECIFIED":
            del result["type"]
        else:
            result["type"] = [kind.lower(), "null"] if fields.get("nullable") is True else kind.lower()
    if result.get("format") == "enum":
        del result["format"]
    if isinstance(properties := result.get("properties"), dict):
        result["properties"] = {name: _inner(inner, depth) for name, inner in properties.items()}
    for name in ("items", "additionalProperties"):
        if name in result:
            result[name] = _inner(result[name], depth)
    for name in ("anyOf", "prefixItems"):
        if isinstance(inner := result.get(name), list):
            result[name] = [_inner(one, depth) for one in inner]
    return result


def _inner(schema: Any, depth: int) -> Any:
    return json_schema(schema, depth + 1) if isinstance(schema, dict) else schema
