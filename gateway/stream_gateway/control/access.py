"""Access to the control plane: who may ask, from where, and by which name.

It is bound to loopback, where a browser can still be turned against it. A page elsewhere may have its own name resolve
to 127.0.0.1 (DNS rebinding): so a name that nobody configured is refused. A page may send requests without reading the
answers (CSRF): so other origins are refused, and nothing changes by GET.
"""

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Final, Protocol

from stream_gateway.config import ConfigError, ControlSettings, read_named
from stream_gateway.guard.credentials import checked
from stream_gateway.guard.principal import Principal
from stream_protocols.errors import NotFound, OriginNotAllowed, RemoteError, Unauthorized

OPEN: Final = frozenset({"/healthz", "/readyz"})
"""Paths for probes, which have no credentials and learn one word."""

CONSOLE: Final = "/console"
"""The path of pages, and what is below it: they say nothing before their user has shown a credential."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{0,5})?")
"""A Host header (RFC 9110 §7.2). Whatever else stands there, others may find another host in it, or even a path."""


class Recognise(Protocol):
    """Finds whose a credential is (see `Guard.recognise`)."""

    def __call__(self, credential: str, address: str, *, final: bool = False) -> Principal: ...


class Misdirected(RemoteError):
    """The request names a host that is not this one (RFC 9110 §15.5.20)."""

    status = 421
    code = "misdirected_request"


class Access:
    """Decides about requests.

    Args:
        hosts: names, without a port, by which the control plane is called, besides addresses and localhost.
        token: what admins have to show; None: there is none.
        recognise: admins may show an API key or a JWT instead.
        closed: whether something has to be shown although there is no token.
    """

    def __init__(
        self, hosts: tuple[str, ...], token: str | None, recognise: Recognise | None = None, *, closed: bool = False
    ) -> None:
        self._recognise = recognise
        self._closed = closed
        self.change(hosts, token)

    def change(self, hosts: tuple[str, ...], token: str | None) -> None:
        """From now on other names and another token count."""
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._token = token

    def check(self, method: str, path: str, headers: Mapping[str, str], peer: str = "", *, final: bool = False) -> None:
        """Raise for a request that is not to be answered; `headers` have lower-case names.

        Args:
            final: see `Guard.recognise`.

        Raises:
            Misdirected, OriginNotAllowed, Unauthorized, TooManyRequests: why not.
            KeysPending: see `Guard.recognise`.
        """
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Misdirected(
                f"This is not {host[:64]!r}: use an address, or add the name to control.hosts.", param="Host"
            )
        origin = headers.get("origin")
        elsewhere = origin is not None and origin.lower().partition("://")[2] != host.lower()
        crossing = method not in _SAFE and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if elsewhere or crossing:
            raise OriginNotAllowed("Pages of other origins may not use the control plane.", param="Origin")
        if path not in OPEN and not is_page(path) and not self._knows(headers.get("authorization", ""), peer, final):
            message = "Send the admin's token, or an admin's API key: `Authorization: Bearer …`."
            raise Unauthorized(message, param="Authorization")

    @property
    def asks(self) -> bool:
        """Whether something has to be shown at all."""
        return self._token is not None or self._closed

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header is an address, which nobody's DNS can make point here, or a name of ours."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().rstrip(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self._hosts
        return True

    def _knows(self, authorization: str, peer: str, final: bool) -> bool:
        if not self.asks:
            return True
        scheme, _, credential = authorization.partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            return False
        # Digests, so that neither the token's length nor its first letters show in the time that this takes.
        if self._token is not None and hmac.compare_digest(_digest(credential), _digest(self._token)):
            return True
        try:
            return self._recognise is not None and self._recognise(checked(credential), peer, final=final).admin
        except Unauthorized:
            return False


def is_page(path: str) -> bool:
    """Whether it is one of the console's pages, or a file of theirs."""
    return path == CONSOLE or path.startswith(f"{CONSOLE}/")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_token(settings: ControlSettings) -> str | None:
    """The admin's token from where the configuration says; None when it says nothing.

    Raises:
        ConfigError: it is not there, or there is none and the address is not loopback.
    """
    if settings.token_env is not None:
        token = os.environ.get(settings.token_env, "").strip()
        if not token:
            raise ConfigError(
                "key `control.token_env`: the environment variable is not set; set it to a long random text."
            )
    elif settings.token_file is not None:
        token = read_named(settings.token_file, "control.token_file").strip()
        if not token:
            raise ConfigError(
                f"key `control.token_file`: {settings.token_file} is empty; put a long random text into it."
            )
    else:
        return None
    return token


def not_found(path: str) -> NotFound:
    """The error for a path that there is not."""
    return NotFound(f"There is nothing at {path[:128]!r} on the control plane.")
