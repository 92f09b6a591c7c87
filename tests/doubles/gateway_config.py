"""Configuration texts of a gateway in front of the upstream double."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KEY_VARIABLE = "STREAM_GATEWAY_TEST_KEY"
"""The environment variable that holds the upstream's key."""

Section = Mapping[str, Any]


def gateway_toml(base_url: str, **sections: Section) -> str:
    """A configuration that sends every model name, as it is, to the provider `mock` at `base_url`.

    Events leave as they are (`passthrough`), because most tests count them, and a client that comes late would get
    several as one. Tests of chunking ask for it.

    `sections` are top-level tables: `server={"keepalive": 0.1}`. They replace single keys of the defaults.
    """
    tables: dict[str, Section] = {
        "server": {"host": "127.0.0.1", "port": 0, **sections.get("server", {})},
        "log": {"level": "warning", **sections.get("log", {})},
        "streams": {"chunking": "passthrough", **sections.get("streams", {})},
        "providers.mock": {
            "dialect": "openai_chat",
            "base_url": base_url,
            "api_key_env": KEY_VARIABLE,
            **sections.get("provider", {}),
        },
        "routes.renamed": {"targets": [{"provider": "mock", "model": "mock"}]},
        'routes."*"': {"targets": [{"provider": "mock", "model": "*"}]},
    }
    for name in sections.keys() - {"server", "log", "streams", "provider"}:
        tables[name] = sections[name]
    return "\n".join(_table(name, values) for name, values in tables.items())


def _table(name: str, values: Section) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items()), ""])


def _value(value: Any) -> str:
    """JSON's strings, numbers and lists are TOML's; its objects need other signs."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)
