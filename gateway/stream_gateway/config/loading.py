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


def read_named(path: str, key: str) -> str:
    """The text of a file that a key of the configuration names: a secret, keys.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"key `{key}`: {path} cannot be read: {error}.") from None


def config_from_toml(text: str, *, where: str = "config", environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration from TOML text; `where` is how errors call it.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}.") from None
    reader = _Reader(where)
    reader.merge_environment(data, os.environ if environ is None else environ)
    # Named tables one by one, because the error of a whole one would not name the entry.
    tables = {
        "providers": reader.table(data.pop("providers", {}), ProviderSettings, "providers"),
        "routes": reader.table(data.pop("routes", {}), RouteSettings, "routes"),
        "chunking": reader.chunkers(data.pop("chunking", {})),
    }
    sections = reader.convert(data, Config, "")
    if reader.problems:
        raise ConfigError(*reader.problems)
    config: Config = msgspec.structs.replace(sections, **tables)
    check(config, where)
    return config


class _Reader:
    """Makes settings of what TOML says, and goes on after a mistake, so that all of them are told at once.

    Attributes:
        problems: what is wrong, in sentences.
    """

    def __init__(self, where: str) -> None:
        self.problems: list[str] = []
        self._where = where
        self._variables: dict[str, str] = {}  # by the key that each has set

    def merge_environment(self, data: dict[str, Any], environ: Mapping[str, str]) -> None:
        """Put what the environment says over what the file says."""
        sections = get_type_hints(Config)
        known = [name for name, hint in sections.items() if hasattr(hint, "__struct_fields__")]
        for name, value in environ.items():
            section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
            if not name.startswith(ENV_PREFIX) or not key:
                continue
            if section not in known:
                self.problems.append(
                    f"environment variable {name}: there is no section `{section}`; known: {', '.join(known)}."
                )
                continue
            try:
                parsed = json.loads(value)
            except ValueError:
                parsed = value
            table = data.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed
                self._variables[f"{section}.{key}"] = name

    def table(self, data: Any, kind: type[Any], key: str) -> dict[str, Any]:
        """Named entries of one kind."""
        if not isinstance(data, dict):
            self.problems.append(f"{self._where}: key `{key}`: expected a table.")
            return {}
        return {name: self.convert(entry, kind, f'{key}."{name}"') for name, entry in data.items()}

    def chunkers(self, data: Any) -> dict[str, ChunkerSettings]:
        """Whatever else stands beside `class` is for the class to know."""
        found = {}
        for name, entry in self.table(data, dict[str, Any], "chunking").items():
            options = {key: value for key, value in (entry or {}).items() if key != "class"}
            plain = {"class": entry["class"]} if entry and "class" in entry else {}
            if entry is not None:
                key = f'chunking."{name}"'
                found[name] = self.convert({**plain, "options": options}, ChunkerSettings, key)
        return found

    def convert(self, data: Any, kind: type[Any], key: str) -> Any:
        """Settings; None when something is wrong with them."""
        good = True
        excused: set[str] = set()  # what is missing because it was taken out, or misspelt
        while True:
            try:
                made = msgspec.convert(data, kind)
            except msgspec.ValidationError as error:
                what, _, path = str(error).partition(" - at `$")
                path = path.removesuffix("`")
                missing = _MISSING.fullmatch(what)
                if missing is not None:
                    if f"{path}.{missing[1]}" not in excused:
                        self.problems.append(_explain(what, path, kind, key, self._place(what, path, key)))
                    return None
                good = False
                self.problems.append(_explain(what, path, kind, key, self._place(what, path, key)))
                unknown = _UNKNOWN.fullmatch(what)
                excused.add(path if unknown is None else f"{path}.{_nearest(unknown[1], _keys(kind, path))}")
                if not _take_out(data, path if unknown is None else f"{path}.{unknown[1]}"):
                    return None
            else:
                return made if good else None

    def _place(self, what: str, path: str, key: str) -> str:
        """Where the key of msgspec's sentence was set: the file, or a variable of the environment."""
        unknown = _UNKNOWN.fullmatch(what)
        full = (key + path).removeprefix(".") + ("" if unknown is None else f".{unknown[1]}")
        variable = self._variables.get(full)
        return self._where if variable is None else f"environment variable {variable}"


_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`")


def _take_out(data: Any, path: str) -> bool:
    """Remove the key at a path as msgspec writes it, so that the others are looked at; False when it is no key."""
    *way, last = re.findall(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])", path) or [("", "", "")]
    if not last[0] or any(anywhere for *_, anywhere in way):  # an item; or in one, and msgspec does not say in which
        return False
    for field, index, _ in way:
        data = data[field] if field else data[int(index)]
    del data[last[0]]
    return True


def _explain(what: str, path: str, kind: type[Any], key: str, where: str) -> str:
    """msgspec's sentence, with file, full key, and the nearest key that would have been right."""
    full = (key + path).removeprefix(".")
    unknown = _UNKNOWN.fullmatch(what)
    if unknown is None:
        if what.startswith("Invalid enum value"):
            what += f"; expected {_choices(kind, path)}"
        return f"{where}: key `{full}`: {what[:1].lower()}{what[1:]}."
    allowed = _keys(kind, path)
    close = _nearest(unknown[1], allowed)
    hint = f"did you mean `{close}`?" if close else f"known here: {', '.join(allowed)}."
    return f"{where}: key `{full + '.' if full else ''}{unknown[1]}` is not known; {hint}"


def _nearest(name: str, allowed: list[str]) -> str:
    """The name that was probably meant; empty when there is none."""
    return next(iter(difflib.get_close_matches(name, allowed, 1)), "")


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
