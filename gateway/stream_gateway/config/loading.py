"""From a TOML file and the environment to a `Config`, or to one sentence about what is wrong.

Any scalar can be set by the environment: `STREAM_GATEWAY_SERVER__PORT=9000` is `server.port = 9000`.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec

from stream_gateway.config.checks import check
from stream_gateway.config.settings import ChunkerSettings, Config, ConfigError, ProviderSettings, RouteSettings

ENV_PREFIX: Final = "STREAM_GATEWAY_"


def load_config(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file (or none) and the environment.

    Raises:
        ConfigError: the file cannot be read or does not say what it should.
    """
    if path is None:
        return config_from_toml("", environ=environ)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text.") from None
    return config_from_toml(text, where=str(path), environ=environ)


def config_from_toml(text: str, *, where: str = "config", environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration from TOML text; `where` is how errors call it.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}.") from None
    _merge_environment(data, os.environ if environ is None else environ)
    # Named tables one by one, because the error of a whole one would not name the entry.
    tables = {
        "providers": _table(data.pop("providers", {}), ProviderSettings, "providers", where),
        "routes": _table(data.pop("routes", {}), RouteSettings, "routes", where),
        "chunking": _chunkers(_table(data.pop("chunking", {}), dict[str, Any], "chunking", where), where),
    }
    config: Config = msgspec.structs.replace(_convert(data, Config, "", where), **tables)
    check(config, where)
    return config


def _merge_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    sections = get_type_hints(Config)
    for name, value in environ.items():
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if name.startswith(ENV_PREFIX) and key:
            if section not in sections or not hasattr(sections[section], "__struct_fields__"):
                known = ", ".join(kind for kind, hint in sections.items() if hasattr(hint, "__struct_fields__"))
                raise ConfigError(f"environment variable {name}: there is no section `{section}`; known: {known}.")
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = value
            table = data.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed


def _table(data: Any, kind: type[Any], key: str, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: key `{key}`: expected a table.")
    return {name: _convert(entry, kind, f'{key}."{name}"', where) for name, entry in data.items()}


def _chunkers(entries: dict[str, dict[str, Any]], where: str) -> dict[str, ChunkerSettings]:
    """Whatever else stands beside `class` is for the class to know."""
    found = {}
    for name, entry in entries.items():
        options = {key: value for key, value in entry.items() if key != "class"}
        plain = {"class": entry["class"]} if "class" in entry else {}
        key = f'chunking."{name}"'
        found[name] = _convert({**plain, "options": options}, ChunkerSettings, key, where)
    return found


def _convert(data: Any, kind: type[Any], key: str, where: str) -> Any:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), kind, key, where)) from None


def _explain(text: str, kind: type[Any], key: str, where: str) -> str:
    """msgspec's sentence, with file, full key, and the nearest key that would have been right."""
    what, _, path = text.partition(" - at `$")
    full = (key + path.removesuffix("`")).removeprefix(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", what)
    if unknown is None:
        if what.startswith("Invalid enum value"):
            what += f"; expected {_choices(kind, path.removesuffix('`'))}"
        return f"{where}: key `{full}`: {what[:1].lower()}{what[1:]}."
    allowed = _keys(kind, path.removesuffix("`"))
    close = difflib.get_close_matches(unknown[1], allowed, 1)
    hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(allowed)}."
    return f"{where}: key `{full + '.' if full else ''}{unknown[1]}` is not known; {hint}"


def _keys(kind: type[Any], path: str) -> list[str]:
    """The keys that may stand at a path below a section."""
    return list(_at(kind, path).__struct_fields__)


def _choices(kind: type[Any], path: str) -> str:
    """The values that may stand at a path below a section, where only some may."""
    return " or ".join(f"`{choice}`" for choice in get_args(_at(kind, path)))


def _at(kind: Any, path: str) -> Any:
    """The type at a path as msgspec writes it: `.key` for a field, `[0]` or `[...]` for an item of a list."""
    for field in re.findall(r"\.(\w+)|\[[^]]*\]", path):
        kind = get_type_hints(kind)[field] if field else get_args(kind)[0]
        if type(None) in get_args(kind):
            kind = get_args(kind)[0]
    return kind
