"""What differs between two configurations, and how much of that a running gateway can take over."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from stream_gateway.config.settings import Config

_LIVE: Final[dict[str, tuple[str, ...] | None]] = {
    "server": ("keepalive", "write_timeout", "drain_timeout"),
    "limits": None,
    "streams": None,
    "sockets": None,
    "cors": None,
    "control": ("token_env", "token_file", "hosts", "gateway_url", "exemplars"),
    "log": ("level",),
    "timeouts": None,
    "providers": None,
    "routes": None,
    "chunking": None,
}
"""Sections, and those of their keys that can change while the gateway runs; None: all. Others need a restart."""


class Changes(msgspec.Struct, frozen=True):
    """What becomes of a new configuration.

    Attributes:
        config: the new one where that is possible, the old one elsewhere.
        applied: keys that differ from the old one.
        not_live: keys that differ from the new one, and need a restart.
    """

    config: Config
    applied: tuple[str, ...]
    not_live: tuple[str, ...]


def changes(old: Config, new: Config) -> Changes:
    """What of `new` can take the place of `old`."""
    sections = {name: _merge(name, getattr(old, name), getattr(new, name)) for name in Config.__struct_fields__}
    config = Config(**sections)
    return Changes(config, tuple(_differences(old, config)), tuple(_differences(config, new)))


def _merge(name: str, old: Any, new: Any) -> Any:
    live = _LIVE.get(name, ())
    return new if live is None else msgspec.structs.replace(old, **{key: getattr(new, key) for key in live})


def _differences(one: Config, other: Config) -> Iterator[str]:
    for name in Config.__struct_fields__:
        before, after = getattr(one, name), getattr(other, name)
        if isinstance(before, dict):
            keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
            yield from (f'{name}."{key}"' for key in keys)
        else:
            keys = [key for key in before.__struct_fields__ if getattr(before, key) != getattr(after, key)]
            yield from (f"{name}.{key}" for key in keys)
