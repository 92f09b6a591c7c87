"""Providers' keys: from where the configuration says, and never from the configuration itself."""

import os
import re
from typing import Final

from stream_gateway.config import ConfigError, ProviderSettings, read_named

REDACTED: Final = b"[redacted]"

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def read_key(name: str, settings: ProviderSettings) -> str | None:
    """A provider's key from where the configuration says, or None when it needs none.

    Raises:
        ConfigError: the variable is not set, or the file cannot be read.
    """
    if settings.api_key_env:
        if not _VARIABLE.fullmatch(settings.api_key_env):
            # Not shown: whoever mistakes this for the key itself should not find that in a log.
            raise ConfigError(f'key `providers."{name}".api_key_env`: expected the name of an environment variable.')
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f'key `providers."{name}".api_key_env`: the environment variable '
                f"{settings.api_key_env} is not set; set it to the provider's key."
            )
        return _clean(key, f'`providers."{name}".api_key_env`')
    if settings.api_key_file:
        key = read_named(settings.api_key_file, f'providers."{name}".api_key_file').strip()
        return _clean(key, f'`providers."{name}".api_key_file`')
    return None


def _clean(key: str, where: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise ConfigError(f"key {where}: the provider's key must be one line of printable ASCII without spaces.")
    return key


class Redactor:
    """Takes a key out of a provider's body: what quotes it shall not tell it to clients, however its bytes are cut."""

    def __init__(self, key: str | None) -> None:
        self._key = (key or "").encode()
        self._held = b""  # the end of what has come, as far as it is how the key begins

    def whole(self, body: bytes) -> bytes:
        """A body without the key."""
        return body.replace(self._key, REDACTED) if self._key and self._key in body else body

    def feed(self, data: bytes) -> bytes:
        """More of a body, as far as that is known to be without the key."""
        data = self.whole(self._held + data)
        self._held = b""
        if self._key and not data.endswith(b"\n"):  # as nearly every read ends; a key has no line end in it
            begun = next((size for size in range(len(self._key) - 1, 0, -1) if data.endswith(self._key[:size])), 0)
            data, self._held = data[: len(data) - begun], data[len(data) - begun :]
        return data

    def close(self) -> bytes:
        """What was held back, when the body has ended."""
        held, self._held = self._held, b""
        return held
