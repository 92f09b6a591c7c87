"""Addresses of peers, and proxies that may say for whom they ask (`X-Forwarded-For`)."""

import ipaddress
from collections.abc import Iterable
from typing import Final

UNIX: Final = "unix"
"""Stands for whoever connects over a Unix socket; such peers have no address."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def plain(address: str | bytes) -> str:
    """An IP address as text. IPv4 that came over a socket for IPv6 (RFC 4291 §2.5.5.2) is what it is elsewhere.

    Raises:
        ValueError: it is none.
    """
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


class TrustedProxies:
    """A list of networks whose word is taken.

    Args:
        networks: `10.0.0.0/8`, `2001:db8::1`, or `unix`.

    Raises:
        ValueError: one is none of these.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        names = set(networks)
        self._unix = UNIX in names
        self._networks: list[Network] = [ipaddress.ip_network(name, strict=False) for name in names - {UNIX}]

    def client(self, peer: str, forwarded: str | None) -> str:
        """The address that asks: the last one in `X-Forwarded-For` that no proxy of ours has appended."""
        client = peer
        for hop in reversed((forwarded or "").split(",")):
            if not self.trusts(client):
                break
            address = _address(hop.strip())
            if address is None:
                break
            client = address
        return client

    def trusts(self, peer: str) -> bool:
        """Whether a peer's word is taken."""
        if not peer:
            return self._unix
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _address(text: str) -> str | None:
    """An address as proxies write it: bare, with a port, or in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return plain(text)
    except ValueError:
        return None
