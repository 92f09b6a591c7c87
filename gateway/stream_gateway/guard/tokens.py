"""Stream tokens: good for one stream and a short time, so that a page can watch it without its application's key.

    sgt_STREAM.r.EXPIRES.SIGNATURE      r: read; c: read and cancel; EXPIRES in Unix time

The signature is HMAC-SHA256, so nothing is kept: any gateway that has the secret takes the token. It names nobody: who
gets one may not even know whose stream it is.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from typing import Final

from stream_gateway.config import ConfigError, GuardSettings, read_named
from stream_gateway.guard.credentials import Expired
from stream_gateway.guard.principal import Grant, Principal
from stream_protocols.errors import Unauthorized

PREFIX: Final = "sgt_"

MIN_SECRET: Final = 32
"""Characters: as many bits as hexadecimal digits make of half the hash."""

_TOKEN: Final = re.compile(r"sgt_(?P<stream>[A-Za-z0-9_-]{1,96})\.(?P<right>[rc])\.(?P<expires>[1-9][0-9]{0,11})\.")
_PURPOSE: Final = b"stream-gateway stream token\n"


class StreamTokens:
    """Signs tokens with the first secret, and takes those of all: a new one is put before the old one for a while."""

    def __init__(self, signing: Sequence[bytes]) -> None:
        self._secrets = tuple(signing)

    def sign(self, grant: Grant, expires: int) -> str:
        """A token; `expires` in Unix time."""
        text = f"{PREFIX}{grant.stream}.{'c' if grant.cancel else 'r'}.{expires}."
        return text + _signature(self._secrets[0], text)

    def verify(self, token: str, now: float) -> Principal:
        """Who may do what with it.

        Raises:
            Unauthorized: we did not sign it.
            Expired: we did, but too long ago.
        """
        match = _TOKEN.match(token)
        if match is None:
            raise Unauthorized("The stream token is none of this gateway's.")
        signature = token[match.end() :].encode("utf-8", "replace")
        # All are compared, whichever fits: the time says nothing about it.
        if not sum(hmac.compare_digest(_signature(secret, match[0]).encode(), signature) for secret in self._secrets):
            raise Unauthorized("The stream token is none of this gateway's; its secret may have changed.")
        expires = int(match["expires"])
        if expires <= now:
            raise Expired("The stream token has expired; ask the application for a new one.")
        grant = Grant(match["stream"], cancel=match["right"] == "c")
        return Principal(id=f"token:{grant.stream}", name="stream token", grant=grant, expires=expires)


def read_secrets(settings: GuardSettings) -> list[bytes]:
    """The secrets that the configuration names, best first; a random one of this process when it names none.

    Raises:
        ConfigError: it names one that is not there, or can be guessed.
    """
    text = ""
    if settings.secret_env is not None:
        key, text = "guard.secret_env", os.environ.get(settings.secret_env, "")
    elif settings.secret_file is not None:
        key = "guard.secret_file"
        text = read_named(settings.secret_file, key)
    else:
        return [secrets.token_bytes(32)]
    found = text.split()
    if not found or any(len(secret) < MIN_SECRET for secret in found):
        raise ConfigError(
            f"key `{key}`: expected secrets of at least {MIN_SECRET} characters, one a line; "
            "make one with `openssl rand -hex 32`."
        )
    return [secret.encode() for secret in found]


def _signature(secret: bytes, text: str) -> str:
    digest = hmac.digest(secret, _PURPOSE + text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
