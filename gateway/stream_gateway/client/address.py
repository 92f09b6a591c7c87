"""A gateway's address as users write it."""

import ssl
from typing import Final

import httpx

from stream_gateway.client.errors import WrongUrl
from stream_gateway.client.handshake import Address

_SECURE: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def parse_url(url: str) -> httpx.URL:
    """A gateway's address.

    Raises:
        WrongUrl: it is no http(s) or ws(s) address.
    """
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise WrongUrl(f"{url!r} is no address: {error}; expected something like http://127.0.0.1:8080.") from None
    if parsed.scheme not in _SECURE or not parsed.host:
        raise WrongUrl(f"{url!r} is no address of a gateway; expected something like http://127.0.0.1:8080.")
    return parsed.copy_with(scheme=_SECURE[parsed.scheme], query=None, fragment=None)


def socket_address(url: httpx.URL, headers: dict[str, str], context: ssl.SSLContext | None) -> Address:
    """Where the gateway at `url` accepts WebSockets."""
    secure = url.scheme == "https"
    return Address(
        host=url.host,
        port=url.port or (443 if secure else 80),
        path=url.raw_path.decode("ascii").rstrip("/") + "/v1/connect",
        context=context if secure else None,
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()],
    )
