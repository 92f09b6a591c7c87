"""Which proxy leads to a provider: the one that its settings name, or the environment's."""

import base64
import re
import urllib.request
from typing import Final

import httpx

NONE: Final = "none"
"""What a provider's setting says when no proxy is to be used, whatever the environment says."""

_PORT: Final = 80

MAX_REPLY: Final = 16_384
"""Bytes of the proxy's answer to CONNECT: it has nothing else to say than yes or no."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: ([\x20-\x7e]*))?")


class BadProxy(Exception):
    """A proxy's URL that cannot be used; the sentence does not repeat it, because it may hold a password."""


class Proxy:
    """An HTTP proxy that makes tunnels (CONNECT, RFC 9110 §9.3.6).

    Attributes:
        authorization: the value of Proxy-Authorization; kept out of the representation, as it is a secret.
    """

    def __init__(self, host: str, port: int, authorization: bytes | None = None) -> None:
        self.host = host
        self.port = port
        self.authorization = authorization

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(origin: httpx.URL, setting: str | None = None) -> Proxy | None:
    """The proxy for an origin, None when it is reached directly.

    Args:
        origin: the provider's scheme, host and port.
        setting: what the provider's settings say: a URL, `none`, or nothing, and then `HTTPS_PROXY`,
            `HTTP_PROXY` and `NO_PROXY` (in lower case too) count.

    Raises:
        BadProxy: the URL cannot be used.
    """
    if setting is not None:
        return None if setting.lower() == NONE else parse_proxy(setting)
    found = urllib.request.getproxies_environment()
    text = found.get(origin.scheme)
    if not text or urllib.request.proxy_bypass(_authority(origin)):
        return None
    try:
        return parse_proxy(text)
    except BadProxy as error:
        raise BadProxy(f"environment variable {origin.scheme.upper()}_PROXY: {error}") from None


def parse_proxy(text: str) -> Proxy:
    """A proxy from its URL; user and password in it are for Basic authentication (RFC 7617).

    Raises:
        BadProxy: it is no URL of an HTTP proxy.
    """
    if "://" not in text:
        text = f"http://{text}"
    try:
        url = httpx.URL(text)
        usable = url.scheme == "http" and bool(url.host) and url.port != 0 and not re.search(r"\s", text)
    except httpx.InvalidURL:
        usable = False
    if not usable or url.path not in ("", "/") or url.query:
        raise BadProxy("expected `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`.")
    authorization = None
    if url.username or url.password:
        authorization = b"Basic " + base64.b64encode(f"{url.username}:{url.password}".encode())
    return Proxy(url.host, url.port or _PORT, authorization)


def _authority(origin: httpx.URL) -> str:
    return origin.host if origin.port is None else f"{origin.host}:{origin.port}"


def connect_request(authority: str, proxy: Proxy) -> bytes:
    """The request for a tunnel to `authority` (host:port)."""
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode("ascii")
    if proxy.authorization is not None:
        head += b"Proxy-Authorization: " + proxy.authorization + b"\r\n"
    return head + b"\r\n"


def refusal(head: bytes) -> str | None:
    """What a proxy's answer to CONNECT says when it is a no; None when the tunnel is there."""
    match = _STATUS.match(head.partition(b"\r\n")[0])
    if match is None:
        return "its answer is no HTTP/1.1"
    if match[1].startswith(b"2"):
        return None
    said = b" ".join(part for part in match.groups() if part).decode("ascii")
    hint = "; give a user and a password in the proxy's URL" if match[1] == b"407" else ""
    return f"it said {said}{hint}"
