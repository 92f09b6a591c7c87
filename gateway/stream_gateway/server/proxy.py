"""PROXY protocol, version 2: a load balancer in front of us says who the client is.

One binary header stands before everything else, TLS included. Without it a connection is refused: where the protocol is
on, whoever connects without it has gone around the balancer.
"""

import struct
from typing import Final

from stream_gateway.guard.proxies import plain

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"

HEAD: Final = 16
"""Signature (12), version and command, family and transport, length (2)."""

MAX_LENGTH: Final = 4_096
"""Bytes of addresses and extensions: certificates may be among them, but a header needs an end."""

_LOCAL: Final = 0x20  # version 2, the balancer's own connection: a health check
_PROXY: Final = 0x21
_ADDRESSES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6, and how long an address is


class BadProxyHeader(ValueError):
    """What came is no PROXY header of version 2, or one that we do not take."""


def parse(data: bytes) -> tuple[str | None, int] | None:
    """Read the header at the beginning of `data`.

    Returns:
        The client's address (None: the balancer itself speaks), and the header's size; None when it is incomplete.

    Raises:
        BadProxyHeader: there is none.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise BadProxyHeader("no PROXY protocol header of version 2")
    if len(data) < HEAD:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if length > MAX_LENGTH:
        raise BadProxyHeader(f"a PROXY header of {length} bytes")
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader(f"version and command {command:#x}")
    if command == _PROXY and family not in _ADDRESSES:
        raise BadProxyHeader(f"address family {family:#x}")
    size = _ADDRESSES.get(family, 0)
    if command == _PROXY and length < 2 * size + 4:
        raise BadProxyHeader("a PROXY header too short for its addresses")
    if len(data) < HEAD + length:
        return None
    if command == _LOCAL:
        return None, HEAD + length
    return plain(data[HEAD : HEAD + size]), HEAD + length
